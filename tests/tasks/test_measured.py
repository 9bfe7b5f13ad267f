"""Pairs as tokens with their metric, against tasks and metrics called one by one."""

import pytest
import torch

import fluoroscope
from fluoroscope import metrics, tasks
from fluoroscope.errors import ArgumentError
from fluoroscope.tasks import measured

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"


def test_the_pairs_of_a_task_come_in_two_halves() -> None:
    model = fluoroscope.load()
    made = tasks.make("ioi", model, 6, seed=3)
    answers, foils = made.ids(model)
    halves = measured.of_task(model, "ioi", "logit_diff", 3, seed=3)
    for half, rows in zip(halves, (slice(0, 3), slice(3, 6)), strict=True):
        assert [tuple(row) for row in half.clean.rows] == [
            tuple(model.tokens(pair.clean).rows[0]) for pair in made.pairs[rows]
        ]
        logits = torch.randn(3, model.d_vocab)
        expected = metrics.logit_diff(answers[rows], foils[rows])(logits)
        assert torch.equal(half.metric(logits), expected)
    assert halves[0].first == (made.pairs[0].clean, made.pairs[0].corrupted)


def test_a_pair_without_names_is_about_the_models_own_predictions() -> None:
    model = fluoroscope.load()
    made = measured.of_pair(model, CLEAN, OTHER, "logit_diff")
    ends = [model.trace(prompt).logits[:, -1] for prompt in (CLEAN, OTHER)]
    ids = [int(end.argmax()) for end in ends]
    assert model.token_label(ids[0]) == " Mary"
    assert torch.equal(made.metric(ends[0]), ends[0][:, ids[0]] - ends[0][:, ids[1]])
    named = measured.of_pair(model, CLEAN, OTHER, "logit", answer=" John")
    assert float(named.metric(ends[0])) == pytest.approx(float(ends[0][0, model.single_token(" John")]))
    assert float(measured.of_pair(model, CLEAN, OTHER, "kl").metric(ends[0])) == pytest.approx(0, abs=1e-6)


def test_refusals() -> None:
    model = fluoroscope.load()
    with pytest.raises(ArgumentError, match="both prompts are the same tokens"):
        measured.of_pair(model, CLEAN, CLEAN, "logit_diff")
    with pytest.raises(ArgumentError, match="the prompts have 14 and"):
        measured.of_pair(model, CLEAN, "Mary", "logit_diff")
    with pytest.raises(ArgumentError, match="unknown metric"):
        measured.of_pair(model, CLEAN, OTHER, "logit_dif")
