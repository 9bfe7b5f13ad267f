"""`acdc` of mlxterp under its name: edges are cut one by one, and the circuit that is left is judged.

There, nodes were patched one by one, every ordered pair of those that were kept was called an edge, and a threshold for
recoveries was held against distances, so that of kl the parts that matter least were kept. Here a threshold is a share
of the way from the corrupted prompt's score to the clean one's, whatever the metric.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from fluoroscope import offer, wiring
from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable import recoveries
from fluoroscope.interpretable.opened import xray
from fluoroscope.interpretable.recoveries import Own
from fluoroscope.methods import acdc as method
from fluoroscope.methods import faithfulness
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.faithfulness import Faithfulness
from fluoroscope.render.text import counted, number, share
from fluoroscope.result import Result
from fluoroscope.views import Bar, Bars, Graph, Table, View
from fluoroscope.wiring import Wire

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.methods.graph import Graph as Edges
    from fluoroscope.methods.selection import Kept
    from fluoroscope.model import Model, Prompt

Component = Literal["attn", "mlp"]

_PARTS: dict[str, Component] = {"attn_out": "attn", "z": "attn", "mlp_out": "mlp"}
_RANDOM = 5


class CircuitResult(Result):
    """The edges that are left, and how much of the model they are.

    Args:
        components: the kinds of parts whose edges were tested, in `layers`; edges that others send were not cut, and
            are not listed.
        threshold: the share of the way that cutting an edge had to cost for it to stay.
        nodes: the ends of the edges, in the order of computation: embed, heads (L4H2), MLPs (mlp.0), logits.
        edges: sender, receiver (L4H2.v: the value of L4H2) and weight: the share of the way that the circuit loses
            without this edge.
        tested: how many edges were tested; `untested` were not, because other parts send them, and stay.
        group: how many heads share a key and a value.
        pairs: how many pairs of prompts scores are means over.
        faithfulness: share of the way from the corrupted score to the clean one that the circuit goes.
        rest: the same for the model without the circuit's edges: 0 where the circuit is complete.
        random: the same for random circuits of as many edges; empty where not all edges were tested.
    """

    components: tuple[Component, ...]
    layers: tuple[int, ...]
    threshold: float
    nodes: list[str]
    edges: list[tuple[str, str, float]]
    tested: int
    untested: int
    group: int
    pairs: int
    metric_name: str
    clean_score: float
    corrupted_score: float
    faithfulness: float
    rest: float
    random: tuple[float, ...]

    @property
    def result_type(self) -> str:
        return "circuit"

    @property
    def data(self) -> dict[str, Any]:
        """The numbers by name."""
        names = ("faithfulness", "rest", "random", "threshold", "clean_score", "corrupted_score")
        return {name: getattr(self, name) for name in names}

    @property
    def metadata(self) -> dict[str, Any]:
        """How they were made."""
        return {name: getattr(self, name) for name in ("components", "layers", "metric_name", "pairs", "tested")}

    def to_graph(self) -> dict[str, list[dict[str, Any]]]:
        """Nodes, and edges between them by id; `reads` says by which way: q, k or v of a head, else None."""
        return {
            "nodes": [{"id": name} for name in self.nodes],
            "edges": [
                {"source": sender, "target": node, "weight": weight, "reads": receiver.partition(".")[2] or None}
                if node != receiver else {"source": sender, "target": node, "weight": weight, "reads": None}
                for sender, receiver, weight in self.edges
                for node in wiring.readers(receiver, self.group)
            ],
        }  # fmt: skip

    def summary(self) -> str:
        chance = f"; random circuits of its size do at most {share(max(self.random))}" if self.random else ""
        return (
            f"Circuit: {counted(len(self.nodes), 'node')}, {len(self.edges):,} of {self.tested:,} tested edges "
            f"(threshold {share(self.threshold)}) do {share(self.faithfulness)} of what the model does, in "
            f"{self.metric_name} ({number(self.corrupted_score)} corrupted, {number(self.clean_score)} clean), on "
            f"{counted(self.pairs, 'pair')} that it was found on; without them {share(self.rest)} is left{chance}."
            + (f" {self.untested:,} edges that other parts send were not tested, and stay." if self.untested else "")
        )

    def views(self) -> list[View]:
        return [self._graph(), self._worth(), self._table()]

    def network(self) -> Graph:
        """The whole circuit, as .dot and .graphml files hold it."""
        return self._graph(len(self.edges) * self.group)

    def _wires(self) -> list[Wire]:
        return [Wire(sender=sender, receiver=receiver, value=weight) for sender, receiver, weight in self.edges]

    def _graph(self, most: int = 40) -> Graph:
        caption = "The value of an edge is the share of the way that the circuit loses without it."
        return wiring.picture("The circuit", caption, "share", self._wires(), self.group, most)

    def _worth(self) -> Bars:
        items = [("the circuit", self.faithfulness), ("the model without it", self.rest)]
        items += [("the best random circuit of its size", max(self.random))] if self.random else []
        return Bars(
            title="What a circuit does of what the model does",
            caption="Share of the way from the corrupted score to the clean one, on the prompts it was found on: on "
            "others it may do less.",
            unit="share", signed=True, reach=1.0, items=tuple(Bar(label=label, value=value) for label, value in items),
        )  # fmt: skip

    def _table(self) -> Table:
        ranked = sorted(self._wires(), key=lambda wire: -abs(wire.value))
        return wiring.table("Edges of the circuit", "The largest first.", "weight", ranked, self.group)


def acdc(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    threshold: float = 0.01,
    components: Sequence[str] = ("attn", "mlp"),
    layers: Sequence[int] | None = None,
    metric: str | Own | None = "l2",
    metric_kwargs: Mapping[str, Any] | None = None,
    *,
    budget: int = 1 << 30,
) -> CircuitResult:
    """Cuts edges one by one, from the logits back, wherever that costs less than the threshold (Conmy et al. 2023).

    A cut edge carries what the corrupted prompt gives. There is one pass over all edges, as in the paper.

    Args:
        clean: a prompt, or several, each with the corrupted one of its index; scores are means over them.
        threshold: the share of the way from the corrupted score to the clean one that a cut has to cost for its edge
            to stay.
        components: whose edges are tested: attn (every head by itself) and mlp; those of embeddings always are.
        layers: likewise; None for all.
        metric: as for `activation_patching`, with `metric_kwargs`.
        budget: bytes that circuits which run together may hold beside the model.

    Raises:
        ArgumentError: a threshold that is not above 0, no such component, prompts of unequal length or scored alike.
        SiteError, UnavailableError: a layer that this model does not have, or parts that cannot be told apart.
        TokenError: a token that is not one.
    """
    model = xray(model)
    if not 0 < threshold <= 1:
        raise ArgumentError(f"threshold={threshold:g} is no share of the way", "Give a number above 0, at most 1.")
    chosen = _parts(model, components, range(model.n_layers) if layers is None else layers)
    sweep = recoveries.pairs(model, clean, corrupted)
    made, name = recoveries.made(model, sweep, metric, metric_kwargs)
    sides = [model.tokens([tokens.rows[0] for tokens in side]) for side in sweep.sides]
    judging = Faithfulness(Circuits(model, sides[0], sides[1], budget=budget), made)
    graph = judging.circuits.graph
    group = model.n_heads // model.n_kv_heads
    tested, gap = _tested(graph, *chosen), float((judging.clean - judging.corrupted).mean())
    kept = method.acdc(judging.circuits, made, threshold * abs(gap), larger_is_worse=gap < 0, tested=tested)
    return CircuitResult(
        recipe=model.recipe(sides[0]),
        components=chosen[0],
        layers=chosen[1],
        threshold=threshold,
        tested=int(tested.sum()),
        untested=int((graph.exists & ~tested).sum()),
        group=group,
        pairs=len(sides[0]),
        metric_name=name,
        clean_score=float(judging.clean.mean()),
        corrupted_score=float(judging.corrupted.mean()),
        **_worth(judging, kept, tested, group),
    )


def _parts(
    model: "Model", components: Sequence[str], layers: Sequence[int]
) -> tuple[tuple[Component, ...], tuple[int, ...]]:
    """The kinds of parts and the blocks whose edges are tested."""
    listed = [components] if isinstance(components, str) else list(components)
    if not listed or not layers:
        raise ArgumentError("nothing is tested", "Name attn, mlp or both, and at least one layer.")
    found: dict[Component, None] = {}
    for name in listed:
        sites = {offer.component(model, name, layer).name for layer in layers}
        for site in sites:
            if site not in _PARTS:
                raise ArgumentError(f"{name!r} sends no edge of its own", "Components are attn and mlp.")
            found[_PARTS[site]] = None
    return tuple(found), tuple(dict.fromkeys(layers))


def _tested(graph: "Edges", components: Sequence[Component], layers: Sequence[int]) -> Bool[Tensor, "sender receiver"]:
    """The edges that embeddings send, and those of the parts that were asked for."""
    wanted = [
        name.endswith("embed")
        or (name.startswith("L") and "attn" in components and int(name[1:].partition("H")[0]) in layers)
        or (name.startswith("mlp.") and "mlp" in components and int(name[4:]) in layers)
        for name in graph.senders
    ]
    return graph.exists & torch.tensor(wanted)[:, None]


def _worth(judging: Faithfulness, kept: "Kept", tested: Bool[Tensor, "sender receiver"], group: int) -> dict[str, Any]:
    """The fields about what was found."""
    graph, own = judging.circuits.graph, kept & tested
    parts = faithfulness.by_edge(graph, own)
    weights = judging.without(kept, list(parts.values()))
    ends = {end for sender, receiver in parts for end in (sender, *wiring.readers(receiver, group))}
    everything = bool((tested == graph.exists).all()) and bool(own.any())
    return {
        "nodes": [name for name in (*graph.senders, "logits") if name in ends],
        "edges": [(*edge, weight) for edge, weight in zip(parts, weights, strict=True)],
        "faithfulness": judging.of(kept[None])[0].mean,
        "rest": judging.completeness(own).mean,
        "random": tuple(each.mean for each in judging.random(int(own.sum()), _RANDOM)) if everything else (),
    }
