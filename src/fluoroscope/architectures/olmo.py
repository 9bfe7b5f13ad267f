"""OLMo 1: Llama with LayerNorms that have no weights."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("olmo",)


def architecture(config: Any) -> Architecture:
    return Architecture(norm="layer")
