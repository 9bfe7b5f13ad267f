"""Llama, and the families that keep its names: pre-norms, rotary, separate projections, gated MLP."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = (
    "llama",
    "mistral",
    "ministral",
    "ministral3",
    "qwen2",
    "qwen3",
    "smollm3",
    "ernie4_5",
    "seed_oss",
    "helium",
    "hunyuan_v1_dense",
    "cwm",
)


def architecture(config: Any) -> Architecture:
    return Architecture()
