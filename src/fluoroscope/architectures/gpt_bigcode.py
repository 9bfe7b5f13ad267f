"""StarCoder 1: GPT-2 with linear layers and one key-value head."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gpt_bigcode",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        pos_embed="transformer.wpe",
        final_norm="transformer.ln_f",
        attn="attn",
        attn_norm="ln_1",
        qkv="attn.c_attn",
        qkv_layout="concat" if config.multi_query else "per_head",
        o="attn.c_proj",
        gate=None,
        up="mlp.c_fc",
        down="mlp.c_proj",
        norm="layer",
    )
