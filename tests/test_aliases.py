"""Every foreign spelling of a value reads as the one site it means, or is refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.aliases import component, model_name, resolve, resolve_claim, weight_address
from fluoroscope.errors import ArgumentError, SiteError
from fluoroscope.sites import Site

SPELLINGS = {
    "L9H6": "z.9.6",
    "l9h6": "z.9.6",
    "L9.H6": "z.9.6",
    "9.6": "z.9.6",
    "L5N123": "neurons.5.123",
    "MLP L9": "mlp_out.9",
    "Attn L11": "attn_out.11",
    "z.9.6": "z.9.6",
    "blocks.5.hook_resid_pre": "resid_pre.5",
    "blocks.5.hook_resid_mid": "resid_mid.5",
    "blocks.5.hook_resid_post": "resid_post.5",
    "blocks.5.hook_attn_out": "attn_out.5",
    "blocks.5.hook_mlp_out": "mlp_out.5",
    "blocks.5.attn.hook_z": "z.5",
    "blocks.5.attn.hook_result": "head_out.5",
    "blocks.5.attn.hook_attn_scores": "scores.5",
    "blocks.5.attn.hook_pattern": "pattern.5",
    "blocks.5.attn.hook_v": "v.5",
    "blocks.5.attn.hook_rot_q": "q.5",
    "blocks.5.attn.hook_q": "q_proj.5",
    "blocks.5.attn.hook_k": "k_proj.5",
    "model.layers.3.self_attn.v_proj": "v_proj.3",
    "transformer.h.3.attn.attention.q_proj": "q_proj.3",
    "blocks.5.mlp.hook_post": "neurons.5",
    "hook_embed": "embed",
    "hook_pos_embed": "pos_embed",
    "transformer.h.5": "resid_post.5",
    "model.layers.5": "resid_post.5",
    "model.model.layers.5": "resid_post.5",
    "gpt_neox.layers.5": "resid_post.5",
    "layers.5": "resid_post.5",
    "layers.5.output": "resid_post.5",
    "h.5": "resid_post.5",
    "layers.3.self_attn": "attn_out.3",
    "model.layers.3.self_attn": "attn_out.3",
    "layers.3.self_attn.output": "attn_out.3",
    "transformer.h.3.attn": "attn_out.3",
    "transformer.h.3.attn.c_proj": "attn_out.3",
    "layers.3.mlp": "mlp_out.3",
    "model.layers.3.mlp.down_proj": "mlp_out.3",
    "layers.3.self_attn.attention_weights": "pattern.3",
    "layers.3.attention_weights": "pattern.3",
    "layers.3.resid_pre": "resid_pre.3",
    "model.embed_tokens": "embed",
    "transformer.wte": "embed",
    "transformer.wpe": "pos_embed",
    "model.norm": "final_norm",
    "transformer.ln_f": "final_norm",
    "lm_head": "logits",
    "model.output": "logits",
}


@pytest.mark.parametrize(("text", "canonical"), SPELLINGS.items())
def test_spelling(text: str, canonical: str) -> None:
    assert str(resolve(text)) == canonical


@given(st.integers(0, 99), st.integers(0, 99))
def test_head_labels_round_trip(layer: int, head: int) -> None:
    site = Site("z", layer, head)
    assert resolve(site.label) == resolve(f"{layer}.{head}") == resolve(str(site)) == site


@pytest.mark.parametrize("text", ["transformer.h.3.attn", "lm_head", "model.embed_tokens"])
def test_module_paths_claim_that_modules_output(text: str) -> None:
    module = resolve_claim(text)[1].module
    assert module
    assert text.endswith(module)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("blocks.5.hook_resid_pots", "hook_resid_pos"),
        ("resid_pos.5", "resid_pos"),
        ("ln_final.hook_normalized", "before the norm's gain"),
        ("blocks.0.mlp.hook_pre", "'gate_proj' on MLPs with a gate"),
        ("transformer.h.3.attn.c_attn", "in one. Name 'q_proj.3'"),
        ("layers.3.frobnicate", "names no site"),
        ("layer.1", "Did you mean 'layers'"),
        ("typo", "names no site"),
    ],
)
def test_unknown_or_unexact_spellings_are_refused(text: str, says: str) -> None:
    with pytest.raises(SiteError, match=says):
        resolve(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("attn.L10.W_Q", "W_Q.10"),
        ("mlp.L6.W_in", "W_in.6"),
        ("attn.L0.b_K.3", "b_K.0.3"),
        ("blocks.10.attn.W_O", "W_O.10"),
        ("blocks.3.mlp.b_out", "b_out.3"),
        ("embed.W_E", "W_E"),
        ("pos_embed.W_pos", "W_pos"),
        ("unembed.W_U", "W_U"),
        ("W_Q.10.3", "W_Q.10.3"),
        ("nonsense", "nonsense"),
    ],
)
def test_weights_have_foreign_addresses_too(text: str, address: str) -> None:
    assert weight_address(text) == address


def test_a_weight_is_not_looked_for_where_it_is_not() -> None:
    with pytest.raises(ArgumentError, match=r"no weight of 'mlp'.*'W_Q\.6'"):
        weight_address("mlp.L6.W_Q")
    with pytest.raises(ArgumentError, match=r"'W_in\.6'"):
        weight_address("blocks.6.attn.W_in")


@pytest.mark.parametrize(
    ("text", "hub"),
    [
        ("gpt2-small", "gpt2"),
        ("pythia-70m", "EleutherAI/pythia-70m"),
        ("gpt-neo-small", "EleutherAI/gpt-neo-125M"),
        ("gemma-2b", "google/gemma-2b"),
    ],
)
def test_a_name_of_transformer_lens_is_a_hub_id(text: str, hub: str) -> None:
    assert model_name(text) == hub


@pytest.mark.parametrize("text", ["gpt2", "gpt2-xl", "specimen", "somebody/pythia-70m", "EleutherAI/pythia-70m", ""])
def test_other_names_of_models_stay(text: str) -> None:
    assert model_name(text) == text


@pytest.mark.parametrize(
    ("name", "site", "module"),
    [
        ("mlp", "mlp_out.2", ""), ("attn", "attn_out.2", ""), ("attn_head", "z.2", ""), ("output", "resid_post.2", ""),
        ("resid_post", "resid_post.2", ""), ("pattern", "pattern.2", ""),
        ("self_attn.o_proj", "attn_out.2", "self_attn.o_proj"),
    ],
)  # fmt: skip
def test_parts_of_a_block_are_named_without_their_layer(name, site, module):
    found, claim = component(name, 2)
    assert (str(found), claim.module) == (site, module)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mpl", "Did you mean 'mlp'"),
        ("mlp.gate_porj", "names no site of a block"),
        ("attn.c_attn", "queries, keys and values in one"),
        ("logits", "has no layers"),
    ],
)
def test_what_is_no_part_of_a_block(name, why):
    with pytest.raises(SiteError, match=why):
        component(name, 2)
