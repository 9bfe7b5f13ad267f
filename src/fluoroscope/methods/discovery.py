"""Finding a circuit on pairs of prompts: by the scores of all edges and a size, or by cutting edges one by one."""

from dataclasses import dataclass
from typing import Literal

import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import edge_patching, edges, faithfulness, selection
from fluoroscope.methods.acdc import acdc
from fluoroscope.methods.faithfulness import SIZES, Faithfulness
from fluoroscope.methods.graph import Edge, Graph
from fluoroscope.methods.selection import Kept

Method = Literal["eap-ig", "eap", "exact", "acdc"]
"""Edge attribution patching with integrated gradients or from one backward pass, patching of each edge, or ACDC."""

FAITHFUL = 0.95
"""What a circuit has to do, by default, of what the model does."""
LADDER = (*SIZES[:-2], 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The sizes among which one is chosen: MIB's, and finer ones where those are far apart."""


@dataclass(frozen=True, eq=False)
class Found:
    """A circuit, and what says so.

    Args:
        scored: the graph with what cutting each edge adds to the metric; None for ACDC, which scores none.
        below: the largest share of all edges that was looked at and did too little; None where no size was chosen.
    """

    kept: Kept
    scored: Graph | None
    below: float | None = None


def find(finding: Faithfulness, method: Method, *, size: float | None, threshold: float, steps: int = 5) -> Found:
    """The circuit of some pairs of prompts.

    Args:
        size: as `selection.size` takes it; None for the smallest of `LADDER` that does 95 %. ACDC has none.
        threshold: of ACDC, in units of the metric.
        steps: of integrated gradients.

    Raises:
        ArgumentError: a size that is none, or no edge is left.
    """
    runs = finding.circuits
    if method == "acdc":
        worse = bool(finding.clean.mean() < finding.corrupted.mean())
        found = Found(acdc(runs, finding.metric, threshold, larger_is_worse=worse), None)
    else:
        scored = scores(finding, method, steps)
        count, below = (selection.size(scored, size), None) if size is not None else _count(scored, finding)
        found = Found(selection.top(scored, count), scored, below)
    if not bool(found.kept.any()):
        one = " From 1 on a size is a number of edges: 0.1 is a tenth of all." if size is not None and size >= 1 else ""
        raise ArgumentError(
            "no edge is left in the circuit: none of those chosen lie on a way from an embedding to the logits",
            f"Ask for {'a smaller threshold' if method == 'acdc' else 'a larger size'}.{one}",
        )
    return found


def scores(finding: Faithfulness, method: Method, steps: int) -> Graph:
    """The graph with what cutting each edge adds to the metric, exactly or as estimated."""
    runs, metric = finding.circuits, finding.metric
    if method == "exact":
        return edge_patching.exact(runs.model, runs.tokens, runs.elsewhere, metric, budget=runs.budget)
    if method == "eap":
        return edges.linear(runs.model, runs.tokens, runs.corrupted, metric)
    return edges.integrated(runs.model, runs.tokens, runs.corrupted, metric, steps=steps)


def values(finding: Faithfulness, found: Found) -> dict[Edge, float]:
    """What cutting each edge of a circuit alone would lose, as a share of the way from corrupted to clean.

    By its score, of what the model does; where there is none, what the circuit itself loses without it.
    """
    parts = faithfulness.by_edge(finding.circuits.graph, found.kept)
    if found.scored is None:
        return dict(zip(parts, finding.without(found.kept, list(parts.values())), strict=True))
    way = float((finding.clean - finding.corrupted).mean())
    return {edge: -found.scored.score(edge) / way for edge in parts}


def _count(scored: Graph, finding: Faithfulness) -> tuple[int, float]:
    """How many edges the first circuit on the ladder has that does enough, and the share that did too little."""
    faithful = finding.of(torch.stack(faithfulness.curve(scored, selection.top, LADDER)))
    step = next((step for step, each in enumerate(faithful) if each.mean >= FAITHFUL), len(LADDER) - 1)
    return max(1, int(LADDER[step] * len(scored))), LADDER[step - 1] if step else 0.0
