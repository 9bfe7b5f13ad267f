"""GPT-2: fused q, k, v in a Conv1D, learned positions, LayerNorm."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gpt2",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        pos_embed="transformer.wpe",
        final_norm="transformer.ln_f",
        attn="attn",
        attn_norm="ln_1",
        qkv="attn.c_attn",
        o="attn.c_proj",
        gate=None,
        up="mlp.c_fc",
        down="mlp.c_proj",
        norm="layer",
    )
