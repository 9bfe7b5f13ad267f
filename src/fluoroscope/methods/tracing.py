"""Causal tracing: runs with noise on some tokens, into which values of the run without it are put back.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT". Each draw of noise is a base run of its own, and
everything that is restored is a copy of it, all of them in one sweep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import at, noise
from fluoroscope.metrics import Metric
from fluoroscope.progress import telling
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch
from fluoroscope.sites import Site
from fluoroscope.variants import Edits, Variant

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.result import Recipe


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on token embeddings: standard deviation, seed of the first draw, and how many draws."""

    std: float
    seed: int
    samples: int


@dataclass(frozen=True, eq=False)
class Traced:
    """What restoring brings back.

    Args:
        effects: the metric with a block's value restored at a token, less that of the noisy run; NaN where a run that
            was called off had not come to it.
        clean: the metric without noise; `corrupted` with each draw of it.
        whole: see `Replay.why_whole`.
    """

    effects: Float[Tensor, "block token draw"]
    clean: float
    corrupted: Float[Tensor, "draw"]
    recipe: "Recipe"
    whole: str | None

    @property
    def errors(self) -> Float[Tensor, "block token"]:
        """Standard errors of the means over draws; 0 for a single draw."""
        count = self.effects.shape[-1]
        return self.effects.std(-1) / sqrt(count) if count > 1 else torch.zeros(self.effects.shape[:2])


def traced(
    model: "Model",
    ids: Sequence[int],
    subject: slice,
    sites: Sequence[Site],
    window: int,
    noisy: Noise,
    metric: Metric,
    budget: int,
) -> Traced:
    """The effect of restoring each of `sites` at each token.

    Args:
        subject: the token indices that get noise.
        sites: one of each block; `window` of them around each are restored together.
        metric: of one prompt.
        budget: bytes that the sweep may hold beside the base runs.

    Raises:
        ArgumentError: beyond the budget, before anything is restored, or so much noise that nothing is finite.
        Cancelled: with what there is, if that is anything.
    """
    drawn: list[Edits] = [{"embed": at(noise(noisy.std, noisy.seed + draw), subject)} for draw in range(noisy.samples)]
    replay = Replay(model, [list(ids)] * (noisy.samples + 1), sites, edits=[*drawn, {}], budget=budget)
    variants = [
        Variant(prompt=draw, patches=_restored(replay, sites, index, window, place))
        for index in range(len(sites))
        for place in range(len(ids))
        for draw in range(noisy.samples)
    ]
    scores = torch.full((len(variants),), torch.nan, dtype=torch.float64)
    ends = metric.at([0] * (noisy.samples + 1))(replay.base_logits()[:, 0]).to(scores)

    if not bool(ends.isfinite().all()):
        raise ArgumentError(
            f"with noise of standard deviation {noisy.std:.3g} the model gives no finite scores",
            "Take a smaller strength; 3 is usual.",
        )

    def found() -> Traced:
        effects = scores.view(len(sites), len(ids), noisy.samples) - ends[:-1]
        return Traced(effects, float(ends[-1]), ends[:-1], replay.trace.recipe, replay.why_whole)

    def so_far(_: object) -> Traced | None:
        now = found()
        return None if bool(now.effects.mean(-1).isnan().all()) else now

    with telling(so_far):
        for indices, logits in replay.logits(variants):
            scores[indices] = metric.at([0] * len(indices))(logits[:, 0]).to(scores)
    return found()


def _restored(replay: Replay, sites: Sequence[Site], index: int, window: int, place: int) -> list[Patch]:
    """The clean run's values of a window of blocks at one token."""
    first = max(0, index - (window - 1) // 2)
    chosen = sites[first : index + window // 2 + 1]
    return [Patch(site, (place,), replay.trace[site][-1, place : place + 1]) for site in chosen]
