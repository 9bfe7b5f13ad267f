"""GLM-4: Llama with a fused gate and up, partial rotary; GLM-4-0414 has norms after the sublayers too."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("glm", "glm4")


def architecture(config: Any) -> Architecture:
    post_norms = config.model_type == "glm4"
    return Architecture(
        attn_out="post_self_attn_layernorm" if post_norms else None,
        mlp_out="post_mlp_layernorm" if post_norms else None,
        gate_up="mlp.gate_up_proj",
    )
