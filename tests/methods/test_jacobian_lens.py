import pytest
import torch
from torch.nn.functional import cosine_similarity

import linear
from fluoroscope.methods import jacobian_lens
from fluoroscope.methods.jacobian_lens import fit

ROWS = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]]


@pytest.fixture(scope="module")
def affine():
    return linear.model()


@pytest.mark.parametrize("reach", ["same", "later"])
def test_of_affine_blocks_it_is_the_product_of_their_jacobians(affine, reach):
    lens, stability = fit(affine, linear.rows(), {}, reach, seed=0)
    for found, expected in zip(lens.weight.double(), linear.jacobians(affine), strict=True):
        factor = 1.0 if reach == "same" else float((found * expected).sum() / expected.square().sum())
        torch.testing.assert_close(found, factor * expected, atol=1e-6, rtol=1e-6)
    assert stability == pytest.approx([1.0] * 3, abs=1e-9)


def pairs(model, rows, depth, last):
    """{(row, t, t'): Jacobian [in, out]} by torch's own jacobian of the blocks behind a depth, one row at a time."""
    found = {}
    for number, row in enumerate(rows):
        trace = model.trace(row, sites=[depth])
        stream = trace[depth][0]
        first = 0 if depth == "resid_pre.0" else int(depth.split(".")[1]) + 1

        def rest(x, first=first):
            for block in model.hf.transformer.h[first:]:
                x = block(x[None])[0] if not isinstance(block(x[None]), tuple) else block(x[None])[0][0]
            return x

        whole = torch.autograd.functional.jacobian(rest, stream)  # [t', out, t, in]
        for t in range(len(row)):
            for later in range(len(row)):
                found[number, t, later] = whole[later, :, t].T
    return found


@pytest.mark.parametrize("reach", ["same", "later"])
def test_of_a_real_model_it_is_the_mean_of_torchs_own_jacobians(tiny_model, reach):
    lens, _ = fit(tiny_model, ROWS, {}, reach, seed=5)
    generator = torch.Generator().manual_seed(5)
    chosen = [int(torch.randint(len(row), (), generator=generator)) for row in ROWS]
    for number, depth in enumerate(["resid_pre.0", "resid_post.0"]):
        every = pairs(tiny_model, ROWS, depth, "resid_post.1")
        assert all(value.abs().max() < 1e-6 for (_, t, later), value in every.items() if later < t)
        kept = [
            value
            for (row, t, later), value in every.items()
            if (later >= t if reach == "later" else t == later == chosen[row])
        ]
        expected = torch.stack(kept).mean(0)
        torch.testing.assert_close(lens.weight[number], expected, atol=1e-5, rtol=1e-4)


def test_stability_is_the_cosine_of_two_halves(tiny_model, monkeypatch):
    monkeypatch.setattr(jacobian_lens, "TOKENS_AT_ONCE", 5)
    rows = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    _, stability = fit(tiny_model, rows, {}, "later", seed=0)
    halves = [fit(tiny_model, [row], {}, "later", seed=0)[0].weight for row in rows]
    expected = cosine_similarity(halves[0].flatten(1), halves[1].flatten(1), dim=-1)
    assert stability == pytest.approx(expected.tolist(), abs=1e-5)
    assert max(stability) < 0.999
