"""What mlxterp's causal functions return: `effect_matrix`, `top_components`, `data`, and all that every result has."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.render.text import counted, number, quoted, share
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Column, Heatmap, Mark, Row, Table, View

Nested = tuple[float, ...] | tuple[tuple[float, ...], ...] | tuple[tuple[tuple[float, ...], ...], ...]
"""Numbers in as many tuples as `effect_matrix` has axes."""

_NAMED = 12


class PatchingResult(Result):
    """What clean values of each layer, head or token bring back in the corrupted prompt.

    Args:
        component: what was patched, as it was asked for; `site` in our vocabulary.
        layers: the rows of the matrix.
        heads: how many columns are heads; None where whole blocks were patched.
        positions: the token indices that are the last axis, each patched alone; None where all were patched at once.
        tokens: those of the clean prompt; empty for several pairs.
        metric_name: what was measured at the end of the prompts.
        normalised: whether effects are shares of the way from the corrupted score, 0, to the clean one, 1; those of a
            function of one's own are what it says.
        pairs: how many pairs of prompts the means are over.
        effects: the mean effects; `low` and `high` the ends of their 95 % intervals, None for a single pair.
        scores: the means of the metric itself.
        clean_score: its mean after the clean prompts; `corrupted_score` after the others; None for a function of
            one's own.
    """

    component: str
    site: str
    layers: list[int]
    heads: int | None
    positions: tuple[int, ...] | None
    tokens: tuple[str, ...]
    metric_name: str
    normalised: bool
    direction: Literal["denoise"] = "denoise"
    pairs: int
    effects: Nested
    low: Nested | None
    high: Nested | None
    scores: Nested
    clean_score: float | None
    corrupted_score: float | None
    clean: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()

    @property
    def result_type(self) -> str:
        return "patching"

    @property
    def effect_matrix(self) -> Tensor:
        """[layer], then [head] and [position] where these were told apart."""
        return torch.tensor(self.effects, dtype=torch.float64)

    @property
    def data(self) -> dict[str, Any]:
        """The numbers by name."""
        return {
            "effect_matrix": self.effect_matrix,
            "scores": torch.tensor(self.scores, dtype=torch.float64),
            "layers": self.layers,
        }

    @property
    def metadata(self) -> dict[str, Any]:
        """How they were made."""
        names = ("component", "site", "metric_name", "positions", "direction", "pairs", "clean", "corrupted")
        return {name: getattr(self, name) for name in names}

    def top_components(self, k: int = 5) -> list[tuple[Any, float]]:
        """The largest effects, for or against: (layer, effect), or ((layer, head), effect), and so on for each axis.

        Raises:
            ArgumentError: k below 1.
        """
        least(k)
        found = [(index[0] if len(index) == 1 else index, value) for index, value in self._cells()]
        return sorted(found, key=lambda cell: -abs(cell[1]))[:k]

    def _cells(self) -> list[tuple[tuple[int, ...], float]]:
        """Every number by layer, head and token index."""
        matrix, columns = self.effect_matrix, self._columns()
        names = [tuple(self.layers), *columns]
        return [
            (tuple(axis[place] for axis, place in zip(names, index, strict=True)), float(matrix[index]))
            for index in np.ndindex(*matrix.shape)
        ]

    def _columns(self) -> list[tuple[int, ...]]:
        return [*([] if self.heads is None else [tuple(range(self.heads))]), *filter(None, [self.positions])]

    def summary(self) -> str:
        first = ", ".join(f"{self._label(index)} {self._told(value)}" for index, value in self._largest()[:3])
        of = f", mean of {counted(self.pairs, 'pair')}" if self.pairs > 1 else ""
        ends = ""
        if self.clean_score is not None and self.corrupted_score is not None:
            ends = f" ({number(self.corrupted_score)} corrupted, {number(self.clean_score)} clean)"
        return f"Clean {self.component} in the corrupted prompt, by {self.metric_name}{ends}{of}: {first}."

    def views(self) -> list[View]:
        caption = "Clean values put into the corrupted prompt, each in a run of its own; " + (
            "0 is the corrupted prompt's score, 1 the clean one's."
            if self.normalised
            else "by a function of one's own."
        )
        items = tuple(
            Bar(label=self._label(index), value=value, site=self._site(index))
            for index, value in self._largest()[:_NAMED]
        )
        bars = Bars(
            title=f"What {self.component} brings back", caption=caption, unit="effect", signed=True, items=items
        )
        grid = [] if self.heads is None and self.positions is None else [self._heatmap()]
        return [bars, *grid, *both(self.clean, self.corrupted)]

    def _heatmap(self) -> Heatmap:
        """Rows are layers, or heads where positions are told apart as well."""
        matrix = self.effect_matrix
        both = self.heads is not None and self.positions is not None
        keys = [(layer, head) for layer in self.layers for head in range(self.heads or 0)] if both else [
            (layer,) for layer in self.layers
        ]  # fmt: skip
        names = [f"H{head}" for head in range(self.heads or 0)] if self.positions is None else [
            self._place(place) for place in self.positions
        ]  # fmt: skip
        return Heatmap(
            title="All of them",
            unit="effect",
            signed=True,
            rows=tuple(Mark(label=self._name(key)) for key in keys),
            columns=tuple(Mark(label=name) for name in names),
            values=tuple(map(tuple, matrix.reshape(len(keys), -1).tolist())),
        )

    def _largest(self) -> list[tuple[tuple[int, ...], float]]:
        return sorted(self._cells(), key=lambda cell: -abs(cell[1]))

    def _told(self, value: float) -> str:
        return share(value) if self.normalised else number(value)

    def _site(self, index: tuple[int, ...]) -> str:
        return str(Site(self.site, index[0], None if self.heads is None else index[1]))

    def _label(self, index: tuple[int, ...]) -> str:
        units = 1 if self.heads is None else 2
        place = "" if self.positions is None else f" at {self._place(index[-1])}"
        return self._name(index[:units]) + place

    def _name(self, key: tuple[int, ...]) -> str:
        return Site(self.site, *key).label

    def _place(self, position: int) -> str:
        return f"{quoted(self.tokens[position])} {position}" if self.tokens else str(position)


class PathEffect(Result):
    """What a clean sender does to the corrupted answer through the receivers alone.

    Args:
        senders: canonical sites; `receivers` likewise: queries, keys and values, MLPs or logits.
        n_frozen: how many heads and MLPs between them kept their corrupted values.
        effect: share of the way from the corrupted score to the clean one.
        score: the metric then.
    """

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    n_frozen: int
    metric_name: str
    normalised: bool
    direction: Literal["denoise"] = "denoise"
    effect: float
    score: float
    clean_score: float | None
    corrupted_score: float | None
    clean: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()

    @property
    def result_type(self) -> str:
        return "path_patching"

    @property
    def data(self) -> dict[str, Any]:
        """The numbers by name; `change` is in the metric's own unit."""
        change = None if self.corrupted_score is None else self.score - self.corrupted_score
        return {"effect": self.effect, "n_frozen": self.n_frozen, "score": self.score, "change": change}

    @property
    def metadata(self) -> dict[str, Any]:
        """How they were made."""
        names = ("senders", "receivers", "metric_name", "direction", "clean", "corrupted")
        return {name: getattr(self, name) for name in names}

    def summary(self) -> str:
        ends = ", ".join(Site.parse(name).label for name in self.senders), ", ".join(self.receivers)
        told = share(self.effect) if self.normalised else number(self.effect)
        return (
            f"From {ends[0]} through {ends[1]} alone, clean values bring back {told} by {self.metric_name}, with "
            f"{self.n_frozen} heads and MLPs frozen."
        )

    def views(self) -> list[View]:
        columns = tuple(Column(name=name) for name in ("from", "to", "effect", "score", "frozen"))
        cells = (", ".join(self.senders), ", ".join(self.receivers), self.effect, self.score, self.n_frozen)
        table = Table(title="The path", columns=columns, rows=(Row(cells=cells),))
        return [table, *both(self.clean, self.corrupted)]


def both(clean: tuple[str, ...], corrupted: tuple[str, ...]) -> list[View]:
    """The prompts as a table, where they are known."""
    rows = tuple(Row(cells=pair) for pair in zip(clean, corrupted, strict=True))
    columns = (Column(name="clean", token=True), Column(name="corrupted", token=True))
    return [Table(title="The prompts", columns=columns, rows=rows)] if rows else []


def least(k: int) -> None:
    """Raises where no component is asked for."""
    if k < 1:
        raise ArgumentError(f"k={k} names nothing", "Give at least 1.")
