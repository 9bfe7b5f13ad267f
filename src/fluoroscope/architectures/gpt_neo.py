"""GPT-Neo: GPT-2's block with separate projections and unscaled, alternately local attention of its own."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gpt_neo",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        pos_embed="transformer.wpe",
        final_norm="transformer.ln_f",
        attn="attn",
        attn_norm="ln_1",
        q="attn.attention.q_proj",
        k="attn.attention.k_proj",
        v="attn.attention.v_proj",
        o="attn.attention.out_proj",
        gate=None,
        up="mlp.c_fc",
        down="mlp.c_proj",
        norm="layer",
        interface=False,
    )
