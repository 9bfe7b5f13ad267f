"""Qwen1.5-MoE and Qwen2-MoE: routed experts beside a shared one, which has a gate of its own."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("qwen2_moe",)


def architecture(config: Any) -> Architecture:
    return Architecture(router="mlp.gate", experts="mlp.experts", shared="mlp.shared_expert")
