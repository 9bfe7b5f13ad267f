"""What a change does to one prediction, by hand."""

from math import log

import pytest
import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import effects

BEFORE = [[0.2, 0.2, 0.6], [0.7, 0.2, 0.1]]


def question(model, foil):
    return effects.Question(model, torch.tensor(BEFORE).double().log(), 0, foil)


def test_a_shift_by_hand(tiny_model):
    asked = question(tiny_model, 1)
    found = asked.shift(torch.tensor([0.1, 0.4, 0.5]).double().log())
    assert (found.probability, asked.probability, asked.leader) == (pytest.approx(0.1), pytest.approx(0.7), 0)
    assert found.effect == pytest.approx(log(0.1 / 0.7))
    assert found.difference == pytest.approx(log(0.1 / 0.4) - log(0.7 / 0.2))
    assert found.kl == pytest.approx(0.7 * log(7) + 0.2 * log(0.5) + 0.1 * log(0.2))
    assert (found.leads, found.leads_id) == ("c", 2)


def test_what_is_impossible_afterwards_has_no_finite_effect(tiny_model):
    found = question(tiny_model, None).shift(torch.tensor([0.0, 0.5, 0.5]).double().log())
    assert (found.probability, found.effect, found.difference, found.kl) == (0.0, None, None, None)


def test_without_a_target_it_is_the_models_own(tiny_model):
    trace = tiny_model.trace("abc")
    asked = effects.ask(tiny_model, trace, None, None)
    assert asked.target == asked.leader == int(trace.logits[0, -1].argmax())
    assert effects.ask(tiny_model, trace, 5, 6).target == 5
    with pytest.raises(ArgumentError, match="both token 5"):
        effects.ask(tiny_model, trace, 5, 5)
    with pytest.raises(ArgumentError, match="2 prompts"):
        effects.ask(tiny_model, tiny_model.trace(["abc", "abd"]), 5, None)
