"""StableLM: Llama with LayerNorms, partial rotary, optionally parallel blocks."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("stablelm",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        q_norm="self_attn.q_layernorm",
        k_norm="self_attn.k_layernorm",
        norm="layer",
        parallel=config.use_parallel_residual,
    )
