"""Interactions against effects that are a known function of which parts are patched."""

from itertools import combinations

import pytest
import torch

from fluoroscope.methods import interactions
from fluoroscope.methods.sweeps import Effects
from fluoroscope.sites import Site

HEADS = [Site("z", 0, head) for head in range(4)]


def effects(function, direction="denoise"):
    """Scores between 0 (corrupted) and 2 (clean) that follow from the set of patched heads."""
    groups = [{site.unit for site in part.sites} for part in interactions.parts(HEADS, None)]
    start, sign = (0.0, 1.0) if direction == "denoise" else (2.0, -1.0)
    scores = torch.tensor([[start + sign * 2 * function(group)] for group in groups], dtype=torch.float64)
    ends = torch.tensor([2.0], dtype=torch.float64), torch.tensor([0.0], dtype=torch.float64)
    return Effects(scores, *ends, direction)


def test_every_group_is_there_once_in_order():
    groups = [tuple(site.unit for site in part.sites) for part in interactions.parts(HEADS, (3,))]
    assert groups == [*((head,) for head in range(4)), *combinations(range(4), 2), (0, 1, 2, 3)]
    assert {part.positions for part in interactions.parts(HEADS, (3,))} == {(3,)}


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_polynomial_gives_its_own_coefficients_back(direction):
    single = [0.1, 0.2, -0.3, 0.05]
    double = {(0, 1): 0.4, (0, 2): -0.1, (1, 3): 0.02}
    triple = 0.07

    def function(group):
        total = sum(single[head] for head in group)
        total += sum(value for pair, value in double.items() if set(pair) <= group)
        return total + (triple if {0, 1, 2} <= group else 0)

    found = interactions.joint(effects(function, direction), 4)
    assert found.alone.tolist() == pytest.approx(single)
    for one, two in combinations(range(4), 2):
        for i, j in ((one, two), (two, one)):
            assert float(found.interactions[i, j]) == pytest.approx(double.get((one, two), 0), abs=1e-12)
            assert float(found.shares[i, j]) == pytest.approx(function({one, two}))
    assert found.interactions.diagonal().isnan().all()
    assert found.share == pytest.approx(function({0, 1, 2, 3}))
    assert found.orders == pytest.approx((sum(single), sum(single) + sum(double.values())))
    assert found.share - found.orders[1] == pytest.approx(triple)
    start = 0 if direction == "denoise" else 2
    assert found.together == pytest.approx(start + (2 if direction == "denoise" else -2) * found.share)


def test_two_heads_are_the_pair_and_all_at_once():
    parts = interactions.parts(HEADS[:2], None)
    assert [len(part.sites) for part in parts] == [1, 1, 2, 2]
