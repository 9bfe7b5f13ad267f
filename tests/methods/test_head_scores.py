"""Head scores against their definitions in loops, and the battery against what it says of itself."""

import math

import pytest
import torch

from fluoroscope.loading import load
from fluoroscope.methods.head_scores import COMPARING, KINDS, PERIODS, battery, masks, scores


def test_scores_are_their_definitions():
    torch.manual_seed(0)
    ids = [5, 7, 7, 5, 9, 7, 5]
    pattern = torch.rand(3, len(ids), len(ids)).tril().double()
    found = dict(zip(KINDS, scores(pattern, masks(ids)), strict=True))
    for head in range(3):
        a = pattern[head]
        rows: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for i in range(1, len(ids)):
            if i > 1:
                rows["previous"].append(float(a[i, i - 1]))
            same = [j for j in range(i) if ids[j] == ids[i]]
            after = [j + 1 for j in same if j + 1 < i]
            if same:
                rows["duplicate"].append(float(sum(a[i, j] for j in same)))
            if after:
                rows["induction"].append(float(sum(a[i, j] for j in after)))
            rows["first"].append(float(a[i, 0]))
            rows["current"].append(float(a[i, i]))
        for kind in KINDS:
            assert float(found[kind][head]) == pytest.approx(sum(rows[kind]) / len(rows[kind]))


def test_without_repetition_there_is_no_score():
    found = scores(torch.rand(1, 4, 4), masks([1, 2, 3, 4]))
    assert [math.isnan(value) for value in found[:, 0].tolist()] == [False, True, True, False, False]


def test_the_battery_is_the_same_again_and_differs_by_seed():
    model = load()
    first, control = battery(model, [0, 1])
    again, _ = battery(model, [1, 0])
    assert torch.equal(first, again.flip(0))
    assert not torch.equal(first[0], first[1])
    assert first.shape == (2, len(KINDS), model.n_layers, model.n_heads)
    for index, kind in enumerate(KINDS):
        assert bool(control[:, index].isnan().all()) == (kind not in COMPARING)
    assert bool(((first >= 0) & (first <= 1 + 1e-6)).all())


def test_seeds_go_through_all_periods(monkeypatch):
    model, lengths = load(), set()
    trace = model.trace
    monkeypatch.setattr(model, "trace", lambda ids, **options: lengths.add(len(ids[0])) or trace(ids, **options))
    battery(model, range(len(PERIODS)))
    assert len(lengths) == len(PERIODS)
    assert all(2 * period <= length <= 2 * period + 8 for period, length in zip(PERIODS, sorted(lengths), strict=True))
