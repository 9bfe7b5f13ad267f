"""OPT: learned positions, ReLU MLP without a module of its own; OPT-350m norms after each sum."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("opt",)

SUMS: tuple[str, ...] = ("attn_out", "head_out", "resid_mid", "mlp_out", "resid_post")
NORMED_SUMS = "this OPT norms each sum, so that resid_post is not resid_pre + attn_out + mlp_out"
PROJECTED: tuple[str, ...] = ("embed", "W_E", "W_U", "final_norm")
NARROW = "this OPT embeds in fewer dimensions, with a projection between them and the residual stream"


def architecture(config: Any) -> Architecture:
    unavailable = {} if config.do_layer_norm_before else dict.fromkeys(SUMS, NORMED_SUMS)
    final_norm = "model.decoder.final_layer_norm"
    if not config.do_layer_norm_before:
        final_norm = f"model.decoder.layers.{config.num_hidden_layers - 1}.final_layer_norm"
    if config.word_embed_proj_dim != config.hidden_size:
        unavailable |= dict.fromkeys(PROJECTED, NARROW)
    return Architecture(
        layers="model.decoder.layers",
        embed="model.decoder.embed_tokens",
        pos_embed="model.decoder.embed_positions",
        final_norm=final_norm,
        attn_norm="self_attn_layer_norm" if config.do_layer_norm_before else None,
        o="self_attn.out_proj",
        mlp="fc2",
        gate=None,
        up="fc1",
        down="fc2",
        norm="layer",
        unavailable=unavailable,
    )
