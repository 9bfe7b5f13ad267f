"""Norms and ranks against matrices whose spectrum is known, maps against loops over entries."""

import math
from types import SimpleNamespace

import pytest
import torch

from architectures import common
from fluoroscope.errors import UnavailableError
from fluoroscope.methods import weight_maps


def with_spectrum(values, rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    u, v = (
        torch.linalg.qr(torch.randn(size, len(values), generator=generator, dtype=torch.float64)).Q
        for size in (rows, columns)
    )
    return u @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ v.T


@pytest.mark.parametrize(("rows", "columns"), [(5, 4), (40, 4), (4, 40), (4, 4)])
def test_singular_values_are_those_the_matrix_was_made_of(rows, columns):
    found = weight_maps.singular_values(with_spectrum([5.0, 2.0, 2.0, 0.5], rows, columns))
    assert found.tolist() == pytest.approx([5.0, 2.0, 2.0, 0.5], rel=1e-12)


def test_effective_rank_is_the_perplexity_of_the_spectrum():
    assert weight_maps.effective_rank(torch.ones(7)) == pytest.approx(7)
    assert weight_maps.effective_rank(torch.tensor([3.0, 0.0, 0.0])) == pytest.approx(1)
    shares = [0.5, 0.25, 0.25]
    expected = math.exp(-sum(p * math.log(p) for p in shares))
    assert weight_maps.effective_rank(torch.tensor([4.0, 2.0, 2.0])) == pytest.approx(expected)
    assert weight_maps.effective_rank(torch.zeros(3)) is None


@pytest.mark.parametrize("most", [1, 3, 5, 100])
def test_blocks_hold_the_mean_and_the_extreme_of_their_entries(most):
    matrix = torch.randn(7, 11, generator=torch.Generator().manual_seed(1))
    found = weight_maps.blocks(matrix, most)
    assert found.means.shape == (min(most, 7), min(most, 11)) == (len(found.rows), len(found.columns))
    for i, (top, bottom) in enumerate(zip(found.rows, [*found.rows[1:], 7], strict=True)):
        for j, (left, right) in enumerate(zip(found.columns, [*found.columns[1:], 11], strict=True)):
            entries = [float(matrix[r, c]) for r in range(top, bottom) for c in range(left, right)]
            assert float(found.means[i, j]) == pytest.approx(sum(entries) / len(entries), abs=1e-7)
            assert float(found.extremes[i, j]) == max(entries, key=abs)
    sizes = {b - a for a, b in zip(found.rows, [*found.rows[1:], 7], strict=True)}
    assert max(sizes) - min(sizes) <= 1


def test_largest_entries_are_found_with_their_sign_and_place():
    matrix = torch.zeros(3, 4)
    matrix[2, 1], matrix[0, 3], matrix[1, 0] = -5.0, 4.0, 3.0
    assert weight_maps.largest(matrix, 2) == [(2, 1, -5.0), (0, 3, 4.0)]
    assert len(weight_maps.largest(matrix, 99)) == 12


def test_a_description_is_of_the_whole_matrix():
    matrix = with_spectrum([3.0, 1.0, 0.5], 6, 3)
    found = weight_maps.described(matrix, 2, 4)
    assert found.shape == (6, 3)
    assert found.frobenius == pytest.approx(math.sqrt(9 + 1 + 0.25)) == pytest.approx(found.rms * math.sqrt(18))
    assert found.values.tolist() == pytest.approx([3.0, 1.0, 0.5])
    assert found.map.means.shape == (2, 2)
    assert len(found.largest) == 4


def test_a_weight_that_is_not_stored_as_plain_numbers_is_refused():
    layer = torch.nn.Linear(3, 2)
    layer.weight = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.int8), requires_grad=False)
    with pytest.raises(UnavailableError, match=r"weight is stored as Parameter torch\.int8"):
        weight_maps.addressed(SimpleNamespace(hf=layer), "weight")


def test_addresses_of_the_vocabulary_come_first_in_any_spelling():
    model = common.model("gpt2")
    for name in ("W_Q.1", "attn.L1.W_Q", "blocks.1.attn.W_Q"):
        found = weight_maps.addressed(model, name)
        assert (found.address, found.axes) == ("W_Q.1", ("d_model", "d_head"))
        assert list(found.matrices) == [f"W_Q.1.{head}" for head in range(4)]
    assert weight_maps.addressed(model, "transformer.wte.weight").axes == ("row", "column")
    assert weight_maps.addressed(model, "b_out.0").axes == ("", "d_model")
