"""Linear maps by oneDNN: what torch gives, in each of their forms, and nothing taken that it would get wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from architectures.common import ids, model, relative
from fluoroscope import products
from fluoroscope.interventions import at, scale
from fluoroscope.model import Model
from fluoroscope.products import OneDNN, half_used, widest
from fluoroscope.replay import Replay
from fluoroscope.sites import Site
from fluoroscope.variants import Variant

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each map has had that was taken."""
    rows: list[int] = []

    def counted(x: Tensor, *others: Any, by: Callable[..., Tensor] = products.linear) -> Tensor:
        rows.append(x.numel() // x.shape[-1])
        return by(x, *others)

    monkeypatch.setattr(products, "linear", counted)
    return rows


# ── what is taken ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", [(4,), (5,), (127,), (129,), (512,), (513,), (1025,), (3, 7), (2, 3, 5)])
@pytest.mark.parametrize("kind", ["bias", "no bias", "Conv1D"])
@torch.no_grad()
def test_a_map_is_that_of_doubles(shape: tuple[int, ...], kind: str, taken: list[int]) -> None:
    module = Conv1D(24, 40) if kind == "Conv1D" else nn.Linear(40, 24, bias=kind == "bias")
    if kind == "Conv1D":
        nn.init.normal_(module.bias)
    x = drawn(*shape, 40)
    with OneDNN():
        mine = module(x)
    assert len(taken) == 1
    assert mine.shape == (*shape, 24)
    assert relative(mine.double(), module.double()(x.double())) < 1e-6


@torch.no_grad()
def test_strides_do_not_matter() -> None:
    x, weight = drawn(9, 6, 40), drawn(24, 40)
    for given in (x.transpose(0, 1), x[:, ::2], x[:, :1].expand(-1, 6, -1), drawn(9, 80)[:, ::2]):
        with OneDNN():
            mine = functional.linear(given, weight)
            other = functional.linear(given, drawn(40, 24).mT)
        assert relative(mine, given @ weight.mT) < 1e-6
        assert relative(other, given @ drawn(40, 24)) < 1e-6


# ── what is not ──────────────────────────────────────────────────────────────────────────────────────


class Other(nn.Parameter):
    """A weight of another class, as quantized ones are."""


@pytest.mark.parametrize(
    ("x", "weight", "bias"),
    [
        (drawn(9, 40, dtype=torch.float64), drawn(24, 40, dtype=torch.float64), None),
        (drawn(9, 40).bfloat16(), drawn(24, 40).bfloat16(), None),
        (drawn(9, 40), Other(drawn(24, 40)), None),
        (drawn(40), drawn(24, 40), None),
        (drawn(0, 40), drawn(24, 40), None),
        (drawn(9, 40), drawn(40), None),
        (drawn(9, 40), drawn(24, 40), drawn(1)),
    ],
)
@torch.no_grad()
def test_other_maps_keep_their_bits(x: Tensor, weight: Tensor, bias: Tensor | None, taken: list[int]) -> None:
    expected = functional.linear(x, weight, bias)
    with OneDNN():
        assert torch.equal(functional.linear(x, weight, bias), expected)
    assert not taken


def test_gradients_and_other_precisions_are_torchs(taken: list[int]) -> None:
    x, weight = drawn(9, 40), nn.Parameter(drawn(24, 40))
    with OneDNN():
        functional.linear(x, weight).sum().backward()
        assert weight.grad is not None
        assert relative(weight.grad, x.sum(0).expand(24, -1)) < 1e-6
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert functional.linear(x, weight).dtype == torch.bfloat16
        with torch.no_grad():
            assert torch.equal(torch.addmm(drawn(24), x, weight.mT, beta=0), x @ weight.mT)
    assert not taken


@torch.no_grad()
def test_what_does_not_fit_is_torchs_own_error() -> None:
    with OneDNN(), pytest.raises(RuntimeError, match="cannot be multiplied"):
        functional.linear(drawn(9, 40), drawn(24, 41))


# ── when ─────────────────────────────────────────────────────────────────────────────────────────────


def test_only_where_there_are_vectors_to_fill_and_nobody_turned_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluoroscope.products.half_used", lambda: True)
    assert isinstance(widest(CPU, 768), OneDNN)
    assert not isinstance(widest(CPU, 256), OneDNN)
    assert not isinstance(widest(torch.device("cuda"), 768), OneDNN)
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not isinstance(widest(CPU, 768), OneDNN)
    monkeypatch.undo()
    monkeypatch.setattr("fluoroscope.products.half_used", lambda: False)
    assert not isinstance(widest(CPU, 768), OneDNN)


def swept(found: Model) -> Tensor:
    """Logits, and the stream entering the last block, with the heads of each block doubled at one token."""
    variants = [Variant({f"z.{layer}": at(scale(2), 3)}) for layer in range(found.n_layers)]
    replay, site = Replay(found, ids(1)), Site("resid_pre", found.n_layers - 1)
    streams = [values[site].flatten(1) for _, values in replay.values(variants, [site])]
    return torch.cat([torch.cat([logits[:, 0] for _, logits in replay.logits(variants)]), torch.cat(streams)], dim=1)


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "gpt_neox", "gpt_oss", "deepseek_v3", "mixtral", "bloom"])
def test_sweeps_are_made_so_and_are_the_same(case: str, taken: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = model(case)
    monkeypatch.setattr(products, "NARROWEST", 1)
    monkeypatch.setattr("fluoroscope.products.half_used", lambda: False)
    plain = swept(found)
    assert not taken
    monkeypatch.setattr("fluoroscope.products.half_used", lambda: True)
    assert relative(swept(found), plain) < 1e-5
    assert taken
    taken.clear()
    found.trace(ids(1))
    assert not taken  # what is Hugging Face's own keeps its bits


@pytest.mark.parametrize(
    ("maker", "capability", "expected"),
    [("AuthenticAMD", "AVX512", True), ("GenuineIntel", "AVX512", False), ("AuthenticAMD", "AVX2", False)],
)
def test_only_where_mkl_leaves_vectors_half_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, maker: str, capability: str, expected: bool
) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(f"processor : 0\nvendor_id : {maker}\n")
    monkeypatch.setattr("fluoroscope.products.Path", lambda _name: told)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    half_used.cache_clear()
    try:
        assert half_used() is expected
    finally:
        half_used.cache_clear()
