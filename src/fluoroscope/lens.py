"""What a lens shows: depths of the residual stream, or other values in it, read by the model's own output head.

The lenses differ only in what they do to a stream before the output head reads it: nothing (the logit lens), or an
affine map per depth that was fitted on a text. `lens_reading.py` does the reading.
"""

from collections.abc import Iterator
from typing import ClassVar

from fluoroscope.lens_records import STREAM, Depth, LensPosition, LensSource, OtherLens, settled
from fluoroscope.render.text import percent, prose, quoted
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.views import Column, Heatmap, Lines, Mark, Row, Series, Table, View

NAMES = {"logit": "logit lens", "tuned": "tuned lens", "jacobian": "Jacobian lens"}

_PARTS = (
    "A value that is not the stream is read as if it were all of it: the final norm gives it the stream's size. "
    "component-lens gives what each part adds."
)


class Lens(Result):
    """What a lens shows over depth and positions, shallowest depth first.

    Args:
        fitted: how the maps of this lens were made; None for the logit lens, which has none.
        chosen: whether the sites were named; else they are the embedding and the stream behind every block.
        others: beside a fitted lens the logit lens, and the other fitted one where the model brings it.
        left_out: why one of these is not there, though its file is.
    """

    CAUTION: ClassVar[str] = ""

    positions: tuple[LensPosition, ...]
    depths: tuple[Depth, ...]
    fitted: LensSource | None = None
    chosen: bool = False
    others: tuple[OtherLens, ...] = ()
    left_out: tuple[str, ...] = ()

    def summary(self) -> str:
        return self._highest() if self.chosen else self._fate()

    def _highest(self) -> str:
        """Which of the values that were named gives the target most."""
        place, cells = self.positions[-1], [depth.cells[-1] for depth in self.depths]
        best = max(range(len(cells)), key=lambda index: cells[index].target_probability)
        first = sum(cell.target_rank == 1 for cell in cells)
        return (
            f"Of {len(cells)} values read after {quoted(place.token)}, {self.depths[best].label} gives "
            f"{quoted(place.target)} most: {percent(cells[best].target_probability)}, rank {cells[best].target_rank}; "
            f"{first} of them {'has' if first == 1 else 'have'} it first."
        )

    def _fate(self) -> str:
        """What becomes of the target over depth."""
        place, end = self.positions[-1], self.depths[-1].cells[-1]
        ending = f"{percent(end.target_probability)} at the end"
        if place.settled is None:
            first = f"{quoted(place.target)} ends at rank {end.target_rank}, with {ending}"
        else:
            depth = self._depth(place.settled)
            verbs = ("is", "becomes") if len(place.target_ids) == 1 else ("holds", "holds")
            begin = depth.label if depth.label.startswith("block") else f"the {depth.label}"
            first = (
                f"{quoted(place.target)} ({ending}) {verbs[0]} the likeliest token after {quoted(place.token)} from "
                f"{begin} on, where it has {percent(depth.cells[-1].target_probability)}"
                if depth is not self.depths[-1]
                else f"{quoted(place.target)} ({ending}) {verbs[1]} the likeliest token after {quoted(place.token)} "
                f"only at the last depth, {depth.label}"
            )
        first += self._elsewhere()
        if len(self.positions) == 1:
            return f"{first}."
        early = sum(item.settled not in (None, self.depths[-1].site) for item in self.positions)
        on = f" on {quoted(place.target)}" if len({item.target_ids for item in self.positions}) == 1 else ""
        return f"{first}; {early} of {len(self.positions)} positions settle{on} before the last block."

    def _elsewhere(self) -> str:
        """From where on the other lenses have the target first, at the last position."""
        told: list[str] = []
        for other in self.others:
            site = settled([depth.site for depth in other.depths], [d.cells[-1].target_rank for d in other.depths])
            told.append(f"by the {NAMES[other.kind]} {f'from {self._depth(site).label} on' if site else 'never'}")
        return f" ({', '.join(told)})" if told else ""

    def views(self) -> list[View]:
        beside = [self._beside()] if self.others else []
        if len(self.positions) == 1:
            return [self._line(), *beside, self._guesses()]
        return [self._heatmap(), *beside, *([] if self.chosen else [self._settling()])]

    def _depth(self, site: str) -> Depth:
        return next(depth for depth in self.depths if depth.site == site)

    def _marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(label=depth.label, site=depth.site) for depth in self.depths)

    def _line(self) -> Lines:
        place = self.positions[0]
        sites = [depth.site for depth in self.depths]
        holds = "is" if len(place.target_ids) == 1 else "holds"
        marked = f"Marked: from here on it {holds} the likeliest token. " if place.settled else ""
        return Lines(
            title=f"{quoted(place.target)} {'at each value read' if self.chosen else 'over depth'}",
            caption=f"{'' if self.chosen else 'emb is the embedding, Ln the stream after block n. '}{marked}"
            f"{self._caution()}",
            unit="probability",
            maximum=1.0,
            x=tuple(Mark(label=depth.tick, site=depth.site) for depth in self.depths),
            series=tuple(self._series(place.target)),
            marked=None if place.settled is None else sites.index(place.settled),
        )

    def _series(self, target: str) -> Iterator[Series]:
        """The probability of the target by this lens, and by the others."""
        for name, depths in self._lenses():
            values = tuple(depth.cells[0].target_probability for depth in depths)
            yield Series(label=name if self.others else target, token=not self.others, values=values)

    def _name(self) -> str:
        return NAMES["logit" if self.fitted is None else self.fitted.kind]

    def _lenses(self) -> list[tuple[str, tuple[Depth, ...]]]:
        """This lens and the others, by name."""
        return [(self._name(), self.depths), *((NAMES[other.kind], other.depths) for other in self.others)]

    def _beside(self) -> Table:
        """This lens and the others, depth by depth: what they say and how far from the end it is."""
        if len(self.positions) == 1:
            names = [(name, "KL", "rank") for name, _ in self._lenses()]
            told = (
                "Of each lens the likeliest token, how far it is from the final prediction (KL, in nats), and the rank "
                f"of {quoted(self.positions[0].target)}."
            )
        else:
            names = [(f"{name}: KL", "agrees") for name, _ in self._lenses()]
            told = (
                "Of each lens how far it is from the final prediction (KL, in nats, mean over the positions), and at "
                "what share of the positions its likeliest token is the model's."
            )
        return Table(
            title=f"The {self._name()} beside others",
            caption=" ".join([told, *(f"Left out: {prose(why)}." for why in self.left_out)]),
            columns=(
                Column(name="after"),
                *(Column(name=name, token=name in NAMES.values()) for of_one in names for name in of_one),
            ),
            rows=tuple(
                Row(
                    cells=(depth.label, *(cell for _, depths in self._lenses() for cell in self._told(depths[index]))),
                    site=depth.site,
                )
                for index, depth in enumerate(self.depths)
            ),
        )

    def _told(self, depth: Depth) -> tuple[str | int | float | None, ...]:
        """Of one depth the likeliest token, KL and rank; of several positions the mean KL and the share that agrees."""
        if len(depth.cells) == 1:
            (cell,) = depth.cells
            return cell.top[0].piece, cell.kl, cell.target_rank
        distances = [cell.kl for cell in depth.cells if cell.kl is not None]
        ends = zip(depth.cells, self.depths[-1].cells, strict=True)
        same = sum(cell.top[0].id == end.top[0].id for cell, end in ends)
        mean = sum(distances) / len(distances) if len(distances) == len(depth.cells) else None
        return mean, percent(same / len(depth.cells))

    def _caution(self) -> str:
        return self.CAUTION if all(Site.parse(depth.site).name in STREAM for depth in self.depths) else _PARTS

    def _guesses(self) -> Table:
        names = ["likeliest", "p", "second", "p"]
        count = min(2, len(self.depths[0].cells[0].top))
        columns = [Column(name=name, token=index % 2 == 0) for index, name in enumerate(names[: 2 * count])]
        rows: list[Row] = []
        for depth in self.depths:
            cell = depth.cells[0]
            guesses = [value for guess in cell.top[:count] for value in (guess.piece, guess.probability)]
            rows.append(Row(cells=(depth.label, *guesses, cell.target_rank, cell.kl, cell.entropy), site=depth.site))
        return Table(
            title=self._says(),
            caption=(
                f"rank: the place of {quoted(self.positions[0].target)} among all tokens. KL: how far from the final "
                "prediction; entropy: how unsure; both in nats, 0 is not at all."
            ),
            columns=(Column(name="after"), *columns, *(Column(name=name) for name in ("rank", "KL", "entropy"))),
            rows=tuple(rows),
        )

    def _says(self) -> str:
        return f"What each {'value' if self.chosen else 'depth'} would say"

    def _heatmap(self) -> Heatmap:
        return Heatmap(
            title=self._says(),
            caption=f"The likeliest token after each position, and its probability. {self._caution()}",
            unit="probability",
            maximum=1.0,
            rows=self._marks(),
            columns=tuple(self._column(place) for place in self.positions),
            values=tuple(tuple(cell.top[0].probability for cell in depth.cells) for depth in self.depths),
            tokens=tuple(tuple(cell.top[0].piece for cell in depth.cells) for depth in self.depths),
        )

    def _column(self, place: LensPosition) -> Mark:
        """The token; with its index where some in between were not read."""
        whole = [each.index for each in self.positions] == list(range(len(self.positions)))
        return Mark(label=place.token, token=True) if whole else Mark(label=f"{quoted(place.token)} {place.index}")

    def _settling(self) -> Table:
        ends = self.depths[-1].cells
        return Table(
            title="Where the target becomes the likeliest token, and stays",
            columns=(
                Column(name="position"),
                Column(name="after", token=True),
                Column(name="target", token=True),
                Column(name="p"),
                Column(name="rank"),
                Column(name="from"),
            ),
            rows=tuple(
                Row(
                    cells=(
                        place.index,
                        place.token,
                        place.target,
                        end.target_probability,
                        end.target_rank,
                        "never" if place.settled is None else self._depth(place.settled).label,
                    ),
                    site=place.settled,
                )
                for place, end in zip(self.positions, ends, strict=True)
            ),
        )
