"""Which connections between the parts of a model an answer takes.

An edge goes from what writes into the stream (embeddings, heads, MLPs) to what reads it (a head's query, key and value,
MLPs, logits). Its effect is what the answer does when that reader alone reads that writer as in the other prompt:
patched one by one (exact), or estimated by edge attribution patching (eap: Syed et al. 2023; eap-ig: Hanna et al.
2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch

from fluoroscope import metrics, patched, wiring
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, edge_patching, sweeps
from fluoroscope.methods import edges as methods
from fluoroscope.methods.graph import Edge, graph
from fluoroscope.methods.ranks import spearman
from fluoroscope.methods.sweeps import Sweep
from fluoroscope.patched import Patched
from fluoroscope.progress import telling
from fluoroscope.render.text import number
from fluoroscope.render.text import share as share_text
from fluoroscope.result import Record
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction
from fluoroscope.views import Column, Graph, Row, Table, View
from fluoroscope.wiring import Wire

if TYPE_CHECKING:
    from fluoroscope.methods.graph import Graph as Scored
    from fluoroscope.metrics import Metric
    from fluoroscope.model import Model
    from fluoroscope.tokens import Tokens

THEME = "Causes"

Method = Literal["exact", "eap", "eap-ig"]
Ranked = Sequence[tuple[Edge, float]]
_BY = {
    "exact": "patched one by one",
    "eap": "estimated from one backward pass",
    "eap-ig": "estimated from gradients integrated between the prompts",
}


class EdgeEffect(Record):
    """An edge, and the share of the way to the other prompt's score that it goes.

    Args:
        effect: as the method says it.
        exact: as patching says it; None for what was not checked.
    """

    sender: str
    receiver: str
    effect: float
    exact: float | None


class Edges(Patched):
    """The effect of every edge.

    Args:
        method: how effects were found; `steps` of the integral where that is eap-ig, else None.
        group: how many heads share a key and a value.
        senders: their names, in the order of computation; `receivers` likewise.
        effects: share of the way, `[sender][receiver]`; None where there is no edge.
        top: the largest, with their exact effects.
        agreement: Spearman's rank correlation of estimated and exact effects over `top`; None for fewer than three.
    """

    method: Method
    steps: int | None
    group: int
    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    effects: tuple[tuple[float | None, ...], ...]
    top: tuple[EdgeEffect, ...]
    agreement: float | None

    def summary(self) -> str:
        total = sum(value is not None for row in self.effects for value in row)
        asked = f"of the {self.asked()} ({self.gap()})"
        told = ", ".join(
            f"{wiring.label(each.sender)} → {wiring.label(each.receiver, self.group)} {share_text(each.effect)}"
            for each in self.top[:3]
        )
        by, does = _BY[self.method], self.verb().removesuffix("s")
        first = f"{self.partial()}Of {total:,} edges, {by}, the largest {does} {asked}: {told}"
        if self.agreement is None or self.method == "exact":
            return f"{first}.{self.doubts()}"
        return f"{first}; over these {len(self.top)} it agrees with exact patching at a rank correlation of " + (
            f"{number(self.agreement)}.{self.doubts()}"
        )

    def views(self) -> list[View]:
        return [self._table(), self._graph()]

    def _table(self) -> Table:
        estimated = self.method != "exact"
        names = ["sender", "receiver", *(["estimate", "exact"] if estimated else ["effect"])]
        rows = [
            Row(
                cells=(
                    wiring.label(each.sender),
                    wiring.label(each.receiver, self.group),
                    each.effect,
                    *([each.exact] if estimated else []),
                )
            )
            for each in self.top
        ]
        return Table(
            title=f"Edges with the largest effect on the {self.asked()}",
            caption=f"What each edge {self.verb()} by itself: one receiver reads one sender as in the other prompt, "
            f"{_BY[self.method]}; a share of the way between the two scores ({self.gap()}). Shares need not sum to 1.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(rows),
        )

    def _graph(self) -> Graph:
        wires = [Wire(sender=each.sender, receiver=each.receiver, value=each.effect) for each in self.top]
        return wiring.picture(
            "The same edges as a graph",
            "Those of them that lead to the logits. A query, key and value of one head are one node; of several edges "
            "between two nodes the largest counts. What is alone between two may still be needed together.",
            "share",
            wires,
            self.group,
        )


@checked
def edges(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    method: Literal["exact", "eap", "eap-ig"] = "eap-ig",
    metric: AnyMetric = "logit_diff",
    direction: Direction = "noise",
    steps: int = 5,
    top_k: int = 20,
    budget: int = 1024,
) -> Edges:
    """Measures or estimates what every single connection between parts of the model does to the answer.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        method: exact patches every edge in a run of its own (seconds for thousands of edges of a small model); eap
            estimates all from one backward pass; eap-ig from several between the two prompts, and is nearer.
        metric: what is measured at the end of the prompt; rank has no gradient, so it needs exact.
        direction: noise puts corrupted values into the clean prompt (what is needed), denoise the reverse (what is
            enough).
        steps: points of the integral of eap-ig, one backward pass each.
        top_k: how many of the largest effects to show; estimates among them are checked by patching.
        budget: megabytes that the sweep may hold beside the model and the runs.

    Raises:
        ArgumentError: prompts of unequal length, the same or scored alike, or a metric without a slope.
        TokenError: answer or foil is not one token or a set of them.
        UnavailableError: what the parts of this model write or read cannot be told apart.
    """
    _check(method, metric, direction, top_k)
    sweep = Sweep(model, [(clean, corrupted)], [], direction, budget << 20)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    ends = sweep.effects([], measured)
    metrics.recovered(ends.clean, ends.clean, ends.corrupted)  # refuses two that score the same
    unit = (1 if direction == "denoise" else -1) / float(ends.clean[0] - ends.corrupted[0])
    sides = reversed(sweep.sides) if direction == "denoise" else sweep.sides
    base, donor = (side[0] for side in sides)
    about = patched.fields(model, sweep, ends, told, against)

    def result(found: _Found) -> Edges:
        about["missing"] = _missing(model, found, method, top_k)
        return Edges(
            **about,
            metric=metrics.resolve(metric),
            method=method,
            steps=steps if method == "eap-ig" else None,
            group=model.n_heads // model.n_kv_heads,
            **_effects(found, top_k, unit),
        )

    runs = _Runs(model, base, donor, measured, budget << 20)
    return sweeps.told(lambda: _exactly(runs) if method == "exact" else _checked(runs, method, steps, top_k), result)


def _check(method: Method, metric: AnyMetric, direction: Direction, top_k: int) -> None:
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} shows nothing", "Give at least 1.")
    if method == "eap" and direction == "noise" and "reference" in metrics.needs(metric):
        raise ArgumentError(
            f"{metric} is measured from the clean prediction, where it has no slope",
            "Take method='eap-ig', or direction='denoise'.",
        )


@dataclass(frozen=True)
class _Runs:
    """Two runs, what is measured at the end of the first, and the bytes that a sweep may hold beside them."""

    model: "Model"
    base: "Tokens"
    donor: "Tokens"
    metric: "Metric"
    budget: int

    def exact(self, only: torch.Tensor | None = None) -> "Scored":
        return edge_patching.exact(self.model, self.base, self.donor, self.metric, only=only, budget=self.budget)


@dataclass(frozen=True)
class _Found:
    """Edges with the scores that the method gives them, and those that were patched."""

    scored: "Scored"
    exact: "Scored"

    def top(self, count: int) -> Ranked:
        """The largest that were patched."""
        known = set(self.exact.edges)
        return [each for each in self.scored.ranked(count) if each[0] in known]


def _exactly(runs: _Runs) -> _Found:
    with telling(lambda found: found and _Found(found, found)):
        scored = runs.exact()
    return _Found(scored, scored)


def _checked(runs: _Runs, method: Method, steps: int, top_k: int) -> _Found:
    """Estimates, of which the largest are patched."""
    asked = runs.model, runs.base, runs.donor, runs.metric
    scored = methods.linear(*asked) if method == "eap" else methods.integrated(*asked, steps=steps)
    only = torch.zeros_like(scored.exists)
    for edge, _ in scored.ranked(top_k):
        only[scored.place(edge)] = True
    with telling(lambda found: found and _Found(scored, found)):
        return _Found(scored, runs.exact(only))


def _missing(model: "Model", found: _Found, method: Method, top_k: int) -> int:
    """How many edges a cancelled run had not patched of those that it was to patch."""
    wanted = len(graph(model)) if method == "exact" else min(top_k, len(found.scored))
    return max(0, wanted - len(found.exact))


def _effects(found: _Found, top_k: int, unit: float) -> dict[str, Any]:
    """The fields about edges; `unit` makes a change of the metric a share."""
    scored, top = found.scored, found.top(top_k)
    rows = zip((scored.mean.double() * unit).tolist(), scored.exists.tolist(), strict=True)
    truth = [found.exact.score(edge) for edge, _ in top]
    told = zip(top, truth, strict=True)
    guessed = torch.tensor([value for _, value in top])
    return {
        "senders": scored.senders,
        "receivers": scored.receivers,
        "effects": tuple(tuple(value if there else None for value, there in zip(*row, strict=True)) for row in rows),
        "top": tuple(
            EdgeEffect(sender=edge[0], receiver=edge[1], effect=value * unit, exact=true * unit)
            for (edge, value), true in told
        ),
        "agreement": spearman(guessed, torch.tensor(truth)) if len(top) > 2 else None,
    }
