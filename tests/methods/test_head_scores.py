"""Head scores against their definitions in loops, and the battery against what it says of itself."""

import math

import pytest
import torch

from fluoroscope.loading import load
from fluoroscope.methods.head_scores import COMPARING, KINDS, PERIODS, battery, earned, even, masks, scores


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


def test_what_is_earned_is_the_mean_over_seeds_with_its_interval():
    """By hand for five seeds: Student's t is 2.776."""
    shares = torch.tensor([0.30, 0.50, 0.40, 0.45, 0.35], dtype=torch.float64)
    found = shares[:, None, None, None].expand(-1, len(KINDS), 1, 1)
    control = torch.full_like(found, torch.nan)
    for kind in COMPARING:
        control = control.index_fill(1, torch.tensor([KINDS.index(kind)]), 0.1)
    result = earned(found, control)
    for place, kind in enumerate(KINDS):
        mean = 0.3 if kind in COMPARING else 0.4
        assert float(result.mean[place]) == pytest.approx(mean)
        assert float(result.spread[place]) == pytest.approx(0.0790569, abs=1e-6)
        reach = 2.776445 * 0.0790569 / 5**0.5
        assert [float(result.low[place]), float(result.high[place])] == pytest.approx([mean - reach, mean + reach])
    alone = tuple(kind for kind in KINDS if kind not in COMPARING)
    assert result.labels(0, 0, 0.35) == (alone, KINDS)
    assert result.labels(0, 0, 0.45) == ((), alone)
    assert result.labels(0, 0, 0.39) == (alone, (*alone[:1], *COMPARING, *alone[1:]))
    assert result.labels(0, 0, 0.1) == (KINDS, ())
    once = earned(found[:1], control[:1])
    assert once.spread.tolist() == [[[0]]] * len(KINDS)
    assert once.labels(0, 0, 0.3) == (alone, ())


def test_intervals_end_where_shares_do():
    found = torch.tensor([0.0, 1.0, 0.98], dtype=torch.float64)[:, None, None, None].expand(-1, len(KINDS), 1, 1)
    control = torch.full_like(found, torch.nan)
    result = earned(found, control)
    assert result.high.max() == 1
    assert result.low[KINDS.index("previous")] == 0
    assert result.low[KINDS.index("induction")] < 0


def test_an_even_look_by_loops():
    """Only lengths matter: of seed 0 the lead-in and twice the first period."""
    model, seen = load(), []
    trace = model.trace
    model.trace = lambda ids, **options: seen.append(ids[0].tolist()) or trace(ids, **options)
    try:
        battery(model, [0, 3])
    finally:
        del model.trace
    lengths = [len(ids) for ids in seen[::2]]
    by_hand = [sum(1 / (query + 1) for query in range(1, n)) / (n - 1) for n in lengths]
    found = dict(zip(KINDS, even(model, [0, 3]).tolist(), strict=True))
    assert found["first"] == found["current"] == pytest.approx(sum(by_hand) / 2)
    assert found["previous"] < found["first"]
    assert {found[kind] for kind in COMPARING} == {0}
