"""StableLM: Llama with LayerNorms, partial rotary, optionally parallel blocks."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("stablelm",)


def architecture(config: Any) -> Architecture:
    return Architecture(norm="layer", parallel=config.use_parallel_residual)
