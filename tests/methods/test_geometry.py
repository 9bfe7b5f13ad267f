"""CKA by its definition and its invariances; TwoNN on cubes of known dimension."""

import math

import pytest
import torch

from fluoroscope.methods import geometry


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_definition(x, y):
    """The unbiased HSIC of Song et al. 2012 with whole kernel matrices."""

    def hsic(k, m):
        n = len(k)
        k, m = (each - torch.diag(each.diag()) for each in (k, m))
        ones = torch.ones(n, dtype=k.dtype)
        whole = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return (torch.trace(k @ m) + whole - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3))

    k, m = x @ x.T, y @ y.T
    return float(hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt())


@pytest.mark.parametrize("samples", [4, 9, 40])
def test_cka_is_that_of_the_kernels(samples):
    x = noise(samples, 7) + 3
    y = x[:, :5] @ noise(5, 6, seed=1) + 0.5 * noise(samples, 6, seed=2)
    assert geometry.linear_cka(x, y) == pytest.approx(by_definition(x, y), abs=1e-9)
    assert geometry.linear_cka(x, y) == pytest.approx(geometry.linear_cka(y, x))


def test_cka_knows_neither_turns_nor_scale_nor_shifts():
    x, y = noise(50, 8), noise(50, 8, seed=1)
    y = y + x
    turn = torch.linalg.qr(noise(8, 8, seed=2)).Q
    value = geometry.linear_cka(x, y)
    assert 0.1 < value < 0.9
    for other in (y @ turn, -3.5 * y, y + noise(8, seed=3) * 100):
        assert geometry.linear_cka(x, other) == pytest.approx(value, abs=1e-9)
    assert geometry.linear_cka(x, x @ turn * 0.01 + 5) == pytest.approx(1, abs=1e-9)
    assert geometry.linear_cka(x, y * torch.arange(1, 9)) != pytest.approx(value, abs=1e-3)


def test_independent_noise_is_about_zero_though_samples_are_few():
    values = [geometry.linear_cka(noise(12, 40, seed=s), noise(12, 40, seed=1000 + s)) for s in range(200)]
    assert abs(sum(values) / len(values)) < 0.02
    biased = by_biased(noise(12, 40), noise(12, 40, seed=1000))
    assert biased > 0.5


def by_biased(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    return float((x.T @ y).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm()))


def test_with_many_samples_it_is_the_plain_closed_form():
    x = noise(4000, 9)
    y = x[:, :5] @ noise(5, 6, seed=1) + 0.5 * noise(4000, 6, seed=2)
    assert geometry.linear_cka(x, y) == pytest.approx(by_biased(x, y), abs=2e-3)
    assert 0.3 < by_biased(x, y) < 0.9


def test_what_does_not_vary_has_no_cka():
    assert math.isnan(geometry.linear_cka(torch.ones(9, 4), noise(9, 4)))


def test_mean_cosine_by_hand():
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[2.0, 0.0], [-1.0, -1.0]])
    assert geometry.mean_cosine(x, y) == pytest.approx(0)
    assert geometry.mean_cosine(x[:1], y[:1]) == pytest.approx(1)


@pytest.mark.parametrize("dimension", [2, 3, 4, 6])
def test_the_dimension_of_a_cube_in_a_wider_space(dimension):
    cube = torch.rand(1500, dimension, generator=torch.Generator().manual_seed(dimension), dtype=torch.float64)
    wide = cube @ torch.linalg.qr(noise(20, dimension)).Q.T * 7 + 3
    found, distinct = geometry.two_nn(wide)
    assert distinct == 1500
    assert found == pytest.approx(dimension, rel=0.12)


def test_copies_count_once_even_if_rounding_tells_them_apart():
    cube = torch.rand(700, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 1
    copies = cube[:600] * (1 + 1e-7 * noise(600, 1))
    alone, together = geometry.two_nn(cube), geometry.two_nn(torch.cat([cube, copies, cube]))
    assert together == (pytest.approx(alone[0]), 700)


def test_few_vectors_have_no_dimension():
    assert geometry.two_nn(noise(19, 3)) == (None, 19)
    assert geometry.two_nn(torch.ones(40, 3)) == (None, 1)
