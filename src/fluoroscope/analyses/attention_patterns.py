"""Where every attention head looks in a prompt: its pattern, or what the pattern moves.

Also how much goes from each token to each in all heads together, block by block (the flow) and followed through all
blocks (the rollout). Every share is one of 1: what a learned sink takes, on models that have them, is a source too.
Attention says where a head reads, not what that does to the answer: `logit_attribution --grain source` splits the logit
by head and token, `ablation` tells what is lost without a head.
"""

from heapq import nlargest
from typing import TYPE_CHECKING, Literal

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import attention_maps, readout
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result, number
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Arc, Arcs, Column, HeadGrid, Heatmap, Mark, Row, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "Attention and heads"

Grid = tuple[tuple[float, ...], ...]

_WEIGHTED = {
    "pattern": "attention",
    "value": "attention times the norm of the value",
    "output": "attention times the norm of the value behind W_O",
}


class HeadLook(Record):
    """How one head looks, means over all tokens but the first.

    Args:
        site: canonical name of the head's z.
        spread: entropy over that of an even look at all tokens in sight, 0 to 1; None where no token sees two.
        largest: the largest share.
        first: the share of the first token, where heads that have nothing to do often rest (Xiao et al. 2023).
        sink: the share of the head's learned sink; None where the model has none, or shares are of what is moved.
        distance: how many tokens back; None for a head that moves nothing, whose shares are all 0.
        key: index of the token that it looks at most from the position asked about.
        share: of that token.
    """

    site: str
    spread: float | None
    largest: float
    first: float
    sink: float | None
    distance: float | None
    key: int
    share: float

    @property
    def label(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label


class AttentionPatterns(Result):
    """Where the heads of a model look in one prompt.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token from which the heads look.
        weighting: what the shares are of.
        heads: all whose attention can be read, by layer.
        sink: whether every row of `shares`, `flow` and `rollout` has one more number at its end: what a learned sink
            takes. So rows sum to 1 on every model; what is moved (other weightings) never comes from a sink.
        flow: `flow[query][key]`: what the query takes from the key, mean over all heads of all blocks (those whose
            attention can be read), each counting alike; times their number it is their sum.
        rollout: `rollout[query][key]`: share of the key in what reaches the query when attention is followed through
            all blocks, half of it staying in place; None where a block has no pattern to follow.
        head: the head of `shares`; None if none was asked for.
        shares: `shares[query][key]` of that head.
        top_k: how many heads the table names, and how many ties between tokens are drawn.
    """

    tokens: tuple[str, ...]
    position: int
    weighting: Literal["pattern", "value", "output"]
    heads: tuple[HeadLook, ...]
    sink: bool
    flow: Grid
    rollout: Grid | None
    head: str | None
    shares: Grid | None
    top_k: int

    def top(self) -> list[HeadLook]:
        """The `top_k` heads that look hardest at another token than the first one and their own."""
        aside = [head for head in self.heads if head.key not in (0, self.position)]
        return sorted(aside, key=lambda head: -head.share)[: self.top_k]

    def summary(self) -> str:
        looks = [f"{each.label} at {quoted(self.tokens[each.key])} {percent(each.share)}" for each in self.top()[:3]]
        resting = sum(head.first > 0.5 for head in self.heads)
        at = f"from {quoted(self.tokens[self.position])}, {', '.join(looks)}" if looks else "no head looks elsewhere"
        sinks = [head.sink for head in self.heads if head.sink is not None]
        outside = f", and learned sinks take {percent(sum(sinks) / len(sinks))} on average" if sinks else ""
        return f"{at[0].upper()}{at[1:]}; {resting} of {len(self.heads)} heads spend most on the first token{outside}."

    def views(self) -> list[View]:
        chosen = [] if self.shares is None else [self._one(self.shares)]
        rolled = [] if self.rollout is None else [self._reach(self.rollout), self._rollout(self.rollout)]
        flow = [self._flow()] if len(self.tokens) < 3 else [self._arcs(), self._flow()]
        return [*chosen, self._table(), *flow, *rolled, *self._grids()]

    def _heatmap(self, title: str, caption: str, values: Grid) -> Heatmap:
        """Who looks, by what is looked at."""
        marks = tuple(Mark(label=token, token=True) for token in self.tokens)
        sink = " The last column is the learned sink." if self.sink else ""
        columns = (*marks, *([Mark(label="sink")] if self.sink else []))
        return Heatmap(
            title=title, caption=f"A row is the token that looks. {caption}{sink}", unit="share", maximum=1.0,
            rows=marks, columns=columns, values=values,
        )  # fmt: skip

    def _one(self, shares: Grid) -> Heatmap:
        label = Site.parse(self.head or "").label
        return self._heatmap(f"Where {label} looks", f"Shares of {_WEIGHTED[self.weighting]}.", shares)

    def _flow(self) -> Heatmap:
        return self._heatmap(
            "How much goes from each token to each",
            f"Shares of {_WEIGHTED[self.weighting]}, mean over {len(self.heads)} heads, block by block.",
            self.flow,
        )

    def _arcs(self) -> Arcs:
        """The largest flows between two tokens, neither of them the first."""
        ties = ((self.flow[query][key], query, key) for query in range(len(self.tokens)) for key in range(1, query))
        kept = nlargest(self.top_k, ties, key=lambda tie: tie[0] or 0.0)  # of equal ones the first, as when sorted
        first = [row[0] for row in self.flow[1:]]
        return Arcs(
            title="Token flow: what passes between two tokens",
            caption=f"Shares of {_WEIGHTED[self.weighting]}, mean over {len(self.heads)} heads; the largest. "
            f"Left out: what stays at a token, and the first one, where idle heads rest and which gets "
            f"{percent(sum(first) / len(first))} on average. Where attention goes is no proof of use.",
            unit="share",
            items=tuple(TokenMark(text=token) for token in self.tokens),
            arcs=tuple(Arc(source=key, target=query, value=value) for value, query, key in kept if value),
            marked=self.position,
        )

    def _table(self) -> Table:
        names = ("its index", "share", "spread", "first token", "tokens back")
        return Table(
            title=f"The hardest looks from {quoted(self.tokens[self.position])}",
            caption=f"Shares of {_WEIGHTED[self.weighting]}, the first and the own token left out. Spread, first token "
            "and tokens back are means over the whole prompt: 0 is one token, 1 an even look.",
            columns=(Column(name="head"), Column(name="looks at", token=True), *(Column(name=name) for name in names)),
            rows=tuple(
                Row(
                    cells=(h.label, self.tokens[h.key], h.key, h.share, h.spread, h.first, h.distance), site=h.site
                )
                for h in self.top()
            ),
        )  # fmt: skip

    def _reach(self, rollout: Grid) -> Tokens:
        row = rollout[self.position]
        sink = f" {percent(row[-1])} comes from the learned sinks of all blocks." if self.sink else ""
        return Tokens(
            title=f"Tokens that reach {quoted(self.tokens[self.position])} by attention rollout",
            caption="The mean of all heads, half of it staying in place, followed through every block. It knows "
            f"nothing of MLPs: an upper bound on reach, no proof of use.{sink}",
            unit="share",
            items=tuple(TokenMark(text=t, value=v) for t, v in zip(self.tokens, row, strict=False)),
            marked=self.position,
        )

    def _rollout(self, rollout: Grid) -> Heatmap:
        return self._heatmap("Attention rollout from every token", "As above, for each.", rollout)

    def _grids(self) -> list[HeadGrid]:
        told: dict[str, tuple[str, str, str]] = {
            "spread": ("How widely each head looks", "0 is one token, 1 all alike", "share of an even look"),
            "first": ("How much rests on the first token", "heads without a task often rest there", "share"),
            "distance": ("How far back each head looks", "means over the tokens of the prompt", "tokens"),
        }
        if self.sink:
            told["sink"] = ("How much each head's learned sink takes", "it moves nothing", "share")
        return [
            HeadGrid(
                title=title,
                caption=f"A row is a block, a column a head in it; {meaning}.",
                unit=unit,
                signed=False,
                values=by_layer({head.site: getattr(head, name) for head in self.heads}),
            )
            for name, (title, meaning, unit) in told.items()
        ]


@checked
def attention_patterns(
    model: "Model",
    prompt: AnyPrompt,
    *,
    head: str | None = None,
    weighting: Literal["pattern", "value", "output"] = "pattern",
    position: int = -1,
    top_k: int = 10,
) -> AttentionPatterns:
    """Shows where the heads look, and the whole pattern of one of them.

    Args:
        prompt: the text to look at; it needs two tokens.
        head: the one whose pattern to show, such as L3H0.
        weighting: the pattern alone, times the norm of the value that it moves, or of the value behind W_O.
        position: index of the token from which the heads look; negative counts from the end.
        top_k: how many heads to name, and how many ties between tokens to draw.

    Raises:
        ArgumentError: `top_k` below 1, a prompt of one token, or a site that is no head.
        TokenError: the prompt has no such position.
        UnavailableError: this family's patterns or values cannot be read.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    chosen = None if head is None else attention_maps.head(model, head)
    trace = model.trace(prompt, sites=[*attention_maps.sites_needed(weighting), "scores.*"], logits=False)
    slot = readout.only_slot(trace.tokens, position)
    tokens = trace.tokens.labels[0]
    if len(tokens) < 2:
        raise ArgumentError("the prompt is one token, which can only look at itself", "Give at least two.")
    layers = [layer for layer in range(model.n_layers) if Site("pattern", layer) in trace.values]
    maps = {layer: attention_maps.weighted(model, trace, layer, weighting) for layer in layers}
    sink = model.architecture.sinks and weighting == "pattern"
    whole = {layer: attention_maps.completed(model, found) if sink else found for layer, found in maps.items()}
    way = attention_maps.rollout(whole.values()) if len(whole) == model.n_layers else None
    return AttentionPatterns(
        recipe=trace.recipe,
        tokens=tuple(tokens),
        position=slot,
        weighting=weighting,
        heads=tuple(look for layer, found in whole.items() for look in _looks(trace, layer, found, slot)),
        sink=sink,
        flow=_grid(attention_maps.flow(whole.values())),
        rollout=None if way is None else _grid(way),
        head=None if chosen is None else str(Site("z", chosen.layer, chosen.unit)),
        shares=None if chosen is None else _grid(whole[chosen.layer or 0][chosen.unit or 0]),
        top_k=top_k,
    )


def _looks(trace: "Trace", layer: int, found: "Tensor", slot: int) -> list[HeadLook]:
    """Every head of a layer."""
    keys, outside = found[..., : found.shape[1]], found[:, 1:, found.shape[1] :]
    mean = attention_maps.looks(keys, attention_maps.in_sight(trace, layer))
    sinks = outside.mean((-2, -1)).tolist() if outside.shape[-1] else [None] * len(found)
    share, key = keys[:, slot].max(-1)
    figures = (mean.spread, mean.largest, mean.first, mean.distance, share, key)
    return [
        HeadLook(
            site=str(Site("z", layer, unit)), spread=number(spread), largest=largest, first=first, sink=sinks[unit],
            distance=number(distance), key=key, share=share,
        )
        for unit, (spread, largest, first, distance, share, key) in enumerate(
            zip(*(figure.tolist() for figure in figures), strict=True)
        )
    ]  # fmt: skip


def _grid(values: "Tensor") -> Grid:
    return tuple(map(tuple, values.tolist()))
