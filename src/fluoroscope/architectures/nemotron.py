"""Nemotron: LayerNorms weighted by 1 + w, a squared-ReLU MLP without a gate."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("nemotron",)


def architecture(config: Any) -> Architecture:
    return Architecture(gate=None, norm="layer", norm_offset=1.0)
