"""Phi-3.5-MoE: Mixtral with LayerNorms, biases and a sparse-mixer router."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("phimoe",)


def architecture(config: Any) -> Architecture:
    return Architecture(router="mlp.router", experts="mlp.experts", norm="layer")
