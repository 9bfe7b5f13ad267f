"""Granite: Llama with multipliers on the embedding, the scores, the residual updates and the logits."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("granite",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        residual_multiplier=config.residual_multiplier,
        logit_multiplier=1.0 / config.logits_scaling,
    )
