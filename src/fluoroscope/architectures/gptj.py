"""GPT-J: parallel blocks behind one LayerNorm, partial rotary, attention of its own."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gptj",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        attn="attn",
        attn_norm="ln_1",
        q="attn.q_proj",
        k="attn.k_proj",
        v="attn.v_proj",
        o="attn.out_proj",
        gate=None,
        up="mlp.fc_in",
        down="mlp.fc_out",
        norm="layer",
        parallel=True,
        interface=False,
    )
