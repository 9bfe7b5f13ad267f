"""Gemma 1 to 3: norms weighted by 1 + w, and from Gemma 2 on a norm after each sublayer and softcaps."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gemma", "gemma2", "gemma3_text")


def architecture(config: Any) -> Architecture:
    post_norms = config.model_type != "gemma"
    return Architecture(
        attn_out="post_attention_layernorm" if post_norms else None,
        mlp_out="post_feedforward_layernorm" if post_norms else None,
        norm_offset=1.0,
        softcap=getattr(config, "final_logit_softcapping", None),
    )
