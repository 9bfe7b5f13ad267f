"""Exported weights do by themselves what the edited run does, in Hugging Face's own forward too."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from architectures.zoo import build
from fluoroscope import load
from fluoroscope.errors import ArtifactError, UnavailableError
from fluoroscope.methods import directions, orthogonal, projection
from fluoroscope.sites import Site

PROMPT = [5, 6, 7, 8, 3]


def axis(model):
    return torch.nn.functional.normalize(torch.randn(model.d_model, generator=torch.Generator().manual_seed(1)), dim=0)


@pytest.mark.parametrize("family", ["llama", "opt", "gpt_neox", "gemma"])  # gated, offset positions, parallel, scaled
def test_weights_and_edits_give_the_same_logits(family):
    model = load(build(family))
    unit, plain = axis(model), model.trace(PROMPT).logits
    made = orthogonal.orthogonalised(model, unit)
    expected = model.trace(PROMPT, edits=projection.ablated(model, unit)).logits
    with torch.no_grad():
        logits = made(torch.tensor([PROMPT])).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits, plain, atol=1e-3)
    assert torch.equal(model.trace(PROMPT).logits, plain)  # the original is as it was


def test_a_folder_is_read_by_transformers_and_keeps_the_tied_unembedding(tiny_model, tmp_path):
    assert tiny_model.hf.config.tie_word_embeddings
    found = directions.direction(tiny_model, ["good"], ["bad"], Site("resid_post", 1))
    ground = projection.means(tiny_model, ["bad"])
    folder = orthogonal.export(tiny_model, found, tmp_path / "without", ground)
    edits = projection.ablated(tiny_model, found.unit, ground)
    expected = tiny_model.trace("abc", edits=edits).logits
    ids = tiny_model.tokens("abc").ids
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    ours = load(str(folder))
    assert torch.equal(ours.weights["W_U"], tiny_model.weights["W_U"])
    assert ours.tokens("abc").rows == tiny_model.tokens("abc").rows
    assert torch.equal(directions.read(folder / "direction.safetensors").vector, found.vector)
    with pytest.raises(ArtifactError, match="exists already"):
        orthogonal.export(tiny_model, found, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["without"]


@pytest.mark.parametrize(("family", "reason"), [("gemma2", "norm behind"), ("qwen3_moe", "experts")])
def test_what_weights_alone_cannot_do_is_refused(family, reason):
    model = load(build(family))
    with pytest.raises(UnavailableError, match=reason):
        orthogonal.orthogonalised(model, axis(model))


def test_a_mean_needs_a_bias_to_stand_in():
    model = load(build("gemma"))
    ground = {site: torch.ones(model.d_model, dtype=torch.float64) for site in projection.writers(model)}
    with pytest.raises(UnavailableError, match="no bias"):
        orthogonal.orthogonalised(model, axis(model), ground)
