"""Granite MoE: Granite with a mixture of experts for an MLP."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("granitemoe",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        mlp="block_sparse_moe",
        router="block_sparse_moe.router",
        experts="block_sparse_moe.experts",
        residual_multiplier=config.residual_multiplier,
        logit_multiplier=1.0 / config.logits_scaling,
    )
