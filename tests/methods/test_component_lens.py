"""Every component's addend of every logit, against the exact sum for one token at a time, and by brute force."""

import pytest
import torch

from architectures.common import ids, model, true_float64
from fluoroscope.methods import component_lens, decomposition
from fluoroscope.methods.component_lens import voices

CASES = [
    "gemma2",
    "gemma2-untied",
    "llama",
    "gpt_neox",
    "falcon",
    "cohere",
    "phi",
    "phi3",
    "granite",
    "gpt2",
    "mixtral",
]
SLOT = 7


def traced(case, grain):
    with true_float64():
        found = model(case, None, torch.float64)
        return found, found.trace(ids(1), sites=decomposition.sites_needed(found, grain))


def addends(found, trace, grain):
    """[component, token], one exact sum per token."""
    rows = []
    for token in range(found.d_vocab):
        weights = torch.zeros(found.d_vocab, dtype=torch.float64)
        weights[token] = 1
        rows.append(decomposition.decompose(found, trace, SLOT, weights, grain))
    values = [[part.value for part in row] for row in rows]
    return [part.name for part in rows[0]], torch.tensor(values, dtype=torch.float64).T


@pytest.mark.parametrize("grain", ["head", "layer"])
@pytest.mark.parametrize("case", CASES)
def test_every_token_gets_what_the_exact_sum_says(case, grain):
    found, trace = traced(case, grain)
    with true_float64():
        told = voices(found, trace, SLOT, grain, 4, range(found.d_vocab))
        names, expected = addends(found, trace, grain)
        linear = [decomposition.linear_logit(found, trace, SLOT, row) for row in torch.eye(found.d_vocab).double()]
    assert [voice.name for voice in told] == names
    asked = torch.tensor([voice.asked for voice in told], dtype=torch.float64)
    assert (asked - expected).abs().max() < 1e-9
    assert asked.sum(0).tolist() == pytest.approx(linear, abs=1e-9)
    for voice, row in zip(told, expected, strict=True):
        assert (voice.mean, voice.spread) == pytest.approx((float(row.mean()), float(row.std(correction=0))), abs=1e-9)
        order = row.argsort().tolist()
        assert [token for token, _ in voice.promotes] == order[:-5:-1]
        assert [token for token, _ in voice.demotes] == order[:4]
        for token, value in voice.promotes + voice.demotes:
            assert value == pytest.approx(float(row[token]), abs=1e-9)


def test_it_does_not_matter_how_many_tokens_are_read_at_once(monkeypatch):
    found, trace = traced("phi", "head")
    whole = voices(found, trace, SLOT, "head", 5, [96, 3, 50])
    monkeypatch.setattr(component_lens, "_NUMBERS_AT_ONCE", 32 * 2)
    for one, other in zip(voices(found, trace, SLOT, "head", 5, [96, 3, 50]), whole, strict=True):
        assert (one.name, one.asked) == (other.name, pytest.approx(other.asked, abs=1e-12))
        assert (one.mean, one.spread) == pytest.approx((other.mean, other.spread), abs=1e-12)
        assert [token for token, _ in one.promotes] == [token for token, _ in other.promotes]
        assert [token for token, _ in one.demotes] == [token for token, _ in other.demotes]


def test_what_treats_all_tokens_alike_promotes_none():
    found, trace = traced("llama", "layer")
    trace.values[found.site("mlp_out.1")].zero_()
    [silent] = [voice for voice in voices(found, trace, SLOT, "layer", 3) if voice.name == "mlp_out.1"]
    assert (silent.mean, silent.spread, silent.promotes, silent.demotes, silent.asked) == (0, 0, [], [], [])


def test_more_tokens_than_there_are_is_all_of_them():
    found, trace = traced("llama", "layer")
    for voice in voices(found, trace, SLOT, "layer", 1000):
        assert len(voice.promotes) + len(voice.demotes) == found.d_vocab
