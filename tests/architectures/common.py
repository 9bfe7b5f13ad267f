"""Models of the zoo, loaded once per process, and the prompts that the suites run them on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from unittest.mock import patch

import torch
from torch import Tensor

from architectures.zoo import build
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.sites import SITES
from fluoroscope.tokens import Tokens

LENGTHS = {1: [13], 3: [13, 5, 9]}
"""Longest first: 13 tokens are more than three windows of 4."""


@cache
def model(case: str, attn: str | None = None, dtype: torch.dtype = torch.float32) -> Model:
    hf = build(case, attn=attn, dtype=dtype)
    if dtype == torch.float64:
        hf.set_experts_implementation("eager")  # grouped matrix products have no float64
    return load(hf)


@cache
def plain(case: str, attn: str | None = None) -> torch.nn.Module:
    """The same weights without us."""
    return build(case, attn=attn)


def ids(batch: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 97, (length,), generator=generator).tolist() for length in LENGTHS[batch]]


def relative(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def real(value: Tensor, tokens: Tokens) -> Tensor:
    """Rows of real positions of a [batch, pos, …] value."""
    return value[tokens.mask]


def writable(found: Model) -> list[str]:
    return [str(site) for site in found.sites() if SITES[site.name].writable]


@contextmanager
def true_float64() -> Iterator[None]:
    """Keeps float64 where Hugging Face casts to float32 in between (norms, softmax, routers), so that identities
    can be read to 1e-9: what is tested is our arithmetic, not their rounding."""
    to, float_, type_, softmax = Tensor.to, Tensor.float, Tensor.type, torch.nn.functional.softmax

    def is_narrowing(tensor: Tensor, *args: object, **kwargs: object) -> bool:
        return tensor.dtype == torch.float64 and torch.float32 in (*args, *kwargs.values())

    def patched(original: Callable[..., object]) -> Callable[..., object]:
        def cast(self: Tensor, *args: object, **kwargs: object) -> object:
            return self if is_narrowing(self, *args, **kwargs) else original(self, *args, **kwargs)

        return cast

    def wide_softmax(value: Tensor, dim: int = -1, dtype: torch.dtype | None = None, **_: object) -> Tensor:
        return softmax(value, dim=dim, dtype=None if value.dtype == torch.float64 else dtype)

    with (
        patch.object(Tensor, "to", patched(to)),
        patch.object(Tensor, "type", patched(type_)),
        patch.object(Tensor, "float", lambda self: self if self.dtype == torch.float64 else float_(self)),
        patch.object(torch.nn.functional, "softmax", wide_softmax),
    ):
        yield
