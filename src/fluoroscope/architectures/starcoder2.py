"""StarCoder 2: Llama's attention with biases, LayerNorms, an MLP without a gate."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("starcoder2",)


def architecture(config: Any) -> Architecture:
    return Architecture(gate=None, up="mlp.c_fc", down="mlp.c_proj", norm="layer")
