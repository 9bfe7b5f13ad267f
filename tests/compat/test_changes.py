"""The handler against edits of `Model.trace` and `Model.generate`, whose meaning is tested where they are."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from fluoroscope.compat.changes import ActivationPatch, InterventionHandler, SteeringVector
from fluoroscope.errors import ArgumentError, EditError, SiteError
from fluoroscope.interventions import add, at, replace

VECTOR = torch.linspace(-2, 2, 24)
IDS = [5, 9, 3, 7, 1]


@pytest.fixture
def bare(tiny_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_folder).eval()


def run(model, ids=IDS, **more):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), **more).logits


def under(model, *changes):
    handler = InterventionHandler(model)
    for change in changes:
        register(handler, change)
    with handler:
        return run(model)


def register(handler, change):
    if isinstance(change, SteeringVector):
        handler.register_steering_vector(change)
    else:
        handler.register_activation_patch(change)


@pytest.mark.parametrize(
    ("change", "edit"),
    [
        (ActivationPatch("transformer.h.0", -1, VECTOR), at(replace(VECTOR), -1)),
        (ActivationPatch("0", [1, 3], VECTOR, "add"), at(add(VECTOR), [1, 3])),
        (ActivationPatch(0, slice(1, 3), VECTOR, "subtract"), at(add(VECTOR, -1.0), slice(1, 3))),
        (ActivationPatch(0, slice(-2, None), VECTOR), at(replace(VECTOR), slice(-2, None))),
        (ActivationPatch(0, None, VECTOR, "add"), add(VECTOR)),
        (ActivationPatch(0, 2, lambda there: there * 0.5), at(lambda there: there * 0.5, 2)),
        (ActivationPatch(0, 2, lambda there: there * 0.5, "add"), at(lambda there: there * 1.5, 2)),
        (ActivationPatch(0, 2, lambda there: there * 0.5, "subtract"), at(lambda there: there * 0.5, 2)),
        (SteeringVector(VECTOR, 0, 3.0), add(VECTOR, 3.0)),
        (SteeringVector(VECTOR, 0, 3.0, [0, -1]), at(add(VECTOR, 3.0), [0, -1])),
    ],
)
def test_a_change_is_the_edit_that_it_stands_for(bare, tiny_model, change, edit):
    expected = tiny_model.trace(IDS, edits={"resid_post.0": edit}).logits
    torch.testing.assert_close(under(bare, change), expected)
    assert not torch.allclose(expected, run(bare))


def test_a_callable_sees_the_selected_slice(bare):
    seen = []
    under(bare, ActivationPatch(0, [1, 4], lambda there: seen.append(there.shape) or there))
    assert seen == [(1, 2, 24)]


def test_a_unit_of_a_site(bare, tiny_model):
    for site, length in (("z.1.2", 8), ("q.1.0", 8)):
        edit = {site: at(replace(torch.ones(length)), [2, 4])}
        expected = tiny_model.trace(IDS, edits=edit).logits
        torch.testing.assert_close(under(bare, ActivationPatch(site, [2, 4], torch.ones(length))), expected)


def test_registering_inside_of_the_block_acts_and_clearing_stops(bare):
    handler, before = InterventionHandler(bare), run(bare)
    with handler:
        assert torch.equal(run(bare), before)
        handler.register_activation_patch(ActivationPatch(1, -1, VECTOR))
        during = run(bare)
        handler.clear_interventions()
        assert torch.equal(run(bare), before)
    assert not torch.allclose(during[:, -1], before[:, -1])
    assert torch.equal(during[:, :-1], before[:, :-1])
    assert torch.equal(run(bare), before)


def test_hooks_by_hand_and_nothing_left_after_an_error(bare):
    hooks = sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in bare.modules())
    handler, before = InterventionHandler(bare), run(bare)
    handler.register_steering_vector(SteeringVector(VECTOR, 0))
    handler.register_hooks()
    handler.register_hooks()
    assert not torch.allclose(run(bare), before)
    handler.clear_hooks()
    with pytest.raises(RuntimeError, match="inside"), handler:
        raise RuntimeError("inside")
    assert hooks == sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in bare.modules())
    assert torch.equal(run(bare), before)


@pytest.mark.parametrize("positions", [None, [-1], [2, 6], [0]])
def test_hugging_faces_generation_with_a_cache_is_ours(bare, tiny_model, positions):
    """Position 6 is generated; -1 is the end of the prompt, at every step."""
    change = SteeringVector(VECTOR, 0, 2.0, positions)
    edit = add(VECTOR, 2.0) if positions is None else at(add(VECTOR, 2.0), positions)
    ours = tiny_model.generate(IDS, max_new_tokens=6, edits={"resid_post.0": edit}, stop_tokens=[])
    handler = InterventionHandler(bare)
    handler.register_steering_vector(change)
    ids = torch.tensor([IDS])
    with handler:
        out = bare.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, min_new_tokens=0, do_sample=False,
            pad_token_id=1, eos_token_id=None,
        )  # fmt: skip
    assert out[0].tolist() == [*IDS, *ours.ids[0]]


def test_what_cannot_act_is_an_error(bare):
    handler = InterventionHandler(bare)
    with pytest.raises(SiteError, match="beyond the last layer"):
        handler.register_activation_patch(ActivationPatch("transformer.h.7", 0, VECTOR))
    with pytest.raises(ArgumentError, match="Did you mean 'replace'"):
        handler.register_activation_patch(ActivationPatch(0, 0, VECTOR, "replce"))
    assert handler.interventions == []
    handler.register_activation_patch(ActivationPatch(0, 9, VECTOR))
    with pytest.raises(EditError, match="position 9 of '0' was never reached"), handler:
        run(bare)
    with pytest.raises(EditError, match="padded"), handler:
        run(bare, attention_mask=torch.tensor([[0, 1, 1, 1, 1]]))


def test_a_loaded_model_may_be_handled_too(tiny_model):
    handler = InterventionHandler(tiny_model)
    handler.register_activation_patch(ActivationPatch(0, -1, VECTOR))
    expected = tiny_model.trace(tiny.PROMPT, edits={"resid_post.0": at(replace(VECTOR), -1)}).logits
    with handler:
        assert torch.equal(tiny_model.trace(tiny.PROMPT).logits, expected)
