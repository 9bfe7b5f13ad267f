"""Mixtral and its kin: Llama with a mixture of experts behind `mlp.gate`."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("mixtral", "qwen3_moe", "olmoe")


def architecture(config: Any) -> Architecture:
    return Architecture(router="mlp.gate", experts="mlp.experts")
