"""CodeGen: GPT-J's block with one projection that deals q, v and k out over four shards."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("codegen",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="transformer.h",
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        attn="attn",
        attn_norm="ln_1",
        qkv="attn.qkv_proj",
        qkv_layout="shards",
        o="attn.out_proj",
        gate=None,
        up="mlp.fc_in",
        down="mlp.fc_out",
        norm="layer",
        parallel=True,
        interface=False,
    )
