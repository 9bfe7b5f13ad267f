"""Command R: parallel blocks behind one LayerNorm, scaled logits."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("cohere", "cohere2")


def architecture(config: Any) -> Architecture:
    return Architecture(norm="layer", parallel=True, logit_multiplier=config.logit_scale)
