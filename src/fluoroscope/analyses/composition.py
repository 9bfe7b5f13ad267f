"""Which heads read what earlier heads write, by their weights: Q-, K- and V-composition.

An induction head, say, reads through its keys what a previous-token head has written (Elhage et al. 2021, "A
Mathematical Framework for Transformer Circuits"). Only the direct way counts: MLPs between two heads are left out.
"""

from math import isnan
from typing import TYPE_CHECKING, Literal

from fluoroscope import identity
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import composition as method
from fluoroscope.methods import head_circuits
from fluoroscope.methods.composition import KINDS, Kind
from fluoroscope.progress import track
from fluoroscope.render.text import number
from fluoroscope.result import Record, Result
from fluoroscope.result import number as finite
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, Grid, HeadGrid, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Attention and heads"

_READERS = {"q": "queries", "k": "keys", "v": "values"}
_SHOWN = 12
_MOST_PAIRS = 2_000_000


class Pair(Record):
    """Two heads: the later one reads, through its queries, keys or values, what the earlier one writes.

    Args:
        earlier, later: canonical names of their z.
        score: norm of the product over the product of the norms, from 0 to 1.
        above: that minus chance.
        deviations: how many standard deviations the squared score is over its mean, among all rotations of one
            circuit against the other; None where all rotations score alike.
    """

    kind: Kind
    earlier: str
    later: str
    score: float
    above: float
    deviations: float | None

    @property
    def label(self) -> str:
        """L2H1 → L3H0."""
        return f"{Site.parse(self.earlier).label} → {Site.parse(self.later).label}"


class Scores(Record):
    """The scores of one kind.

    Args:
        earlier, later: canonical names of the z of the heads.
        scores: `scores[earlier][later]`, None where the one is not before the other, or is zero.
        leeway, later_leeway: of each earlier and later head; the product of two is the standard deviation of their
            squared score over all rotations. None for a head of zeros.
    """

    kind: Kind
    earlier: tuple[str, ...]
    later: tuple[str, ...]
    scores: Grid
    leeway: tuple[float | None, ...]
    later_leeway: tuple[float | None, ...]


class Composition(Result):
    """How heads of earlier and later blocks compose.

    Args:
        grids: all pairs, kind by kind; of one head, those it sends to and those it receives from.
        chance: the score of circuits that have nothing to do with each other: 1 / sqrt of the stream's directions.
        positions: how the model knows positions; rotary ones are left out of queries and keys.
        head: the one that was asked for.
        top_k: how many pairs are named.
    """

    grids: tuple[Scores, ...]
    chance: float
    positions: str
    head: str | None
    top_k: int

    def pairs(self) -> list[Pair]:
        """The `top_k` pairs of highest score, of any kind."""
        found = [
            (score, grid, row, column)
            for grid in self.grids
            for row, line in enumerate(grid.scores)
            for column, score in enumerate(line)
            if score is not None
        ]
        found.sort(key=lambda each: -each[0])
        return [self._pair(*each) for each in found[: self.top_k]]

    def _pair(self, score: float, grid: Scores, row: int, column: int) -> Pair:
        spread = (grid.leeway[row] or 0.0) * (grid.later_leeway[column] or 0.0)
        return Pair(
            kind=grid.kind, earlier=grid.earlier[row], later=grid.later[column], score=score, above=score - self.chance,
            deviations=(score**2 - self.chance**2) / spread if spread else None,
        )  # fmt: skip

    def summary(self) -> str:
        first, *others = self.pairs() or [None]
        if first is None:
            return "No head reads or writes anything that could be composed."
        read, written = Site.parse(first.later).label, Site.parse(first.earlier).label
        told = ", ".join(f"{pair.label} ({pair.kind}) {number(pair.above, signed=True)}" for pair in others[:3] if pair)
        then = f"; then {told}" if told else ""
        return (
            f"The {_READERS[first.kind]} of {read} read most of what {written} writes: score {number(first.score)}, "
            f"{number(first.above, signed=True)} over the {number(self.chance)} of chance{_told(first)}{then}."
        )

    def views(self) -> list[View]:
        draw = self._map if self.head is None else self._heads
        return [self._table(), *map(draw, self.grids)]

    def _table(self) -> Table:
        names = ("kind", "pair", "over chance", "score", "deviations")
        return Table(
            title="The pairs that compose most",
            caption="Kind: whether the later head reads the earlier one through its queries (q), keys (k) or values "
            "(v). Score: Frobenius norm of the product of their circuits over the product of the norms. Chance, "
            f"{number(self.chance)}: the root mean square over all rotations of one against the other, 1 / sqrt of the "
            "directions of the stream. Deviations: by how many of its standard deviations over these rotations the "
            f"squared score is above chance. Norm gains are folded in.{self._rotary()} Weights alone: heads that could "
            "speak to each other, not that they do.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(
                Row(cells=(p.kind, p.label, p.above, p.score, p.deviations), site=p.later) for p in self.pairs()
            ),
        )

    def _rotary(self) -> str:
        if self.positions in ("learned", "ALiBi"):
            return ""
        return " Positions that turn queries and keys are left out: q and k are those at distance 0."

    def _map(self, grid: Scores) -> Heatmap:
        """The heads with the strongest pairs, in the order of layers."""
        rows = sorted(_strongest(grid.scores))
        columns = sorted(_strongest(tuple(zip(*grid.scores, strict=True))))
        return Heatmap(
            title=f"Composition through the {_READERS[grid.kind]} of the later head",
            caption=f"Down: the {len(rows)} earlier heads, across: the {len(columns)} later heads with the highest "
            "scores of this kind, over chance; the JSON has all.",
            unit="score over chance", signed=True,
            rows=tuple(_mark(grid.earlier[row]) for row in rows),
            columns=tuple(_mark(grid.later[column]) for column in columns),
            values=tuple(tuple(self._above(grid.scores[row][column]) for column in columns) for row in rows),
        )  # fmt: skip

    def _heads(self, grid: Scores) -> HeadGrid:
        sends = grid.earlier == (self.head,)
        label, kind = Site.parse(self.head or "").label, _READERS[grid.kind]
        partners = grid.later if sends else grid.earlier
        scores = grid.scores[0] if sends else [row[0] for row in grid.scores]
        values = {name: self._above(score) for name, score in zip(partners, scores, strict=True)}
        return HeadGrid(
            title=f"Whose {kind} read {label}" if sends else f"Whom the {kind} of {label} read",
            caption="A row is a block, a column a head in it.", unit="score over chance", signed=True,
            values=by_layer(values),
        )  # fmt: skip

    def _above(self, score: float | None) -> float | None:
        return None if score is None else score - self.chance


def _told(pair: Pair) -> str:
    return "" if pair.deviations is None else f" ({number(pair.deviations)} standard deviations)"


def _strongest(rows: Grid) -> list[int]:
    """The rows with the largest entries."""
    best = [max((value for value in row if value is not None), default=-1.0) for row in rows]
    return sorted((row for row in range(len(best)) if best[row] >= 0), key=lambda row: -best[row])[:_SHOWN]


def _mark(site: str) -> Mark:
    return Mark(label=Site.parse(site).label, site=site)


@checked
def composition(
    model: "Model", *, head: str | None = None, kind: Literal["all", "q", "k", "v"] = "all", top_k: int = 10
) -> Composition:
    """Scores every pair of heads of earlier and later blocks by how much the later one reads of the earlier one.

    Args:
        head: look only at pairs of this one, such as L3H0.
        kind: through the queries (q), keys (k) or values (v) of the later head, or all three.
        top_k: how many pairs to name.

    Raises:
        ArgumentError: `top_k` below 1, a site that is no head, one block alone, or more pairs than fit a result.
        UnavailableError: this family's heads have no such circuit.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    layers = head_circuits.layers(model)
    chosen = None if head is None else head_circuits.head(model, head)
    kinds: tuple[Kind, ...] = KINDS if kind == "all" else (kind,)
    if len(layers) < 2:
        raise ArgumentError(f"{model.name} has heads in one block only", "Heads compose from block to block.")
    count = len(kinds) * (len(layers) * model.n_heads) ** 2
    if chosen is None and count > _MOST_PAIRS:
        raise ArgumentError(f"{count:,} pairs of heads are more than a result holds", "Name one head: head='L3H0'.")
    heads = [Site("z", layer, unit) for layer in layers for unit in range(model.n_heads)]
    sides = [(heads, heads)]
    if chosen is not None:
        before, after = ([site for site in heads if _rank(site) * way < _rank(chosen) * way] for way in (1, -1))
        sides = [pair for pair in (([chosen], after), (before, [chosen])) if all(pair)]
    return Composition(
        recipe=model.recipe(), grids=tuple(_scores(model, each, *side) for side in sides for each in kinds),
        chance=method.chance(model), positions=identity.positions(model),
        head=None if chosen is None else str(chosen), top_k=top_k,
    )  # fmt: skip


def _rank(site: Site) -> int:
    return site.layer or 0


def _scores(model: "Model", kind: Kind, earlier: list[Site], later: list[Site]) -> Scores:
    rows, columns = _by_layer(earlier), _by_layer(later)
    values: list[list[float | None]] = [[None] * len(later) for _ in earlier]
    room: list[list[float | None]] = [[None] * len(earlier), [None] * len(later)]
    count = method.directions(model)
    for below in track(sorted(rows), f"{kind}-composition"):
        senders = method.sender(model, below)[[site.unit for site, _ in rows[below]]]
        _fill(room[0], rows[below], method.leeway(senders, count))
        for above in sorted(layer for layer in columns if layer > below):
            receivers = method.receiver(model, above, kind)[[site.unit for site, _ in columns[above]]]
            _fill(room[1], columns[above], method.leeway(receivers, count))
            found = method.scores(senders, receivers).tolist()
            for (_, row), line in zip(rows[below], found, strict=True):
                for (_, column), score in zip(columns[above], line, strict=True):
                    values[row][column] = None if isnan(score) else score
    return Scores(
        kind=kind, earlier=tuple(map(str, earlier)), later=tuple(map(str, later)), scores=tuple(map(tuple, values)),
        leeway=tuple(room[0]), later_leeway=tuple(room[1]),
    )  # fmt: skip


def _fill(places: list[float | None], heads: list[tuple[Site, int]], found: "Tensor") -> None:
    for (_, place), value in zip(heads, found.tolist(), strict=True):
        places[place] = finite(value)


def _by_layer(heads: list[Site]) -> dict[int, list[tuple[Site, int]]]:
    """Heads with their places in the list, by layer."""
    found: dict[int, list[tuple[Site, int]]] = {}
    for place, site in enumerate(heads):
        found.setdefault(site.layer or 0, []).append((site, place))
    return found
