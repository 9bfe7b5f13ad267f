"""Receiver heads: against the formulas spelled out, and on patterns made to single out a step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.methods import receivers

STEPS = [slice(0, 3), slice(3, 5), slice(5, 8), slice(8, 10), slice(10, 12), slice(12, 15), slice(15, 16)]


def looking(at, share=0.8, length=16):
    """A causal pattern in which every later token spends `share` on tokens `at` and the rest evenly."""
    pattern = torch.ones(length, length).tril()
    pattern /= pattern.sum(-1, keepdim=True)
    for query in range(at.stop, length):
        pattern[query] *= 1 - share
        pattern[query, at] += share / (at.stop - at.start)
    return pattern


def test_vertical_scores_by_explicit_loops():
    pattern = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(1))
    found = receivers.vertical(pattern, STEPS)
    assert found.shape == (2, 5)
    for i in range(5):
        keys = [k for k in range(16)[STEPS[i]] if k > 0]
        means = []
        for j in range(i + 2, 7):
            pairs = [float(pattern[1, q, k]) for q in range(16)[STEPS[j]] for k in keys]
            means.append(sum(pairs) / len(pairs))
        assert float(found[1, i]) == pytest.approx(sum(means) / len(means))
    assert receivers.vertical(pattern, [slice(0, 1), *STEPS[1:]])[:, 0].isnan().all()


@given(st.lists(st.floats(-10, 10), min_size=4, max_size=12).filter(lambda values: max(values) - min(values) > 1e-2))
def test_kurtosis_is_that_of_the_textbook(values):
    mean = sum(values) / len(values)
    second, fourth = (sum((value - mean) ** power for value in values) / len(values) for power in (2, 4))
    given_nan = torch.tensor([*values, torch.nan], dtype=torch.float64)
    assert float(receivers.kurtosis(given_nan)) == pytest.approx(fourth / second**2 - 3, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("values", [[1.0, 2.0, 9.0], [2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 9.0, torch.nan]])
def test_no_kurtosis_where_none_can_stand_out(values):
    assert receivers.kurtosis(torch.tensor(values, dtype=torch.float64)).isnan()


class Recorded:
    """What `receivers` asks of a trace."""

    def __init__(self, *heads):
        from fluoroscope.sites import Site

        self.sites = [Site("pattern", 3)]
        self.pattern = torch.stack(heads)[None]

    def __getitem__(self, site):
        return self.pattern


def test_a_head_that_looks_back_at_one_step_is_the_receiver():
    even, sharp = receivers.receivers(Recorded(looking(slice(0, 3), 0.0), looking(slice(5, 8))), STEPS)
    assert (even.site, sharp.site) == ("z.3.0", "z.3.1")
    assert sharp.step == 2
    assert sharp.kurtosis == pytest.approx(0.25, abs=0.1), "one of five alone is 13 / 4 - 3"
    assert even.kurtosis < sharp.kurtosis - 0.5
    assert receivers.receivers(Recorded(looking(slice(0, 3))), STEPS[:2]) == ()
