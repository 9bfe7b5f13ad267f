"""Phi-1 to Phi-2: parallel blocks behind one LayerNorm, partial rotary, biases everywhere."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("phi",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        final_norm="model.final_layernorm",
        q_norm="self_attn.q_layernorm",
        k_norm="self_attn.k_layernorm",
        o="self_attn.dense",
        gate=None,
        up="mlp.fc1",
        down="mlp.fc2",
        norm="layer",
        parallel=True,
    )
