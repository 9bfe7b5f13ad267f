"""mlxterp's metrics as scores of ours, and its keywords."""

import pytest
import torch

from architectures.common import model
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable import recoveries
from fluoroscope.methods.sweeps import Sweep

PAIRS = [([5, 3, 9, 7], [5, 3, 9, 11]), ([8, 1, 2, 4, 90], [8, 1, 3, 4, 91])]


@pytest.fixture(scope="module")
def sweep():
    return Sweep(model("llama"), PAIRS, ["z"])


def test_each_pair_has_its_own_answer_where_none_is_named(sweep):
    made, name = recoveries.made(model("llama"), sweep, "logit_diff", None)
    clean, corrupted = sweep.logits()
    assert name == "logit_diff"
    rows = torch.arange(2)
    expected = clean[rows, clean.argmax(-1)] - clean[rows, corrupted.argmax(-1)]
    assert torch.allclose(made(clean), expected)


@pytest.mark.parametrize("gives", ["x", None, torch.zeros(3)])
def test_what_a_function_of_ones_own_gives_must_be_numbers(sweep, gives):
    made, _ = recoveries.made(model("llama"), sweep, lambda *_: gives, None)
    with pytest.raises(ArgumentError, match=r"the metric <lambda> gives .*, which is no number"):
        made(sweep.logits()[0])


def test_without_a_name_tokens_make_it_a_logit_difference(sweep):
    found = model("llama")
    assert recoveries.made(found, sweep, None, None)[1] == "l2"
    made, name = recoveries.made(found, sweep, None, {"correct_token": 3, "incorrect_token": "#4"})
    clean = sweep.logits()[0]
    assert name == "logit_diff"
    assert torch.allclose(made(clean), clean[:, 3] - clean[:, 4])
    kept = metrics.logit([3, 4])
    assert recoveries.made(found, sweep, kept, None) == (kept, "logit")
    assert not recoveries.is_own(kept)
    assert not recoveries.is_own("l2")


def test_a_number_for_several_rows_is_asked_for_row_by_row(sweep):
    calls = []

    def first_row(patched, clean, corrupted):
        calls.append(len(patched))
        return float(patched[0, 3] - clean[0, 3])

    made, name = recoveries.made(model("llama"), sweep, first_row, None)
    clean, corrupted = sweep.logits()
    assert name == "first_row"
    assert torch.allclose(made(corrupted), (corrupted - clean)[:, 3].double(), atol=1e-6)
    assert calls == [2, 1, 1]


def test_keywords():
    assert recoveries.tokens({"clean_target": " a", "foil_token": 3}) == {"answer": " a", "foil": 3}
    assert recoveries.tokens({"target_token": None}) == {}
    with pytest.raises(ArgumentError, match="take no keyword 'k'"):
        recoveries.tokens({"k": 1})
