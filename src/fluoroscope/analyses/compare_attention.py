"""How differently every attention head looks at two prompts of equal length, token by token.

The change of a head is the share of its attention that goes elsewhere, by the total variation of each query. A head
that looks elsewhere need not matter for the answer: `ablation` and patching tell that.
"""

from typing import TYPE_CHECKING, Literal

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import attention_maps, readout
from fluoroscope.render.text import percent, quoted, visible
from fluoroscope.result import Record, Result, number
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site
from fluoroscope.views import Column, Grid, HeadGrid, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Attention and heads"

_WEIGHTED = {
    "pattern": "attention",
    "value": "attention times the norm of the value",
    "output": "attention times the norm of the value behind W_O",
}
_MOVED = 0.1
"""The change from which a head counts as looking elsewhere in the sentence."""


class Look(Record):
    """How one head looks at one of the prompts.

    Args:
        key: index of the token that it looks at most, from the query of its `HeadChange`.
        share: of that token.
        spread: entropy over that of an even look at all tokens in sight, 0 to 1, mean over all tokens but the first;
            None where it moves nothing.
        sink: the share of the first token, the same mean.
        distance: how many tokens back, the same mean.
    """

    key: int
    share: float
    spread: float | None
    sink: float
    distance: float | None


class HeadChange(Record):
    """One head on both prompts.

    Args:
        site: canonical name of its z.
        change: mean of `by_query` over the queries that can differ, or its value at the position asked about.
        by_query: total variation of each query, from 0 (looks at the same places) to 1 (at none of them).
        query: index of the token from which `first` and `second` look: the position asked about, else where the
            change is largest.
        first, second: how it looks at either prompt.
    """

    site: str
    change: float
    by_query: tuple[float, ...]
    query: int
    first: Look
    second: Look

    @property
    def label(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label


class CompareAttention(Result):
    """Where the heads look in two prompts.

    Args:
        first, second: the tokens of the prompts.
        parting: index of the first token at which they differ: before it, and at the first token, nothing can change.
        position: index of the token whose look ranks the heads; None for the mean over all that can differ.
        weighting: what the shares are of.
        heads: all whose attention can be read, those that change most first.
        head: the head of the two maps: the one asked for, else the one that changes most.
        first_shares, second_shares: `[query][key]` of that head.
        top_k: how many heads the tables name.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    parting: int
    position: int | None
    weighting: Literal["pattern", "value", "output"]
    heads: tuple[HeadChange, ...]
    head: str
    first_shares: tuple[tuple[float, ...], ...]
    second_shares: tuple[tuple[float, ...], ...]
    top_k: int

    def summary(self) -> str:
        top = self.heads[0]
        weighted = _WEIGHTED[self.weighting]
        moved = sum(each.change >= _MOVED for each in self.heads)
        rest = f"{moved} of {len(self.heads)} heads move a tenth or more"
        if self.position is not None:
            where = f"From {_told(self._token(self.position))} {top.label} looks elsewhere most"
            return f"{where}: it moves {percent(top.change)} of its {weighted}, {self._turn(top)}; {rest}."
        counted = len(self.first) - max(self.parting, 1)
        over = "at the last token" if counted == 1 else f"mean over the {counted} tokens from the first difference on"
        return (
            f"{top.label} looks elsewhere most: it moves {percent(top.change)} of its {weighted} ({over}), most from "
            f"{_told(self._token(top.query))}: {self._turn(top)}; {rest}."
        )

    def _turn(self, head: HeadChange) -> str:
        (a, p), (b, q) = ((quoted(text[look.key]), percent(look.share)) for text, look in self._sides(head))
        if head.first.key == head.second.key:
            return f"at {a if a == b else f'{a} / {b}'} {p} in the first prompt, {q} in the second"
        return f"at {a} {p} in the first prompt, at {b} {q} in the second"

    def _sides(self, head: HeadChange) -> list[tuple[tuple[str, ...], Look]]:
        return [(self.first, head.first), (self.second, head.second)]

    def _token(self, index: int) -> str:
        """The token at an index as people see it, or both where they differ."""
        a, b = visible(self.first[index]), visible(self.second[index])
        return a if a == b else f"{a} / {b}"

    def views(self) -> list[View]:
        maps = [
            self._map("first", self.first, self.first_shares),
            self._map("second", self.second, self.second_shares),
        ]
        return [self._changes(), self._grid(), self._difference(), *maps, self._figures()]

    def _changes(self) -> Table:
        if self.position is None:
            over = "mean over all tokens from the first difference on; from: the token at which it is largest"
        else:
            over = f"of the look from {_told(self._token(self.position))}"
        names = ("head", "change", "from", "index", "first: at", "share", "second: at", "its share")
        return Table(
            title="Heads that look elsewhere",
            caption=f"Change: share of {_WEIGHTED[self.weighting]} that goes to other tokens (total variation), "
            f"{over}. At: what it looks at most. Looking elsewhere is no proof of mattering.",
            columns=tuple(Column(name=name, token=name.endswith(": at")) for name in names),
            rows=tuple(
                Row(
                    cells=(head.label, head.change, self._token(head.query), head.query, *self._seen(head)),
                    site=head.site,
                )
                for head in self.heads[: self.top_k]
            ),
        )

    def _seen(self, head: HeadChange) -> list[str | float]:
        return [cell for text, look in self._sides(head) for cell in (text[look.key], look.share)]

    def _grid(self) -> HeadGrid:
        places = {(site.layer or 0, site.unit or 0): head for head in self.heads for site in [Site.parse(head.site)]}
        height, width = (1 + max(place[axis] for place in places) for axis in (0, 1))
        values = [[places.get((layer, head)) for head in range(width)] for layer in range(height)]
        return HeadGrid(
            title="How much of its attention each head moves", caption="A row is a block, a column a head in it.",
            unit="share", signed=False, values=tuple(tuple(head and head.change for head in row) for row in values),
        )  # fmt: skip

    def _difference(self) -> Heatmap:
        start = max(self.parting, 1)
        marks = tuple(Mark(label=self._token(k)) for k in range(len(self.first)))
        pairs = list(zip(self.first_shares, self.second_shares, strict=True))[start:]
        return Heatmap(
            title=f"{Site.parse(self.head).label}: the first prompt minus the second",
            caption="A row is the token that looks; above zero: more in the first prompt. The first "
            f"{'row' if start == 1 else f'{start} rows'}, where nothing can differ, left out.",
            unit="share", signed=True, maximum=1.0, rows=marks[start:], columns=marks,
            values=tuple(tuple(a - b for a, b in zip(*rows, strict=True)) for rows in pairs),
        )  # fmt: skip

    def _map(self, prompt: str, tokens: tuple[str, ...], values: Grid) -> Heatmap:
        marks = tuple(Mark(label=token, token=True) for token in tokens)
        return Heatmap(
            title=f"Where {Site.parse(self.head).label} looks in the {prompt} prompt",
            caption=f"A row is the token that looks. Shares of {_WEIGHTED[self.weighting]}.", unit="share", maximum=1.0,
            rows=marks, columns=marks, values=values,
        )  # fmt: skip

    def _figures(self) -> Table:
        names = ("spread", "first token", "tokens back")
        columns = ["head", *(f"{name} {side}" for name in names for side in ("1", "2"))]
        return Table(
            title="How these heads look, side by side",
            caption="In the first (1) and second (2) prompt, means over all tokens but the first. Spread: entropy over "
            "that of an even look, 0 is one token, 1 all alike. First token: its share, where heads without a task "
            "often rest.",
            columns=tuple(Column(name=name) for name in columns),
            rows=tuple(
                Row(
                    cells=(
                        h.label,
                        *(getattr(side, n) for n in ("spread", "sink", "distance") for side in (h.first, h.second)),
                    ),
                    site=h.site,
                )
                for h in self.heads[: self.top_k]
            ),
        )


@checked
def compare_attention(
    model: "Model",
    prompt: AnyPrompt,
    other: AnyPrompt,
    *,
    head: str | None = None,
    weighting: Literal["pattern", "value", "output"] = "pattern",
    position: int | None = None,
    top_k: int = 10,
) -> CompareAttention:
    """Holds where every head looks in two prompts of equal length against each other.

    Args:
        prompt: the first text.
        other: the second, of as many tokens: replace words by others of as many tokens.
        head: the one whose patterns to show, such as L3H0; without it the one that changes most.
        weighting: the pattern alone, times the norm of the value that it moves, or of the value behind W_O.
        position: index of the token whose look ranks the heads, negative counts from the end; without it the mean.
        top_k: how many heads to name.

    Raises:
        ArgumentError: `top_k` below 1, prompts of different lengths or equal tokens, or a site that is no head.
        TokenError: the prompts have no such position.
        UnavailableError: this family's patterns or values cannot be read.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    chosen = None if head is None else attention_maps.head(model, head)
    sites = [*attention_maps.sites_needed(weighting), "scores.*"]
    one, two = pair = [model.trace(text, sites=sites, logits=False) for text in (prompt, other)]
    slots = [readout.only_slot(trace.tokens, -1 if position is None else position) for trace in (one, two)]
    parting = readout.parting(one.tokens, two.tokens)
    if len(one.tokens.rows[0]) < 2:
        raise ArgumentError("each prompt is one token, which can only look at itself", "Give at least two.")
    if position is not None and slots[0] < max(parting, 1):
        raise ArgumentError(
            f"from position={position} no head can look elsewhere: it sees nothing that differs",
            f"The prompts part at token {parting}; take {max(parting, 1)} or later.",
        )
    asked = None if position is None else slots[0]
    heads: list[HeadChange] = []
    for layer in (site.layer or 0 for site in one.sites if site.name == "pattern"):
        shares = [attention_maps.weighted(model, trace, layer, weighting) for trace in pair]
        heads += _layer(layer, shares, attention_maps.in_sight(one, layer), parting, asked)
    heads.sort(key=lambda each: -each.change)
    shown = Site.parse(heads[0].site) if chosen is None else Site("z", chosen.layer, chosen.unit)
    maps = [attention_maps.weighted(model, t, shown.layer or 0, weighting)[shown.unit or 0].tolist() for t in pair]
    return CompareAttention(
        recipe=model.recipe().model_copy(update={"tokens": (*one.recipe.tokens, *two.recipe.tokens)}),
        first=tuple(one.tokens.labels[0]), second=tuple(two.tokens.labels[0]), parting=parting, position=asked,
        weighting=weighting, heads=tuple(heads), head=str(shown), first_shares=tuple(map(tuple, maps[0])),
        second_shares=tuple(map(tuple, maps[1])), top_k=top_k,
    )  # fmt: skip


def _layer(layer: int, shares: "list[Tensor]", seen: "Tensor", parting: int, position: int | None) -> list[HeadChange]:
    """Every head of a layer, from its shares in either prompt and the keys that are in sight in both."""
    moved = attention_maps.total_variation(*shares)
    start = max(parting, 1)
    change = moved[:, start:].mean(-1) if position is None else moved[:, position]
    queries = (moved[:, start:].argmax(-1) + start).tolist() if position is None else [position] * len(moved)
    looks = [_looks(each, seen, queries) for each in shares]
    return [
        HeadChange(
            site=str(Site("z", layer, unit)), change=value, by_query=tuple(row), query=queries[unit],
            first=looks[0][unit], second=looks[1][unit],
        )
        for unit, (value, row) in enumerate(zip(change.tolist(), moved.tolist(), strict=True))
    ]  # fmt: skip


def _looks(shares: "Tensor", seen: "Tensor", queries: list[int]) -> list[Look]:
    """How each head looks, and at what most from its query."""
    mean = attention_maps.looks(shares, seen)
    share, key = shares[torch.arange(len(shares)), queries].max(-1)
    figures = (key, share, mean.spread, mean.first, mean.distance)
    return [
        Look(key=key, share=share, spread=number(spread), sink=sink, distance=number(distance))
        for key, share, spread, sink, distance in zip(*(figure.tolist() for figure in figures), strict=True)
    ]


def _told(token: str) -> str:
    """A token that is visible already, as sentences quote it."""
    return f"‘{token}’"
