import pytest
import torch

import linear
from fluoroscope import progress
from fluoroscope.errors import ArtifactError, Cancelled, UnavailableError
from fluoroscope.methods import translators
from fluoroscope.methods.translators import identity, judge, provenance
from fluoroscope.methods.tuned_lens import CLIP, MOMENTUM, Settings, _gradients, fit

ROWS = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10], [11, 12, 13, 14]]


@pytest.fixture
def meta(tiny_model):
    return provenance(tiny_model, "text", ROWS, seed=3)


def test_one_step_is_nesterovs_on_the_clipped_gradient_of_the_mean_kl(tiny_model, meta, tmp_path):
    lens, losses = fit(tiny_model, ROWS, meta, Settings(1, 4, 0.5, 0), tmp_path / "a.safetensors")
    for depth, site in enumerate(["resid_pre.0", "resid_post.0"]):
        weight = torch.eye(24, requires_grad=True)
        bias = torch.zeros(24, requires_grad=True)
        kl = []
        for row in ROWS:
            trace = tiny_model.trace(row, sites=[site])
            final = trace.logits[0].log_softmax(-1)
            log_q = tiny_model.unembed(trace[site][0] @ weight + bias).log_softmax(-1)
            kl.append((final.exp() * (final - log_q)).sum(-1))
        loss = torch.cat(kl).mean()
        gradients = torch.autograd.grad(loss, (weight, bias))
        norm = torch.cat([item.flatten() for item in gradients]).norm()
        scale = 0.5 * (1 + MOMENTUM) * min(1.0, CLIP / norm.item())
        assert losses[0][depth] == pytest.approx(loss.item(), rel=1e-4)
        torch.testing.assert_close(lens.weight[depth], torch.eye(24) - scale * gradients[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(lens.bias[depth], -scale * gradients[1], atol=1e-5, rtol=1e-4)


def test_where_the_rest_of_the_model_is_affine_it_reaches_the_prediction(tmp_path):
    model = linear.model()
    rows = linear.rows(count=20)
    meta = provenance(model, "text", rows, seed=0)
    before = judge(model, identity(model, meta), rows)
    lens, losses = fit(model, rows, meta, Settings(250, 20, 1.0, 0), tmp_path / "a.safetensors")
    after = judge(model, lens, rows)
    assert min(item.plain for item in before) > 0.05
    assert max(item.fitted for item in after) < 0.01
    assert max(losses[-1]) < 0.01


def test_a_fit_that_was_stopped_goes_on_to_the_same_bits(tiny_model, meta, tmp_path):
    settings = Settings(7, 2, 0.5, 1)
    whole, losses = fit(tiny_model, ROWS, meta, settings, tmp_path / "whole.safetensors", every=2)
    path = tmp_path / "stopped.safetensors"
    with pytest.raises(Cancelled), progress.listening(lambda label, done, total: done < 5):
        fit(tiny_model, ROWS, meta, settings, path, every=2)
    with pytest.raises(ArtifactError, match="did not end"):
        translators.fitted(tiny_model, str(path), "tuned")
    again, others = fit(tiny_model, ROWS, meta, settings, path, every=2)
    assert torch.equal(again.weight, whole.weight)
    assert torch.equal(again.bias, whole.bias)
    assert others == losses
    assert path.read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert fit(tiny_model, ROWS, meta, settings, path)[1] == losses
    with pytest.raises(ArtifactError, match=r"fitted otherwise: rate [\d.]+, not 0\.25"):
        fit(tiny_model, ROWS, meta, Settings(7, 2, 0.25, 1), path)


def test_the_size_of_the_batches_changes_nothing(tiny_model, meta, monkeypatch):
    sites = translators.depth_sites(2)
    lens = identity(tiny_model, meta)
    one, losses = _gradients(tiny_model, lens, sites, ROWS, CLIP)
    monkeypatch.setattr(translators.passes, "__defaults__", (5,))
    other, others = _gradients(tiny_model, lens, sites, ROWS, CLIP)
    torch.testing.assert_close(losses, others, atol=1e-5, rtol=1e-5)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_rate_that_diverges_is_told(tiny_model, meta, tmp_path):
    with pytest.raises(UnavailableError, match=r"resid_pre.0 leads out of all numbers. Try a lower rate"):
        fit(tiny_model, ROWS, meta, Settings(50, 4, 1e38, 0), tmp_path / "a.safetensors")
