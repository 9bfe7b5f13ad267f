"""Linear maps of float32 by oneDNN on AMD's processors, of whose vectors it uses the full width.

PyTorch has them made by MKL, which leaves half of it unused there, and is the faster one on Intel's. The same products
are summed in another order: both sums are off by a few units of float32's last digit.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_LINEAR, _ADDMM = nn.functional.linear, torch.addmm  # looked up once: every call of torch comes by

NARROWEST = 512
"""Streams of fewer channels win nothing: there the calls cost what the products save."""

STEPS, FEW, MOST = (4, 16), 128, 512
"""Rows come in multiples of the first step, beyond a few of the second, and at most so many at once: oneDNN keeps more
than half a megabyte for every number of rows that it has met."""


def widest(device: torch.device, d_model: int) -> AbstractContextManager[Any]:
    """`OneDNN` where MKL leaves vectors half empty; `torch.backends.mkldnn.enabled = False` turns it off."""
    wide = device.type == "cpu" and half_used() and d_model >= NARROWEST
    offered = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    return OneDNN() if wide and offered else nullcontext()


@cache
def half_used() -> bool:
    """Whether this processor has AVX-512 and is not the maker's of MKL; no where the system does not tell."""
    told = Path("/proc/cpuinfo")
    amd = told.is_file() and "AuthenticAMD" in told.read_text(encoding="utf8")
    return amd and torch.backends.cpu.get_cpu_capability() == "AVX512"


class OneDNN(TorchFunctionMode):
    """Has what `nn.Linear` and `Conv1D` ask torch for made by oneDNN, where no gradient is wanted."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if (func is _LINEAR or func is _ADDMM) and not kwargs and len(args) < 4:
            parts = args if func is _LINEAR else (args[1], args[2].mT, args[0])
            if _taken(*parts):
                return linear(*parts)
        return func(*args, **kwargs) if kwargs else func(*args)


def linear(
    x: Float[Tensor, "*row in"], weight: Float[Tensor, "out in"], bias: Float[Tensor, "out"] | None = None
) -> Float[Tensor, "*row out"]:
    """The map by oneDNN, whatever the processor; zeros fill up the last step."""

    def made(rows: Float[Tensor, "row in"]) -> Float[Tensor, "row out"]:
        missing = -len(rows) % STEPS[len(rows) > FEW]
        filled = nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
        return torch.ops.mkldnn._linear_pointwise(filled, weight, bias, "none", [], "")[: len(rows)]

    parts = [made(rows) for rows in x.reshape(-1, x.shape[-1]).split(MOST)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).view(*x.shape[:-1], -1)


def _taken(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Whether oneDNN makes of these what torch would: it knows no gradient, and says of no shape what is wrong."""
    if torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    fits = weight.dim() == 2 and x.shape[-1:] == weight.shape[1:] and (bias is None or bias.shape == weight.shape[:1])
    rows = x.numel() // max(x.shape[-1], 1) if fits else 0
    return rows >= STEPS[0] and all(map(_plain, (x, weight) if bias is None else (x, weight, bias)))


def _plain(value: Tensor) -> bool:
    ours = type(value) in (Tensor, nn.Parameter) and value.layout == torch.strided
    return ours and value.dtype == torch.float32 and value.is_cpu
