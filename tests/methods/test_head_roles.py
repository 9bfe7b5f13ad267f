"""The scores on patterns written down by hand, with the traps of the first token and of missing repeats."""

import pytest
import torch

from fluoroscope.methods import head_roles

A, B, C = 7, 8, 9


def pattern(rows):
    size = len(rows)
    found = torch.zeros(size, size)
    for query, row in enumerate(rows):
        found[query, : len(row)] = torch.tensor(row)
    return found[None]


def test_the_first_token_is_a_sink_for_every_role():
    found = head_roles.roles(pattern([[1.0], [1.0, 0.0], [0.2, 0.8, 0.0]]), head_roles.masks([A, B, C]))
    assert float(found.scores[0, 0]) == pytest.approx(0.8)  # not the mean with the 1.0 on token 0
    assert found.scores[1:, 0].isnan().all()
    again = head_roles.roles(pattern([[1.0], [0.5, 0.5], [1.0, 0.0, 0.0]]), head_roles.masks([A, B, A]))
    assert again.scores[1, 0].isnan()  # the only earlier A is token 0
    assert float(again.scores[2, 0]) == 0  # B, which followed it, is none


def test_of_several_earlier_places_the_strongest_counts():
    rows = [[1.0], [0.5, 0.5], [0.2, 0.3, 0.5], [0.1, 0.2, 0.3, 0.4], [0.1, 0.35, 0.2, 0.25, 0.1]]
    found = head_roles.roles(pattern(rows), head_roles.masks([C, A, B, A, A]))
    assert float(found.scores[0, 0]) == pytest.approx((0.3 + 0.3 + 0.25) / 3)
    assert float(found.scores[1, 0]) == pytest.approx((0.2 + max(0.35, 0.25)) / 2)
    assert (found.queries[1][0], found.keys[1][0]) == (4, 1)
    assert float(found.weights[1, 0]) == pytest.approx(0.35)
    # query 3 may look at 2, which followed the A at 1; query 4 at 2 and 3? 4 itself followed the A at 3: that is no key
    assert float(found.scores[2, 0]) == pytest.approx((0.3 + 0.2) / 2)


def test_pairs_leave_out_the_first_token_and_the_query_itself():
    found = head_roles.pairs(pattern([[1.0], [0.1, 0.9], [0.6, 0.3, 0.1], [0.0, 0.2, 0.0, 0.8]])[0], 5)
    assert [(query, key) for query, key, _ in found] == [(2, 1), (3, 1)]
    assert [weight for *_, weight in found] == pytest.approx([0.3, 0.2])
