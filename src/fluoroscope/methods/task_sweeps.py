"""Parts patched in many pairs of prompts at once, and the same with values that belong to other pairs.

What a part does with values of a pair that has nothing to do with the prompt is the noise that its effect has to stand
out of: it disturbs as much and knows as little of the answer (a control by permuted donors, as permutation tests are).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import confidence
from fluoroscope.methods.sweeps import Effects, Part, Sweep, told
from fluoroscope.metrics import Metric
from fluoroscope.sites import Site
from fluoroscope.variants import Variant

QUANTILE = 0.95
"""The share of all parts whose effect with foreign values lies below the level."""


@dataclass(frozen=True)
class Place:
    """Where parts are patched.

    Args:
        label: for people.
        positions: of each pair the token indices; None for all.
    """

    label: str
    positions: tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True)
class Swept:
    """What patching did in every pair.

    Args:
        effects: with the values of the pair's own other prompt.
        foreign: the scores with the values of its donor's; NaN where a pair has none, None where it was not asked.
    """

    effects: Effects
    foreign: Float[Tensor, "part pair"] | None

    @property
    def start(self) -> Float[Tensor, "pair"]:
        """The scores of the prompts that are patched."""
        return self.effects.corrupted if self.effects.direction == "denoise" else self.effects.clean

    @property
    def way(self) -> Float[Tensor, "pair"]:
        """How far it is from there to the other prompt's score, with its sign."""
        ends = self.effects.clean - self.effects.corrupted
        return ends if self.effects.direction == "denoise" else -ends

    def shares(self) -> tuple[Float[Tensor, "part"], Float[Tensor, "part"], Float[Tensor, "part"]]:
        """The mean change as a share of the mean way, and the ends of its interval over pairs."""
        return confidence.ratio((self.effects.scores - self.start).mT, self.way)

    def foreign_shares(self) -> Float[Tensor, "part"] | None:
        """The same share with foreign values, over the pairs that have a donor; None where none has."""
        if self.foreign is None:
            return None
        pairs = ~self.foreign.isnan().all(0)
        if not bool(pairs.any()) or not float(self.way[pairs].sum()):
            return None
        return confidence.ratio((self.foreign - self.start)[:, pairs].mT, self.way[pairs])[0]


def donors(rows: Sequence[Sequence[int]], seed: int) -> list[int | None]:
    """For each row another of as many tokens, but not the same ones, each taken once where that goes.

    Rows of one length are put in a circle, in an order that follows from the seed; each takes from the next that is
    another. None where no row of that length is.
    """
    circles: dict[int, list[int]] = {}
    for index in random.Random(seed).sample(range(len(rows)), len(rows)):  # noqa: S311 — permuting needs no secret
        circles.setdefault(len(rows[index]), []).append(index)
    found: list[int | None] = [None] * len(rows)
    for circle in circles.values():
        for place, index in enumerate(circle):
            others = (*circle[place + 1 :], *circle[:place])
            found[index] = next((other for other in others if list(rows[other]) != list(rows[index])), None)
    return found


def swept(
    sweep: Sweep,
    sites: Sequence[Site],
    places: Sequence[Place],
    metric: Metric,
    donors: Sequence[int | None] | None = None,
) -> Swept:
    """The metric with every site patched at every place, in every pair; the places of a site lie side by side.

    Raises:
        ArgumentError: clean and corrupted prompts that score the same in the mean, which leaves no way to go.
        Cancelled, ArgumentError, UnavailableError, TokenError, EditError: as `Sweep.effects`.
    """
    _check_way(sweep, metric)
    count = len(sweep.changed)
    parts = [(site, place) for site in sites for place in places]

    def patched(site: Site, place: Place, pair: int, donor: int | None) -> Variant:
        return sweep.patched(Part((site,), place.positions[pair]), pair, donor=donor)

    variants = [patched(*part, pair, None) for part in parts for pair in range(count)]
    others = [(pair, donor) for pair, donor in enumerate(donors or ()) if donor is not None]
    # one sweep of both: pairs without a donor are patched with their own values, and not looked at
    taken = {pair: pair for pair in range(count)} | dict(others)
    variants += [patched(*part, pair, taken[pair]) for part in parts for pair in range(count)] if others else []
    own = len(parts)

    def apart(found: Effects) -> Swept:
        foreign = torch.full((own, count), torch.nan, dtype=torch.float64)
        for pair, _ in others:
            foreign[:, pair] = found.scores[own:, pair]
        effects = Effects(found.scores[:own], found.clean, found.corrupted, found.direction)
        return Swept(effects, None if donors is None else foreign)

    return told(lambda: sweep.measured(variants, metric), apart)


def _check_way(sweep: Sweep, metric: Metric) -> None:
    clean, corrupted = (metric(side).double() for side in sweep.logits())
    size = max(1.0, float(clean.abs().max()), float(corrupted.abs().max()))
    if abs(float((clean - corrupted).mean())) <= 8 * torch.finfo(torch.float32).eps * size:
        raise ArgumentError(
            f"clean and corrupted prompts score the same in the mean: {float(clean.mean()):.6g} in {metric.name}",
            "Nothing can be recovered: take another metric, variant or task.",
        )


def level(foreign: Float[Tensor, "part"]) -> float:
    """What the given share of the parts stays below, in size, with foreign values."""
    sizes = foreign[~foreign.isnan()].abs()
    return float(sizes.quantile(QUANTILE)) if len(sizes) else 0.0
