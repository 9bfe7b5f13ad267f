"""What two prompts of equal length do differently inside the model, and what comes of it.

Token by token and block by block: how far apart the residual streams are, and which heads and neurons write other
things at the last token. A difference is no cause: patching one prompt's values into the other tells what matters.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope import shares
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import effects, readout
from fluoroscope.render.text import number, percent, quoted, visible
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Column, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "States and weights"


class Candidate(Record):
    """A next token and its probability after either prompt."""

    token: str
    id: int
    first: float
    second: float


class Changed(Record):
    """A head or neuron: L2 norm of the difference of what it adds to the stream at the last token, and of each."""

    site: str
    difference: float
    first: float
    second: float

    @property
    def label(self) -> str:
        """L9H6 or L3N359."""
        return Site.parse(self.site).label

    @property
    def matters(self) -> bool:
        """Whether the difference is a hundredth of what it writes."""
        return self.difference >= max(self.first, self.second) / 100


class ComparePrompts(Result):
    """Two prompts, token by token.

    Args:
        first, second: the tokens of the prompts.
        sites: the depths of the residual stream, shallowest first.
        distance: `distance[depth][token]`, 1 - cosine of the two streams.
        norm: `norm[depth][token]`, L2 norm of their difference.
        kl: KL divergence in nats of the second prediction from the first: what is lost by believing the second.
        predictions: the likeliest tokens after either prompt, the most changed first.
        heads: those that write most differently, most first; empty where heads cannot be read.
        neurons: the same.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    sites: tuple[str, ...]
    distance: tuple[tuple[float, ...], ...]
    norm: tuple[tuple[float, ...], ...]
    kl: float
    predictions: tuple[Candidate, ...]
    heads: tuple[Changed, ...]
    neurons: tuple[Changed, ...]

    def summary(self) -> str:
        a, b = (max(self.predictions, key=lambda each: getattr(each, side)) for side in ("first", "second"))
        named = ", ".join(each.label for each in self.heads[:3] if each.matters)
        heads = f"; the heads that write most differently at the end are {named}" if named else ""
        if self.heads and not named:
            heads = "; no head writes anything else at the end by 1 % of what it writes"
        little = "" if self.kl >= effects.NOTHING else ", which is next to nothing"
        same = "stays" if a.id == b.id else f"({percent(a.first)}) turns into {quoted(b.token)}"
        became = f"({percent(a.first)} and {percent(b.second)})" if a.id == b.id else f"({percent(b.second)})"
        return f"The prediction {quoted(a.token)} {same} {became}, {number(self.kl)} nats apart{little}{heads}."

    def views(self) -> list[View]:
        parts = [("heads", self.heads), ("neurons", self.neurons)]
        return [
            self._table(),
            self._heatmap("How far the streams turn apart", "1 - cosine", self.distance),
            self._heatmap("How large their difference is", "L2 norm", self.norm),
            *(_bars(name, changed) for name, changed in parts if changed),
        ]

    def _table(self) -> Table:
        return Table(
            title="What each prompt expects next",
            caption=f"The likeliest tokens of both, the most changed first; KL divergence {number(self.kl)} nats.",
            columns=(Column(name="token", token=True), *(Column(name=n) for n in ("first", "second", "change"))),
            rows=tuple(Row(cells=(p.token, p.first, p.second, p.second - p.first)) for p in self.predictions),
        )

    def _heatmap(self, title: str, unit: str, values: tuple[tuple[float, ...], ...]) -> Heatmap:
        pairs = [(visible(a), visible(b)) for a, b in zip(self.first, self.second, strict=True)]
        return Heatmap(
            title=title,
            caption="A column is a token, a row a depth; 0 where both prompts are the same so far.",
            unit=unit,
            rows=tuple(Mark(label=_depth(site), site=site) for site in self.sites),
            columns=tuple(Mark(label=a if a == b else f"{a} / {b}") for a, b in pairs),
            values=values,
        )


def _bars(name: str, changed: tuple[Changed, ...]) -> Bars:
    return Bars(
        title=f"The {name} that write most differently at the last token",
        caption="The length of the difference of what each adds to the residual stream, beside the two lengths.",
        unit="L2 norm",
        reach=max((max(c.first, c.second) for c in changed), default=0.0) / 10 or None,
        items=tuple(
            Bar(label=c.label, value=c.difference, remark=f"{number(c.first)} / {number(c.second)}", site=c.site)
            for c in changed
        ),
    )


@checked
def compare_prompts(model: "Model", prompt: AnyPrompt, other: AnyPrompt, *, top_k: int = 8) -> ComparePrompts:
    """Holds two prompts of equal length against each other, token by token and part by part.

    Args:
        prompt: the first text.
        other: the second, of as many tokens: replace words by others of as many tokens.
        top_k: how many heads, neurons and predictions to name.

    Raises:
        ArgumentError: `top_k` below 1, or prompts of different lengths or equal tokens.
        UnavailableError: this family has no residual stream that each block adds to.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    heads, neurons = (model.sites(name) for name in ("z", "neurons"))
    wanted: list[str | Site] = ["resid_pre.0", "resid_post.*", *heads, *neurons]
    one, two = (model.trace(text, sites=wanted) for text in (prompt, other))
    for trace in (one, two):
        readout.only_slot(trace.tokens, -1)
    readout.parting(one.tokens, two.tokens)
    depths = [site for site in one.sites if site.name.startswith("resid")]
    streams = [torch.stack([trace[site][0] for site in depths]).double() for trace in (one, two)]
    norm = (streams[0] - streams[1]).norm(dim=-1)
    distance = (1 - torch.nn.functional.cosine_similarity(*streams, dim=-1)).clamp_min(0).where(norm > 0, 0.0)
    log_p, log_q = (readout.log_probs(trace.logits[0, -1].double()) for trace in (one, two))
    return ComparePrompts(
        recipe=model.recipe().model_copy(update={"tokens": (*one.recipe.tokens, *two.recipe.tokens)}),
        first=tuple(one.tokens.labels[0]),
        second=tuple(two.tokens.labels[0]),
        sites=tuple(map(str, depths)),
        distance=tuple(map(tuple, distance.tolist())),
        norm=tuple(map(tuple, norm.tolist())),
        kl=float(readout.kl(log_p, log_q)),
        predictions=tuple(_predictions(model, log_p.exp(), log_q.exp(), top_k)),
        heads=tuple(_changed(model, one, two, heads, top_k)),
        neurons=tuple(_changed(model, one, two, neurons, top_k)),
    )


def _predictions(model: "Model", p: torch.Tensor, q: torch.Tensor, top_k: int) -> list[Candidate]:
    ids: set[int] = {token for each in (p, q) for token in each.topk(min(top_k, len(each))).indices.tolist()}
    found = [
        Candidate(token=model.token_label(token), id=token, first=float(p[token]), second=float(q[token]))
        for token in sorted(ids)
    ]
    return sorted(found, key=lambda each: -abs(each.first - each.second))


def _changed(model: "Model", one: "Trace", two: "Trace", sites: list[Site], top_k: int) -> list[Changed]:
    """The units whose addends at the last token differ most."""
    found: list[Changed] = []
    for site in sites:
        split = shares.heads if site.name == "z" else shares.neurons
        a, b = (split(model, site.layer or 0, trace[site][0, -1].double())[0] for trace in (one, two))
        for unit, row in enumerate(torch.stack([a - b, a, b]).norm(dim=-1).T.tolist()):
            address = str(Site(site.name, site.layer, unit))
            found.append(Changed(site=address, difference=row[0], first=row[1], second=row[2]))
    return sorted(found, key=lambda each: -each.difference)[:top_k]


def _depth(site: str) -> str:
    return "embedding" if site == "resid_pre.0" else f"block {site.rpartition('.')[2]}"
