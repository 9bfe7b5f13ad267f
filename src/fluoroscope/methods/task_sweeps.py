"""Parts patched in many pairs of prompts at once, and the same with values that belong to other pairs.

Values of another pair disturb: they take the old answer away without bringing the new one, which alone goes about half
of the way. What its one prompt's values do more than its other prompt's is free of that, and as neither knows the
answer, it is the noise that effects have to stand out of.
"""

import random
from collections.abc import Collection, Sequence
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
"""The share of all parts whose noise lies below the level."""


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
        foreign: the scores with the values of the donor's other prompt, and with those of its prompt of the kind that
            is patched; NaN for pairs without a donor, None where it was not asked.
    """

    effects: Effects
    foreign: tuple[Float[Tensor, "part pair"], Float[Tensor, "part pair"]] | None

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

    def foreign_shares(self) -> tuple[Float[Tensor, "part"], Float[Tensor, "part"]] | None:
        """The same share with a donor's values, and what its one prompt's do more than its other prompt's.

        Both are over the pairs that have a donor; None where none has.
        """
        if self.foreign is None:
            return None
        other, same = self.foreign
        pairs = ~other.isnan().all(0)
        if not bool(pairs.any()) or not float(self.way[pairs].sum()):
            return None
        share, noise = (
            confidence.ratio((other - less)[:, pairs].mT, self.way[pairs])[0] for less in (self.start, same)
        )
        return share, noise


def donors(rows: Sequence[Sequence[int]], about: Sequence[Collection[int]], seed: int) -> list[int | None]:
    """For each row another of as many tokens that asks for something else, each taken once where that goes.

    Rows of one length are put in a circle, in an order that follows from the seed; each takes from the next that will
    do. None where none does.

    Args:
        about: the tokens that each row's metric is about; of a donor none of them, else its values know the answer.
    """
    circles: dict[int, list[int]] = {}
    for index in random.Random(seed).sample(range(len(rows)), len(rows)):  # noqa: S311 — permuting needs no secret
        circles.setdefault(len(rows[index]), []).append(index)
    found: list[int | None] = [None] * len(rows)
    for circle in circles.values():
        for place, index in enumerate(circle):
            others = (*circle[place + 1 :], *circle[:place])
            found[index] = next((other for other in others if not set(about[other]) & set(about[index])), None)
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

    def patched(site: Site, place: Place, pair: int, donor: int | None, *, same: bool = False) -> Variant:
        return sweep.patched(Part((site,), place.positions[pair]), pair, donor=donor, same=same)

    having = [pair for pair, donor in enumerate(donors or ()) if donor is not None]
    variants = [patched(*part, pair, None) for part in parts for pair in range(count)]
    for same in (False, True) if donors is not None and having else ():
        # pairs without a donor are left as they are, which costs nothing, and not looked at
        variants += [
            Variant(prompt=sweep.base(pair)) if donor is None else patched(*part, pair, donor, same=same)
            for part in parts
            for pair, donor in enumerate(donors or ())
        ]

    def apart(found: Effects) -> Swept:
        own, *foreign = found.scores.split(len(parts))
        effects = Effects(own, found.clean, found.corrupted, found.direction)
        if donors is None:
            return Swept(effects, None)
        lacking = torch.tensor([pair not in having for pair in range(count)])
        other, same = (scores.masked_fill(lacking, torch.nan) for scores in foreign or (own, own))
        return Swept(effects, (other, same))

    return told(lambda: sweep.measured(variants, metric), apart)


def _check_way(sweep: Sweep, metric: Metric) -> None:
    clean, corrupted = (metric(side).double() for side in sweep.logits())
    size = max(1.0, float(clean.abs().max()), float(corrupted.abs().max()))
    if abs(float((clean - corrupted).mean())) <= 8 * torch.finfo(torch.float32).eps * size:
        raise ArgumentError(
            f"clean and corrupted prompts score the same in the mean: {float(clean.mean()):.6g} in {metric.name}",
            "Nothing can be recovered: take another metric, variant or task.",
        )


def level(noise: Float[Tensor, "part"]) -> float:
    """What the given share of the parts stays below, in size, where nothing but noise is."""
    sizes = noise[~noise.isnan()].abs()
    return float(sizes.quantile(QUANTILE)) if len(sizes) else 0.0
