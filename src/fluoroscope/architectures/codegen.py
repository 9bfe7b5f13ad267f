"""CodeGen: GPT-J's block with one projection that deals q, v and k out over four shards."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("codegen",)

SHARDED = "CodeGen deals q, v and k out over four shards inside one projection"


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        attn="attn",
        q=None,
        k=None,
        v=None,
        o="attn.out_proj",
        gate=None,
        up="mlp.fc_in",
        down="mlp.fc_out",
        norm="layer",
        parallel=True,
        interface=False,
        unavailable=dict.fromkeys(("W_Q", "W_K", "W_V", "b_Q", "b_K", "b_V"), SHARDED),
    )
