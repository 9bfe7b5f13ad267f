"""Phi-3 and Phi-4: Llama with fused q, k, v and a fused gate and up."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("phi3",)


def architecture(config: Any) -> Architecture:
    return Architecture(qkv="self_attn.qkv_proj", gate_up="mlp.gate_up_proj")
