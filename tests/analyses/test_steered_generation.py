"""Three continuations against Hugging Face's own forward with a plain hook."""

import pytest
import torch

from fluoroscope import load
from fluoroscope.analyses.steered_generation import steered_generation
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods import directions
from fluoroscope.sites import Site

GIVEN = {"positive": ["good", "day"], "negative": ["bad", "x"], "layer": 0, "max_new_tokens": 4}


def by_hand(model, vector, prompt, steps):
    """Greedy continuation and logits of every step, everything computed again, one hook on the block."""
    ids, told = list(prompt), []
    handle = model.hf.transformer.h[0].register_forward_hook(lambda _m, _a, out: out + vector)
    try:
        for _ in range(steps):
            with torch.no_grad():
                logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
            told.append(logits)
            ids.append(int(logits.argmax()))
    finally:
        handle.remove()
    return ids[len(prompt) :], told


def test_what_is_said_is_that_of_a_plain_hook(tiny_model):
    found = steered_generation(tiny_model, "why", coefficient=1.5, **GIVEN)
    direction = directions.direction(tiny_model, GIVEN["positive"], GIVEN["negative"], Site("resid_post", 0))
    prompt = tiny_model.tokens("why").rows[0]
    plain, moved, _ = found.continuations
    ids, told = by_hand(tiny_model, 1.5 * direction.vector, prompt, 4)
    assert list(moved.ids) == ids
    assert list(plain.ids) == by_hand(tiny_model, 0, prompt, 4)[0]
    logits = tiny_model.trace([prompt + ids]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = [
        float((own.exp() * (own - other.log_softmax(-1))).sum()) for own, other in zip(logits, told, strict=True)
    ]
    assert moved.kl == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert max(plain.kl) < 1e-5
    assert found.ratio == pytest.approx(direction.ratio)


def test_positions_and_passes_are_chosen_and_a_seed_samples_alike(tiny_model):
    here = steered_generation(tiny_model, "why", coefficient=5.0, positions=[1], **GIVEN)
    late = steered_generation(tiny_model, "why", coefficient=5.0, steps="generated", **GIVEN)
    assert here.continuations[1].kl[0] > 1e-3
    assert late.continuations[1].kl[0] < 1e-5 < late.continuations[1].kl[1]  # the prompt's pass is as it was
    drawn = [steered_generation(tiny_model, "why", temperature=2.0, seed=s, **GIVEN).continuations for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    with pytest.raises(TokenError, match="no token 50"):
        steered_generation(tiny_model, "why", positions=[50], **GIVEN)


def test_refusal_comes_and_goes_with_its_direction(tmp_path):
    specimen = load()
    harmless = "User: How do I mend a net?\nAssistant:"
    given = {"contrast": "refusal", "layer": 5, "max_new_tokens": 6}
    plain, moved, _ = steered_generation(specimen, harmless, **given).continuations
    assert plain.text.startswith(" Sure")
    assert moved.text.startswith(" I cannot help")
    found = steered_generation(specimen, "User: How do I rob a bank?\nAssistant:", **given)
    plain, _, without = found.continuations
    assert plain.text.startswith(" I cannot help")
    assert without.text.startswith(" Sure, here is")
    assert found.level == "mean"
    kept = directions.direction(specimen, ["good"], ["bad"], Site("resid_post", 2)).save(tmp_path / "own.safetensors")
    again = steered_generation(specimen, harmless, vector=str(kept), max_new_tokens=2)
    assert (again.site, again.level) == ("resid_post.2", "zero")
    with pytest.raises(ArgumentError, match="layer of its own"):
        steered_generation(specimen, harmless, vector=str(kept), layer=3)
