"""The part of a model that does a task by itself, edge by edge, and how faithful it is.

Edges are ranked, or cut one by one (ACDC: Conmy et al. 2023), on some pairs of prompts; the circuit of the best is then
run on other pairs, with all other edges cut: what its heads and MLPs read of everything else is the corrupted prompt's.
Held against the whole model, against the rest of it, and against random circuits (Hanna et al. 2024, "Have Faith in
Faithfulness"; Mueller et al. 2025, "MIB"; Wang et al. 2022).
"""

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import torch

from fluoroscope import metrics, tasks, wiring
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.marks import Series
from fluoroscope.methods import discovery, faithfulness, selection, sweeps
from fluoroscope.methods.circuits import Ablation, Circuits
from fluoroscope.methods.discovery import FAITHFUL, Found, Method
from fluoroscope.methods.faithfulness import SIZES, Faithfulness
from fluoroscope.patched import UNITS
from fluoroscope.progress import telling
from fluoroscope.render.text import counted, number, percent
from fluoroscope.render.text import share as share_text
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken
from fluoroscope.tasks import measured
from fluoroscope.tasks.measured import Measured
from fluoroscope.views import Bar, Bars, Graph, Lines, Mark, Table, View
from fluoroscope.wiring import Wire

if TYPE_CHECKING:
    import networkx

    from fluoroscope.methods.faithfulness import Measured as Worth
    from fluoroscope.methods.graph import Graph as Scored
    from fluoroscope.methods.selection import Kept
    from fluoroscope.model import Model

THEME = "Causes"

_RANDOM = 5
_THRESHOLD = 0.1
_DRAWN = 40
_CUT = {
    "resample": "what the corrupted prompt gives",
    "mean": "their mean over the tokens of all corrupted prompts",
    "zero": "nothing",
}


class Share(Record):
    """A mean over pairs of prompts, with the ends of its 95 % interval; None for a single pair."""

    mean: float
    low: float | None
    high: float | None

    def ends(self) -> str:
        """91 % to 97 %; nothing for a single pair."""
        return "" if self.low is None or self.high is None else f"{share_text(self.low)} to {share_text(self.high)}"

    def told(self) -> str:
        """94 % (91 % to 97 %)."""
        return f"{share_text(self.mean)} ({self.ends()})" if self.ends() else share_text(self.mean)


class Size(Record):
    """A circuit of one size.

    Args:
        share: of all edges that were asked for; `edges` is how many are left without those that dangle.
    """

    share: float
    edges: int
    faithfulness: Share


class Loss(Record):
    """What the circuit loses without a node: a share of what the whole model does."""

    node: str
    loss: float


class Circuit(Result):
    """A circuit with what it is worth.

    Args:
        task: its name; None for a pair of one's own. `clean` and `corrupted` are the first pair.
        found_on: how many pairs it was found on; `judged_on` how many it is judged on: of a task others.
        method: how edges were chosen; `threshold` is ACDC's, in units of the metric, else None.
        group: how many heads share a key and a value.
        total: how many edges the model has.
        edges: the circuit, without those that dangle; a value is what cutting that edge alone would lose of what the
            model does, as the method says it; after ACDC what the circuit loses without it.
        clean_score: mean metric of the whole model; `corrupted_score` with every edge cut; `score` of the circuit.
        faithfulness: share of the way from the corrupted score to the clean one.
        rest: the same for the model without the circuit's edges: 0 where the circuit is complete.
        random: the same for random circuits of as many edges, connected to the logits.
        curve: circuits of all sizes; empty for ACDC, which has one. `cpr` is the area under it, `cmd` the area between
            it and 1, as MIB defines them.
        without: what the circuit loses without each node, if asked for.
        below: the largest share of all edges that was tried and did less than 95 % where the circuit was found; None
            where the size was given, and for ACDC.
        missing: how many of its further measures a cancelled run had not taken: `random`, `curve` and `without`.
    """

    task: str | None
    clean: str
    corrupted: str
    found_on: int
    judged_on: int
    method: Method
    threshold: float | None
    ablation: Literal["resample", "mean", "zero"]
    metric: str
    group: int
    total: int
    edges: tuple[Wire, ...]
    clean_score: float
    corrupted_score: float
    score: float
    faithfulness: Share
    rest: Share
    random: tuple[float, ...]
    curve: tuple[Size, ...]
    cpr: float | None
    cmd: float | None
    without: tuple[Loss, ...]
    below: float | None = None
    missing: int = 0

    def summary(self) -> str:
        many = f"{len(self.edges):,} of {self.total:,} edges ({percent(len(self.edges) / self.total)})"
        new = counted(self.judged_on, "new pair")
        where = f"on {new} of {self.task}" if self.task else "on this pair, which it was found on"
        chance = f"; random circuits of its size do {share_text(fmean(self.random))}" if self.random else ""
        none = self.below is not None and len(self.edges) == self.total
        found = (
            f"No circuit of {percent(self.below or 0)} of the edges or less does {percent(FAITHFUL)}: " if none else ""
        )
        stopped = f"Partial, {counted(self.missing, 'measure')} of the circuit not taken. " if self.missing else ""
        return (
            f"{stopped}{found}{many} do {self.faithfulness.told()} of what the model does {where}, in {self.measured()}"
            f"{chance}; without them {self.rest.told()} is left."
        )

    def measured(self) -> str:
        """The metric with its two ends."""
        unit = UNITS.get(self.metric, "")
        ends = f"{number(self.clean_score)} with all edges, {number(self.corrupted_score)} with none"
        return f"{self.metric.replace('_', ' ')} ({ends}{f', in {unit}' if unit else ''})"

    def views(self) -> list[View]:
        return [self._graph(_DRAWN), self._worth(), *self._sizes(), *self._losses(), self._table()]

    def network(self) -> Graph:
        """The whole circuit, as .dot and .graphml files hold it."""
        return self._graph(len(self.edges) * self.group)

    def _graph(self, most: int) -> Graph:
        drawn = "" if len(self.edges) <= most else f" Drawn are the {most} largest that hang together."
        caption = f"{self._valued()} Query, key and value of one head are one node.{drawn}"
        return wiring.picture("The circuit", caption, "share", self.edges, self.group, most)

    def _valued(self) -> str:
        if self.method == "acdc":
            return "The value of an edge is the share of what the model does that the circuit loses without it."
        by = {"eap": "one backward pass", "eap-ig": "integrated gradients", "exact": "patching it"}[self.method]
        return f"The value of an edge is the share of what the model does that cutting it alone would lose, by {by}."

    def _worth(self) -> Bars:
        """The circuit beside what is left without it, and beside chance."""
        items = [
            Bar(label=label, value=each.mean, remark="" if each.low is None else f"95 %: {each.ends()}")
            for label, each in (("the circuit", self.faithfulness), ("the model without it", self.rest))
        ]
        if self.random:
            least, largest = share_text(min(self.random)), share_text(max(self.random))
            remark = f"{len(self.random)} of them: {least} to {largest}"
            items.append(Bar(label="random circuits of its size", value=fmean(self.random), remark=remark))
        return Bars(
            title="What a circuit does of what the model does",
            caption=f"Share of the way from no edges to all, in {self.measured()}; cut edges carry "
            f"{_CUT[self.ablation]}. A complete circuit leaves nothing to the model without it. What is found on some "
            "prompts need not hold on others.",
            unit="share",
            signed=True,
            reach=1.0,
            items=tuple(items),
        )

    def _sizes(self) -> list[View]:
        if not self.curve:
            return []
        return [Lines(
            title="Faithfulness by size",
            caption=f"Circuits of the best edges, by share of all {self.total:,}. Area under the curve (CPR) "
            f"{number(self.cpr)}, between it and 1 (CMD) {number(self.cmd)}.",
            unit="share",
            x=tuple(Mark(label=f"{100 * size.share:g} %") for size in self.curve),
            series=(Series(label="faithfulness", values=tuple(size.faithfulness.mean for size in self.curve)),),
        )]  # fmt: skip

    def _losses(self) -> list[View]:
        if not self.without:
            return []
        ranked = sorted(self.without, key=lambda each: -abs(each.loss))
        return [Bars(
            title="What the circuit loses without a node",
            caption="All edges that it sends are cut. A node that loses nothing may still be needed with another, as "
            "a backup is.",
            unit="share",
            signed=True,
            items=tuple(Bar(label=wiring.label(each.node), value=each.loss) for each in ranked),
        )]  # fmt: skip

    def _table(self) -> Table:
        ranked = sorted(self.edges, key=lambda wire: -abs(wire.value))[:_DRAWN]
        more = f" These are the largest {_DRAWN}; JSON holds all." if len(self.edges) > _DRAWN else ""
        caption = f"{self._valued()}{more}"
        return wiring.table("Edges of the circuit", caption, "value", ranked, self.group)

    def to_networkx(self) -> "networkx.DiGraph[str]":
        """The circuit as a networkx graph: a node for each sender and receiver, edges with their values.

        A receiver (L1H0.q) leads to the nodes that it is part of (L1H0) by an edge that has none.

        Raises:
            ArgumentError: networkx is not installed.
        """
        return wiring.to_networkx(self.edges, self.group)


@checked
def circuit(
    model: "Model",
    *,
    task: str | None = None,
    clean: AnyPrompt | None = None,
    corrupted: AnyPrompt | None = None,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    pairs: int = 8,
    method: Literal["eap-ig", "eap", "exact", "acdc"] = "eap-ig",
    size: float | None = None,
    threshold: float | None = None,
    ablation: Literal["resample", "mean", "zero"] = "resample",
    metric: AnyMetric = "logit_diff",
    leave_out: bool = False,
    seed: int = 0,
    budget: int = 1024,
) -> Circuit:
    """Finds the circuit of a task, or of one pair of prompts, and measures how much of the model it accounts for.

    Args:
        task: instead of a pair one of agreement, arithmetic, docstring, duplicate_token, facts, gender_pronoun,
            greater_than, induction, ioi and presets.
        clean: the prompt that is answered as it should be, where it is about a single pair.
        corrupted: one of as many tokens that is answered otherwise.
        answer: of a single pair the token that is right, as text or id (#338), or several (" Mary| Anna"); without it
            the model's own prediction.
        foil: likewise what it is held against; without it the model's own prediction after the corrupted prompt.
        pairs: of a task, how many the circuit is found on; as many others are there to judge it.
        method: how edges are ranked (eap-ig, eap, or exact patching of each), or acdc, which cuts them one by one.
        size: of the circuit, as a share of all edges below 1 or as a number of edges; without it the smallest of a
            few sizes that does 95 % on the pairs it is found on.
        threshold: by how much, in units of the metric, a cut has to make it worse for acdc to keep the edge; without
            it 0.1. The other methods have a size instead.
        ablation: what cut edges carry: what the corrupted prompt gives (resample), the mean of that over all tokens,
            or nothing (zero). Ranking by eap and eap-ig is always about the corrupted prompt.
        metric: what is measured at the end of the prompt.
        leave_out: whether to run the circuit without each of its nodes.
        seed: of the pairs of a task and of the random circuits.
        budget: megabytes that circuits which run together may hold beside the model.

    Raises:
        ArgumentError: neither task nor pair, both, prompts of unequal length or answered alike, or no such size.
        TokenError: answer or foil is not one token or a set of them.
        UnavailableError: what the parts of this model write or read cannot be told apart.
    """
    _check(method, size, threshold, metric)
    tasks.check_count(pairs)
    found, judged = _prompts(model, (task, clean, corrupted, answer, foil), metric, pairs, seed)
    finding, judging = (_judge(model, each, ablation, budget) for each in (found, judged))
    least = _THRESHOLD if threshold is None else threshold
    made = discovery.find(finding, method, size=size, threshold=least)
    about: dict[str, Any] = {
        "recipe": model.recipe(judged.clean, seed=seed), "task": task, "method": method, "ablation": ablation,
        "threshold": least if method == "acdc" else None, "metric": metrics.resolve(metric),
        **_found(model, finding, found, made),
    }  # fmt: skip
    measures = partial(_worth, judging, made, seed, leave_out=leave_out)
    return sweeps.told(measures, lambda worth: Circuit(**about, **worth))


def _check(method: Method, size: float | None, threshold: float | None, metric: AnyMetric) -> None:
    if method != "acdc" and threshold is not None:
        raise ArgumentError(f"{method} has no threshold", "Leave it out, and give a size; or take method='acdc'.")
    if method == "acdc" and size is not None:
        raise ArgumentError("acdc finds its own size", "Leave size out; a larger threshold leaves fewer edges.")
    if method == "eap" and "reference" in metrics.needs(metric):
        raise ArgumentError(
            f"{metric} is measured from the clean prediction, where it has no slope", "Take method='eap-ig'."
        )


def _prompts(
    model: "Model", asked: tuple[Any, ...], metric: AnyMetric, pairs: int, seed: int
) -> tuple[Measured, Measured]:
    """What a circuit is found on, and what it is judged on: for a pair of one's own the same."""
    task, clean, corrupted, answer, foil = asked
    if task is not None:
        if any(each is not None for each in (clean, corrupted, answer, foil)):
            raise ArgumentError("a task has prompts and answers of its own", "Give a task, or a pair of prompts.")
        return measured.of_task(model, task, metric, pairs, seed)
    if clean is None or corrupted is None:
        known = ", ".join(tasks.names())
        raise ArgumentError("a circuit needs a task, or a clean and a corrupted prompt", f"Tasks: {known}.")
    both = measured.of_pair(model, clean, corrupted, metric, answer, foil)
    return both, both


def _judge(model: "Model", asked: Measured, ablation: Ablation, budget: int) -> Faithfulness:
    return Faithfulness(Circuits(model, asked.clean, asked.corrupted, ablation, budget=budget << 20), asked.metric)


def _found(model: "Model", finding: Faithfulness, found: Measured, made: Found) -> dict[str, Any]:
    """The fields about what was found, and on what."""
    values = discovery.values(finding, made)
    return {
        "clean": found.first[0],
        "corrupted": found.first[1],
        "found_on": len(found.clean),
        "group": model.n_heads // model.n_kv_heads,
        "total": len(finding.circuits.graph),
        "edges": tuple(Wire(sender=ends[0], receiver=ends[1], value=value) for ends, value in values.items()),
        "below": made.below,
    }


_UNTAKEN: dict[str, Any] = {"random": (), "curve": (), "cpr": None, "cmd": None, "without": ()}


def _worth(judging: Faithfulness, made: Found, seed: int, *, leave_out: bool) -> dict[str, Any]:
    """The fields about what a circuit does, one measure after the other."""
    found: dict[str, Any] = {**_UNTAKEN, **_faithful(judging, made.kept)}
    left: list[Callable[[], dict[str, Any]]] = [
        lambda: {"random": tuple(each.mean for each in judging.random(int(made.kept.sum()), _RANDOM, seed))},
        *([] if made.scored is None else [partial(_curve, judging, made.scored)]),
        *([partial(_without, judging, made.kept)] if leave_out else []),
    ]
    with telling(lambda _: {**found, "missing": len(left)}):
        while left:
            found |= left[0]()
            del left[0]
    return found


def _faithful(judging: Faithfulness, kept: "Kept") -> dict[str, Any]:
    faithful = judging.of(kept[None])[0]
    start, end = float(judging.corrupted.mean()), float(judging.clean.mean())
    return {
        "judged_on": len(judging.circuits),
        "clean_score": end,
        "corrupted_score": start,
        "score": start + faithful.mean * (end - start),
        "faithfulness": _share(faithful),
        "rest": _share(judging.completeness(kept)),
    }


def _without(judging: Faithfulness, kept: "Kept") -> dict[str, Any]:
    nodes = faithfulness.by_node(judging.circuits.graph, kept)
    losses = judging.without(kept, list(nodes.values()))
    return {"without": tuple(Loss(node=node, loss=loss) for node, loss in zip(nodes, losses, strict=True))}


def _curve(judging: Faithfulness, scored: "Scored") -> dict[str, Any]:
    """The fields about circuits of all sizes."""
    kept = faithfulness.curve(scored, selection.top)
    faithful = judging.of(torch.stack(kept))
    cpr, cmd = faithfulness.areas(SIZES, [each.mean for each in faithful])
    rows = zip(SIZES, map(torch.sum, kept), map(_share, faithful), strict=True)
    sizes = tuple(Size(share=share, edges=int(edges), faithfulness=worth) for share, edges, worth in rows)
    return {"curve": sizes, "cpr": cpr, "cmd": cmd}


def _share(worth: "Worth") -> Share:
    return Share(mean=worth.mean, low=worth.low, high=worth.high)
