import numpy as np
import pytest
import torch

import linear
from fluoroscope.methods import future_lens
from fluoroscope.methods.future_lens import RIDGE, apply, fit, judge
from fluoroscope.methods.translators import depth_sites

ROWS = linear.rows(seed=4, count=30)


def pairs(model, site, distance):
    """Streams and later final streams, row by row, without a batch."""
    x, y, follows = [], [], []
    for row in ROWS:
        trace = model.trace(row, sites=[site, "resid_post.1"])
        for t in range(len(row) - distance):
            x.append(trace[site][0, t])
            y.append(trace["resid_post.1"][0, t + distance])
            follows.append(row[t + distance + 1] if t + distance + 1 < len(row) else -1)
    return torch.stack(x).double().numpy(), torch.stack(y).double().numpy(), follows


@pytest.mark.parametrize("distance", [0, 2])
@pytest.mark.parametrize("depth", [0, 2])
def test_maps_are_the_ridge_regression_of_numpy(tiny_model, distance, depth):
    weight, bias = fit(tiny_model, ROWS, 3)
    x, y, _ = pairs(tiny_model, depth_sites(2)[depth], distance)
    wide = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    penalty = np.sqrt(RIDGE * (x**2).sum(0).mean()) * np.eye(wide.shape[1])[:-1]
    expected = np.linalg.lstsq(np.vstack([wide, penalty]), np.vstack([y, np.zeros((24, 24))]), rcond=None)[0]
    np.testing.assert_allclose(weight[distance, depth], expected[:-1], atol=2e-3)
    np.testing.assert_allclose(bias[distance, depth], expected[-1], atol=2e-3)


def test_foresight_is_counted_over_all_pairs(tiny_model, monkeypatch):
    torch.manual_seed(0)
    weight, bias = torch.randn(2, 3, 24, 24), torch.randn(2, 3, 24)
    found = {(item.distance, item.site): item for item in judge(tiny_model, weight, bias, ROWS)}
    assert len(found) == 6
    x, y, follows = pairs(tiny_model, "resid_post.0", 1)
    log_p = tiny_model.unembed(apply(weight[1, 1], bias[1, 1], torch.tensor(x).float())).log_softmax(-1)
    own = tiny_model.unembed(torch.tensor(y).float()).argmax(-1)
    known = [n for n, token in enumerate(follows) if token >= 0]
    surprisal = -log_p[known, [follows[n] for n in known]].mean().item()
    item = found[1, "resid_post.0"]
    assert item.predicted == pytest.approx((log_p.argmax(-1) == own).float().mean().item(), abs=1e-6)
    assert item.surprisal == pytest.approx(surprisal, rel=1e-4)
    monkeypatch.setattr(future_lens, "TOKENS_AT_ONCE", 1)
    for other in judge(tiny_model, weight, bias, ROWS):
        same = found[other.distance, other.site]
        assert (other.predicted, other.surprisal) == pytest.approx((same.predicted, same.surprisal), rel=1e-4)


def test_a_distance_beyond_every_row_is_left_out(tiny_model):
    weight, bias = torch.zeros(3, 3, 24, 24), torch.zeros(3, 3, 24)
    assert {item.distance for item in judge(tiny_model, weight, bias, [[1, 2, 3]])} == {0, 1}


def test_where_the_model_is_affine_distance_0_is_exact():
    model = linear.model()
    weight, bias = (part.double() for part in fit(model, linear.rows(count=60), 1))
    for depth, site in enumerate(depth_sites(3)):
        trace = model.trace(linear.rows(seed=9, count=1), sites=[site, "resid_post.2"])
        announced, end = trace[site] @ weight[0, depth] + bias[0, depth], trace["resid_post.2"]
        assert (announced - end).abs().max() < 0.02 * end.abs().max()
