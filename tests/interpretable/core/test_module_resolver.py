"""Where models keep their parts, and under which keys activations were captured."""

import pytest
import torch

from architectures.common import model, plain
from architectures.zoo import CASES, build
from fluoroscope.errors import ArchitectureError, UnavailableError
from fluoroscope.interpretable import InterpretableModel
from fluoroscope.interpretable.core import ModuleResolver, find_layer_key_pattern, normalize_layer_key
from fluoroscope.interpretable.core.module_resolver import resolve_component
from interpretable.conftest import IDS


@pytest.mark.parametrize("case", CASES)
def test_parts_are_those_that_hugging_face_says(case):
    hf = plain(case)
    resolver = ModuleResolver(hf)
    head, path, tied = resolver.get_output_projection()
    assert resolver.get_embedding_layer() is hf.get_input_embeddings()
    assert head is resolver.get_lm_head() is hf.get_output_embeddings() is hf.get_submodule(path)
    assert tied == (head.weight is hf.get_input_embeddings().weight)
    wrapped = InterpretableModel(model(case))
    with wrapped.trace(IDS) as trace:
        pass
    norm = ModuleResolver(wrapped).get_final_norm()
    last = len(wrapped.layers) - 1
    if norm is not None and ("resid_post", last) not in wrapped.xray.unavailable:
        normed = norm(trace.activations[f"layers.{last}"])
        torch.testing.assert_close(normed, trace.activations["final_norm"], rtol=1e-5, atol=1e-5)


def test_given_paths_are_used_and_wrong_ones_refused():
    hf = build("llama")
    resolver = ModuleResolver(hf, norm_path="model.layers.0.input_layernorm")
    assert resolver.get_final_norm() is hf.model.layers[0].input_layernorm
    resolver.clear_cache()
    with pytest.raises(AttributeError, match=r"no module 'model\.nrom'.*model\.norm"):
        ModuleResolver(hf, norm_path="model.nrom")
    with pytest.raises(ArchitectureError):
        ModuleResolver(torch.nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("key", "short"),
    [
        ("model.model.layers.0", "layers.0"),
        ("model.layers.5.self_attn", "layers.5.self_attn"),
        ("base_model.model.model.layers.3.mlp.down_proj", "layers.3.mlp.down_proj"),
        ("transformer.h.2", "h.2"),
        ("model.embed_tokens", "embed_tokens"),
        ("lm_head", "lm_head"),
    ],
)
def test_keys_lose_their_prefix(key, short):
    assert normalize_layer_key(key) == short


@pytest.mark.parametrize("name", ["resid_pre", "resid_post", "attn", "mlp", "attn_head"])
def test_components_resolve_to_keys_that_can_be_read_and_written(pair, name):
    """On mlxterp, resid_pre and resid_post resolved to keys that no intervention reached."""
    with pair.ours.trace(IDS) as trace:
        pass
    key = resolve_component(name, 1, trace.activations)
    with pair.ours.trace(IDS, interventions={key: torch.zeros_like}) as edited:
        pass
    assert not torch.equal(edited.output, trace.output)
    assert not edited.activations[key].any()
    assert find_layer_key_pattern(trace.activations, 1, name) == key


def test_components_among_plain_keys_are_exact():
    """Another layer whose number begins alike is not taken."""
    keys = {"model.model.layers.10": 0, "model.model.layers.1.mlp": 0, "note": 0}
    assert find_layer_key_pattern(keys, 10) == "model.model.layers.10"
    assert find_layer_key_pattern(keys, 1, "mlp") == "model.model.layers.1.mlp"
    assert find_layer_key_pattern(keys, 1) is None
    with pytest.raises(KeyError, match="no key is 'resid_post' of layer 1"):
        resolve_component("resid_post", 1, keys)


def test_a_part_that_a_family_does_not_have_is_told():
    wrapped = InterpretableModel(model("gpt_neox"))
    with wrapped.trace(IDS) as trace:
        pass
    with pytest.raises(UnavailableError, match="parallel"):
        resolve_component("resid_mid", 1, trace.activations)
