"""The likeliest tokens of many residual streams, exactly, without their logits over the whole vocabulary.

Where the processor multiplies bfloat16 much faster than float32, candidates are found in bfloat16 and their logits
computed in float32. A candidate list is certified: rounding both factors and the product moves a logit by at most
3 · 2⁻⁹ · ‖h‖ · ‖w‖ (Cauchy-Schwarz), so each token gets an upper bound, and no token outside of the list can reach the
last one kept. Rows without such a proof are computed in full.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from fluoroscope.modules import required
from fluoroscope.run import outside

if TYPE_CHECKING:
    from fluoroscope.model import Model

CANDIDATES = 32
_BOUND = 3.1 * 2**-9
_SMALL = 8192
_ALIGNED = 32
_ROUNDED: "WeakKeyDictionary[nn.Module, tuple[tuple[int, int], Tensor]]" = WeakKeyDictionary()


class Top(NamedTuple):
    """Ids and logits, the model's own after any scale and softcap, largest first."""

    ids: Int[Tensor, "row k"]
    logits: Float[Tensor, "row k"]


@torch.no_grad()
def top_tokens(model: "Model", streams: Float[Tensor, "row d_model"], k: int) -> Top:
    """The k tokens of largest logit for each stream, read by the final norm and the unembedding."""
    head = required(model.hf, model.architecture.lm_head, "unembedding")
    fast = _fast() and _plain(head) and streams.dtype == torch.float32 and streams.device.type == "cpu"
    if not fast or model.d_vocab < _SMALL or 2 * k > CANDIDATES or model.architecture.logit_multiplier <= 0:
        return _whole(model, streams, k)
    norm = model.architecture.final_norm
    with outside():
        normed = streams if norm is None else required(model.hf, norm, "final norm")(streams)
    ids, logits, proved = _certified(normed, head, k)
    logits = logits * model.architecture.logit_multiplier
    if (cap := model.architecture.softcap) is not None:
        logits = cap * torch.tanh(logits / cap)
    open_rows = (~proved).nonzero()[:, 0]
    if len(open_rows):
        ids[open_rows], logits[open_rows] = _whole(model, streams[open_rows], k)
    return Top(ids, logits)


def _certified(normed: Tensor, head: nn.Module, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest among the candidates, and which rows are proved to hold the k largest of all."""
    table = _rounded(head)
    rows = torch.zeros(len(normed), table.shape[1], dtype=torch.bfloat16)
    size = normed.shape[1]
    rows[:, :size] = normed
    rows[:, size] = normed.norm(dim=-1) * _BOUND
    upper, candidates = (rows @ table.T).topk(CANDIDATES + 1, dim=-1)
    weight: Tensor = head.weight  # pyright: ignore[reportAssignmentType]
    exact = torch.einsum("rd,rcd->rc", normed, weight[candidates[:, :-1]])
    logits, places = exact.topk(k, dim=-1)
    return candidates.gather(-1, places), logits, logits[:, -1] >= upper[:, -1].float()


def _rounded(head: nn.Module) -> Float[Tensor, "d_vocab width"]:
    """The unembedding in bfloat16 with the norms of its rows in one more column; kept until the weight changes."""
    weight: Tensor = head.weight  # pyright: ignore[reportAssignmentType]
    state = (weight.data_ptr(), weight._version)
    known = _ROUNDED.get(head)
    if known is None or known[0] != state:
        table = torch.zeros(len(weight), weight.shape[1] + _ALIGNED, dtype=torch.bfloat16)
        table[:, : weight.shape[1]] = weight
        table[:, weight.shape[1]] = weight.norm(dim=-1) * 1.02  # more than rounding to bfloat16 can take away
        known = _ROUNDED[head] = (state, table)
    return known[1]


def _whole(model: "Model", streams: Tensor, k: int) -> Top:
    found = model.unembed(streams).topk(k, dim=-1)
    return Top(found.indices, found.values)


def _plain(head: nn.Module) -> bool:
    """Whether the unembedding is one float32 matrix without a bias."""
    return type(head) is nn.Linear and getattr(head, "bias", None) is None and head.weight.dtype == torch.float32


@cache
def _fast() -> bool:
    """Whether this processor has matrix instructions for bfloat16."""
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
