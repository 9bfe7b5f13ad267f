"""Which tokens each component of a run raises and lowers: its own addend of every logit.

The addends are those of `decomposition`, for all tokens instead of one: a component's vector through the final norm,
frozen as it was, and the unembedding (the logit lens of one component; Elhage et al. 2021, "A Mathematical Framework
for Transformer Circuits"; Dar et al. 2023, "Analyzing Transformers in Embedding Space"). Tokens are taken some at a
time, so components x vocabulary never exists as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope.methods import decomposition
from fluoroscope.methods.running import Moments
from fluoroscope.progress import track
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

_NUMBERS_AT_ONCE = 2**23

Push = tuple[int, float]
"""A token and what is added to its logit."""


@dataclass(frozen=True)
class Voice:
    """What one component adds to the logits.

    Args:
        name: canonical site, or the name of a bias, as in `decomposition.Part`.
        layer: as there.
        mean: over all tokens, in logits; it changes no probability.
        spread: standard deviation over all tokens, in logits.
        promotes: the tokens that get most, most first; all of them more than the mean.
        demotes: the tokens that get least, least first; all of them less than the mean.
        asked: what it adds to the tokens that were asked for, in their order.
    """

    name: str
    site: Site | None
    layer: int
    mean: float
    spread: float
    promotes: list[Push]
    demotes: list[Push]
    asked: list[float]


@torch.no_grad()
def voices(
    model: "Model", trace: Trace, slot: int, grain: Literal["layer", "head"], top_k: int, asked: Sequence[int] = ()
) -> list[Voice]:
    """Every component at one position, in the order of computation; before any softcap, in float64.

    Over all components the addends of a token sum to its logit.

    Args:
        trace: keeps `decomposition.sites_needed`.
        top_k: how many tokens to keep on each side.
        asked: ids whose addends are wanted as well.

    Raises:
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    parts = [
        (name, site, layer, vector)
        for names, layer, vectors in decomposition.normed(model, trace, slot, grain)
        for (name, site, _), vector in zip(names, vectors, strict=True)
    ]
    streams = torch.stack([vector for *_, vector in parts])
    whose = [(name, site, layer) for name, site, layer, _ in parts]
    bias = model.weights.get("b_U")
    if bias is not None:
        whose.append(("b_U", None, model.n_layers))
    moments, highest, lowest, told = _survey(model, streams, bias, top_k, torch.tensor(asked, dtype=torch.long))
    found: list[Voice] = []
    for row, (name, site, layer) in enumerate(whose):
        mean = float(moments.mean[row])
        # What adds the same to all tokens promotes none.
        promotes = [push for push in highest[row] if push[1] > mean]
        demotes = [push for push in lowest[row] if push[1] < mean]
        found.append(Voice(name, site, layer, mean, float(moments.deviation[row]), promotes, demotes, told[row]))
    return found


def _survey(
    model: "Model", streams: Float[Tensor, "part d_model"], bias: Tensor | None, k: int, asked: Int[Tensor, "asked"]
) -> tuple[Moments, list[list[Push]], list[list[Push]], list[list[float]]]:
    """Moments over the vocabulary, the k highest and lowest tokens, and the tokens asked for, of every component."""
    unembedding, device = model.weights["W_U"], streams.device
    tokens, count = unembedding.shape[1], len(streams) + (bias is not None)
    moments = Moments(count, device)
    highest, lowest = _Extremes(count, k, device, 1), _Extremes(count, k, device, -1)
    found = torch.zeros(count, len(asked), dtype=torch.float64, device=device)
    step = max(1, _NUMBERS_AT_ONCE // max(streams.shape))
    for start in track(range(0, tokens, step), "component lens"):
        mine = slice(start, start + step)
        added = streams @ unembedding[:, mine].double() * model.architecture.logit_multiplier
        if bias is not None:
            added = torch.cat([added, bias[mine].double()[None] * model.architecture.logit_multiplier])
        moments.update(added.T)
        highest.update(added, start)
        lowest.update(added, start)
        here = ((asked >= start) & (asked < start + step)).nonzero()[:, 0]
        found[:, here] = added[:, asked[here] - start]
    return moments, highest.pushes(), lowest.pushes(), found.tolist()


class _Extremes:
    """The k largest values per row, or with sign -1 the smallest, of columns that come in chunks."""

    def __init__(self, rows: int, k: int, device: torch.device, sign: int) -> None:
        self.k, self.sign = k, sign
        self.values = torch.empty(rows, 0, dtype=torch.float64, device=device)
        self.ids = torch.empty(rows, 0, dtype=torch.long, device=device)

    def update(self, values: Float[Tensor, "row token"], start: int) -> None:
        ids = torch.arange(start, start + values.shape[1], device=values.device).expand_as(values)
        values, ids = torch.cat([self.values, values * self.sign], 1), torch.cat([self.ids, ids], 1)
        self.values, places = values.topk(min(self.k, values.shape[1]), dim=1)
        self.ids = ids.gather(1, places)

    def pushes(self) -> list[list[Push]]:
        pairs = zip(self.ids.tolist(), (self.values * self.sign).tolist(), strict=True)
        return [list(zip(ids, values, strict=True)) for ids, values in pairs]
