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


@dataclass(frozen=True, eq=False)
class Found:
    """A circuit, and what says so.

    Args:
        scored: the graph with what cutting each edge adds to the metric; None for ACDC, which scores none.
    """

    kept: Kept
    scored: Graph | None


def find(finding: Faithfulness, method: Method, *, size: float | None, threshold: float, steps: int = 5) -> Found:
    """The circuit of some pairs of prompts.

    Args:
        size: as `selection.size` takes it; None for the smallest of `faithfulness.SIZES` that does 95 %. ACDC has none.
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
        found = Found(selection.top(scored, _count(scored, finding, size)), scored)
    if not bool(found.kept.any()):
        raise ArgumentError("no edge is left in the circuit", "Ask for a larger size, or a smaller threshold.")
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


def _count(scored: Graph, finding: Faithfulness, size: float | None) -> int:
    """How many edges: as asked for, or those of the first circuit on the curve that does enough."""
    if size is not None:
        return selection.size(scored, size)
    faithful = finding.of(torch.stack(faithfulness.curve(scored, selection.top)))
    enough = next((share for share, each in zip(SIZES, faithful, strict=True) if each.mean >= FAITHFUL), 1.0)
    return max(1, int(enough * len(scored)))
