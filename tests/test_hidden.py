"""Written out by hand for three parts of a text."""

import torch

from fluoroscope import hidden
from fluoroscope.methods.contrast import Contrast
from fluoroscope.methods.effects import Question, Shift


def shift(probability: float, leads: str) -> Shift:
    return Shift(probability=probability, effect=-0.5, difference=None, kl=0.1, leads=leads, leads_id=0)


def test_losses_say_what_is_left_and_who_leads_instead():
    bars = hidden.losses(" a", " a", "a step", "the step", [("1 x", shift(0.25, " a")), ("2 y", None)])
    assert [(bar.label, bar.value, bar.remark) for bar in bars.items] == [("1 x", -0.5, "25.0 %")]
    bars = hidden.losses(" a", " a", "a step", "the step", [("1 x", shift(0.25, " b"))])
    assert bars.items[0].remark == "25.0 %, ‘·b’"
    assert "loses when no later token can look at a step" in bars.title


def test_no_part_owes_to_itself_or_to_what_comes_later():
    grid = ((None, None, None), (10.0, None, None), (20.0, 21.0, None))
    drawn = hidden.between("Owed", "step", "they cannot look at", ["1 x", "2 y", "3 z"], grid)
    assert drawn.values == ((10.0, None), (20.0, 21.0))
    assert [mark.label for mark in drawn.rows] == ["2 y", "3 z"]
    assert [mark.label for mark in drawn.columns] == ["1", "2"]


def test_what_is_asked_is_told_by_name(tiny_model):
    log_p = torch.tensor([[0.1, 0.2, 0.7]], dtype=torch.float64).log()
    label = tiny_model.token_label
    about = Contrast((1,), (0,))
    assert hidden.asked(Question(tiny_model, log_p, about), "answer") == {
        "answer": label(1), "answer_ids": (1,), "foil": label(0), "foil_ids": (0,), "leads": label(2),
        "probability": log_p[0, 1].exp().item(),
    }  # fmt: skip
    assert hidden.asked(Question(tiny_model, log_p, Contrast((1,), ())), "target")["foil"] is None
