"""Qwen3-Next: linear attention on most blocks, gated attention on the others, mixture of experts."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("qwen3_next",)

GATED = "a gate multiplies pattern @ v before W_O"
FUSED = "q_proj also makes the gate of the attention's output"


def architecture(config: Any) -> Architecture:
    return Architecture(
        mixer="linear_attn",
        router="mlp.gate",
        experts="mlp.experts",
        shared="mlp.shared_expert",
        norm_offset=1.0,
        unavailable={"z": GATED, "head_out": GATED, "W_Q": FUSED, "b_Q": FUSED},
    )
