"""Every writable site of every family: writing back what was read changes nothing, noise changes the logits."""

from itertools import groupby

import pytest
import torch
from torch import Tensor

from architectures.common import ids, model, true_float64, writable
from architectures.zoo import CASES
from fluoroscope.interventions import noise
from fluoroscope.sites import WITH_KV_HEADS

EXPLICIT = ("scores", "pattern")


def same(value: Tensor) -> Tensor:
    return value.clone()


@pytest.mark.parametrize("case", CASES)
def test_write_back_is_an_exact_no_op(case: str) -> None:
    found = model(case)
    sites = [*writable(found), *_units(case)]
    plain = found.trace(ids(3), sites=[site for site in sites if not str(site).startswith(EXPLICIT)])
    for name, of_kind in groupby(sites, key=lambda site: site.partition(".")[0]):
        alike = list(of_kind)  # all layers at once: what one of them changed, the logits would show
        untouched = found.trace(ids(3), sites=alike) if name in EXPLICIT else plain
        written = found.trace(ids(3), sites=alike, edits=dict.fromkeys(alike, same))
        assert torch.equal(written.logits, untouched.logits), name
        for site in alike:
            assert torch.equal(written[site], untouched[site]), site


@pytest.mark.parametrize("case", CASES)
def test_noise_changes_the_logits_and_only_from_there_on(case: str) -> None:
    found = model(case)
    before = found.trace(ids(1), sites=["resid_pre.*"])
    for site in [*_ends(writable(found)), *_units(case)]:
        after = found.trace(ids(1), sites=["resid_pre.*"], edits={site: noise(0.5, seed=1)})
        assert not torch.equal(after.logits, before.logits), site
        layer = found.site(site).layer
        for earlier in range(layer or 0):
            assert torch.allclose(after[f"resid_pre.{earlier}"], before[f"resid_pre.{earlier}"]), site


@pytest.mark.parametrize("case", CASES)
def test_gradient_at_every_site_is_the_finite_difference(case: str) -> None:
    with true_float64():
        found = model(case, None, torch.float64)
        for site in writable(found):
            if site.partition(".")[2] not in ("", "1") or site.startswith("resid_mid"):
                continue  # resid_mid is derived: its gradient is that of attn_out
            _check_gradient(found, site)


def _check_gradient(found: object, site: str) -> None:
    from fluoroscope.model import Model

    assert isinstance(found, Model)
    prompt = ids(1)[0][:5]
    trace = found.trace(prompt, sites=[site], grad=True)
    direction = torch.randn(trace.logits.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    value = trace[site]
    if site == "logits":
        return
    (gradient,) = torch.autograd.grad((trace.logits * direction).sum(), [value])
    step = torch.randn(value.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    if site.startswith("scores"):
        step = step * (value > -1e30)
    size = 1e-6

    def at(sign: float) -> float:
        edited = found.trace(prompt, sites=[site], edits={site: lambda x: x + sign * size * step})
        return float((edited.logits * direction).sum())

    expected = (at(1) - at(-1)) / (2 * size)
    assert float((gradient * step).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-4), site


def _ends(sites: list[str]) -> list[str]:
    """Of each kind the first and the last."""
    kinds = [[*alike] for _, alike in groupby(sites, key=lambda site: site.partition(".")[0])]
    return [site for alike in kinds for site in dict.fromkeys((alike[0], alike[-1]))]


def _units(case: str) -> list[str]:
    found = model(case)
    kinds = [site for site in found.sites() if site.kind.unit and site.kind.writable and site.layer == 1]
    last = dict.fromkeys(WITH_KV_HEADS, found.n_kv_heads - 1)
    return [f"{site}.{last.get(site.name, 2)}" for site in kinds]
