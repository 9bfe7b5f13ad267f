"""GPT-NeoX and Pythia: q, k, v fused head by head, partial rotary, parallel or sequential blocks."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("gpt_neox",)


def architecture(config: Any) -> Architecture:
    return Architecture(
        layers="gpt_neox.layers",
        embed="gpt_neox.embed_in",
        final_norm="gpt_neox.final_layer_norm",
        attn="attention",
        qkv="attention.query_key_value",
        qkv_layout="per_head",
        o="attention.dense",
        gate=None,
        up="mlp.dense_h_to_4h",
        down="mlp.dense_4h_to_h",
        norm="layer",
        parallel=config.use_parallel_residual,
    )
