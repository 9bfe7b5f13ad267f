"""BLOOM: ALiBi, a norm on the embedding, and sublayers that add the residual themselves."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("bloom",)

SUMS: tuple[str, ...] = ("attn_out", "head_out", "resid_mid", "mlp_out", "resid_post")
NORMED = "this BLOOM adds to the normed residual, so that resid_post is not resid_pre + attn_out + mlp_out"


def architecture(config: Any) -> Architecture:
    unavailable = dict.fromkeys(SUMS, NORMED) if config.apply_residual_connection_post_layernorm else {}
    return Architecture(
        layers="transformer.h",
        embed="transformer.word_embeddings",
        final_norm="transformer.ln_f",
        attn="self_attention",
        attn_out="self_attention.dense",
        qkv="self_attention.query_key_value",
        qkv_layout="per_head",
        o="self_attention.dense",
        mlp_out="mlp.dense_4h_to_h",
        gate=None,
        up="mlp.dense_h_to_4h",
        down="mlp.dense_4h_to_h",
        norm="layer",
        interface=False,
        unavailable=unavailable,
    )
