"""A direction of the residual stream between two sets of texts, for steering.

After Turner et al. 2023, "Activation Addition". Of each text the last token's state counts, or the mean over its tokens
but the first, where an attention sink often stands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Reading = Literal["last", "mean"]


@dataclass(frozen=True, eq=False)
class Direction:
    """Mean state of the positive texts minus that of the negative ones.

    Args:
        stream: mean norm of the states that it was made of.
    """

    vector: Float[Tensor, "d_model"]
    stream: float

    @property
    def ratio(self) -> float:
        """Its norm over the norm of the stream: what a coefficient of 1 adds, as a share of what is there."""
        return float(self.vector.double().norm()) / self.stream


def direction(
    model: "Model", positive: Sequence[str], negative: Sequence[str], site: Site, reading: Reading = "last"
) -> Direction:
    """The direction from the negative texts to the positive ones at a site.

    Raises:
        ArgumentError: a set without texts, a site that is no vector of the stream, or sets that do not differ.
    """
    if site.kind.axes != ("batch", "pos", "d_model"):
        raise ArgumentError(f"{site} is no vector per token", "Name a layer, or what is added to the stream.")
    if not positive or not negative or isinstance(positive, str) or isinstance(negative, str):
        raise ArgumentError("a direction needs texts on both sides", "Give two lists of texts.")
    sides = [torch.stack([_state(model, text, site, reading) for text in texts]) for texts in (positive, negative)]
    difference = sides[0].mean(0) - sides[1].mean(0)
    if not bool(difference.any()):
        raise ArgumentError("both sides have the same mean state, so there is no direction", "Give texts that differ.")
    return Direction(difference.to(model.dtype), float(torch.cat(sides).norm(dim=-1).mean()))


def length(model: "Model", prompt: str, site: Site) -> float:
    """Mean norm of what a prompt has at a site, its first token, where a sink often stands, left out."""
    states = model.trace(prompt, sites=[site], logits=False)[site][0].double()
    return float(states[min(1, len(states) - 1) :].flatten(1).norm(dim=-1).mean())


def _state(model: "Model", text: str, site: Site, reading: Reading) -> Float[Tensor, "d_model"]:
    states = model.trace(text, sites=[site], logits=False)[site][0].double()
    return states[-1] if reading == "last" else states[min(1, len(states) - 1) :].mean(0)
