"""Running statistics against all values at once, however they are cut into batches."""

from math import isnan

import pytest
import torch

from fluoroscope.methods.running import CEILING, ERROR, FLOOR, Largest, Moments, Quantiles

CPU = torch.device("cpu")


def cut(values, sizes):
    return values.split([*sizes, len(values) - sum(sizes)])


@pytest.mark.parametrize("sizes", [[], [1, 1, 50], [499], [100, 200]])
def test_moments_are_those_of_all_values(sizes):
    values = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * 3 + torch.tensor([0.0, 1e4, -2.0, 5.0])
    values[:, 3] = 1.0
    moments = Moments(4, CPU)
    for part in cut(values, sizes):
        moments.update(part)
    wide = values.double()
    torch.testing.assert_close(moments.mean, wide.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moments.deviation, wide.std(0, correction=0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(moments.above, (wide > 0).double().mean(0))
    assert (moments.maximum.tolist(), moments.minimum.tolist()) == (wide.amax(0).tolist(), wide.amin(0).tolist())
    assert moments.count == 500


def test_a_quantile_is_off_by_two_percent_of_its_size_at_most():
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(4000, 5, generator=generator, dtype=torch.float64)
    values *= torch.tensor([1.0, 1e-3, 3e3, 1.0, 1.0])
    values[:, 3] = values[:, 3].exp()
    values[:, 4] = values[:, 4].clamp_min(0)  # half of them exactly zero, as behind a ReLU
    whole, parts = Quantiles(5, CPU), Quantiles(5, CPU)
    whole.update(values)
    for part in cut(values, [1, 999, 2000]):
        parts.update(part)
    for q in (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = values.sort(0).values[int(q * (len(values) - 1))]
        found = whole.at(q)
        assert bool(((found - exact).abs() <= ERROR * exact.abs() * (1 + 1e-9) + FLOOR).all())
        assert torch.equal(found, parts.at(q))


def test_beyond_the_ends_of_the_bins_a_value_counts_as_the_end():
    quantiles = Quantiles(1, CPU)
    quantiles.update(torch.tensor([[-1e9], [FLOOR / 2], [1e9]], dtype=torch.float64))
    assert [float(quantiles.at(q)) for q in (0, 0.5, 1)] == pytest.approx([-CEILING, 0, CEILING], rel=ERROR)


def brute(values, counted, k, window):
    """Per unit the k largest (peak, passage, slot, around), the earlier text first among equals."""
    found = []
    for unit in range(values.shape[-1]):
        peaks = []
        for row in range(len(values)):
            slots = [slot for slot in range(values.shape[1]) if counted[row, slot]]
            best = max(slots, key=lambda slot: (float(values[row, slot, unit]), -slot))
            around = [
                float(values[row, slot, unit]) if slot in slots else None
                for slot in range(best - window, best + window + 1)
            ]
            peaks.append((float(values[row, best, unit]), row, best, around))
        found.append(sorted(peaks, key=lambda peak: (-peak[0], peak[1]))[:k])
    return found


@pytest.mark.parametrize("order", [list(range(12)), [5, 3, 11, 0, 7, 2, 10, 1, 4, 9, 8, 6]])
@pytest.mark.parametrize("sizes", [[], [1, 1, 3], [4, 4]])
@pytest.mark.parametrize("levels", [2, 1000])
def test_the_largest_are_those_of_a_full_sort_in_any_order_of_batches(order, sizes, levels):
    """With two levels nearly everything is equal, and only the order of the text decides."""
    generator = torch.Generator().manual_seed(levels)
    values = torch.randint(0, levels, (12, 7, 5), generator=generator).double() - 1
    lengths = torch.randint(1, 8, (12,), generator=generator)
    counted = torch.arange(7) < lengths[:, None]
    counted[:, 0] &= lengths < 3  # a lead, where anything stands behind it
    largest = Largest(k=4, window=2)
    for rows in cut(torch.tensor(order), sizes):
        largest.update(values[rows], counted[rows], rows.tolist())
    for unit, expected in enumerate(brute(values, counted, 4, 2)):
        assert largest.values[unit].tolist() == [peak for peak, *_ in expected]
        assert largest.passage[unit].tolist() == [row for _, row, *_ in expected]
        assert largest.slot[unit].tolist() == [slot for _, _, slot, _ in expected]
        around = [[None if isnan(value) else value for value in row] for row in largest.around[unit].tolist()]
        assert around == [each for *_, each in expected]


def test_fewer_passages_than_asked_for_leave_places_empty():
    largest = Largest(k=3, window=0)
    largest.update(torch.ones(1, 2, 1), torch.ones(1, 2, dtype=torch.bool), [0])
    assert largest.passage.tolist() == [[0, -1, -1]]
    assert largest.values.tolist() == [[1.0, -torch.inf, -torch.inf]]
