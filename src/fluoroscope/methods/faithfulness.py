"""What a circuit is worth: how much of what the model does it does by itself, at what size, and by which of its parts.

Faithfulness is the share of the way from the score of no edges to that of all. Its curve over sizes has two areas, CPR
(under the curve: high is good) and CMD (between the curve and 1: low is good) (Mueller et al. 2025, "MIB: A Mechanistic
Interpretability Benchmark"). Complete is a circuit without which nothing is left; minimal is one of which no part can
go (Wang et al. 2022, "Interpretability in the Wild", section 4).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import confidence, selection
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.graph import Edge, Graph
from fluoroscope.methods.selection import Kept
from fluoroscope.metrics import Metric

SIZES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""The shares of all edges at which MIB looks."""


@dataclass(frozen=True)
class Measured:
    """A mean over pairs of prompts.

    Args:
        low: lower end of its 95 % interval; None for a single pair.
        high: upper end.
    """

    mean: float
    low: float | None
    high: float | None


class Faithfulness:
    """Pairs of prompts on which circuits are judged.

    Args:
        circuits: the pairs, with the values that cut edges have.
        metric: what the model does.

    Attributes:
        clean: Float[Tensor, "pair"], the score of the whole model.
        corrupted: Float[Tensor, "pair"], the score with every edge cut.

    Raises:
        ArgumentError: both score the same, so that nothing lies between them.
    """

    def __init__(self, circuits: Circuits, metric: Metric) -> None:
        self.circuits, self.metric = circuits, metric
        self.clean, self.corrupted = circuits.scores(torch.cat([circuits.whole, circuits.empty]), metric)
        gap, size = float((self.clean - self.corrupted).mean()), float(self.clean.abs().max().clamp_min(1))
        if not abs(gap) > 1e-5 * size:
            raise ArgumentError(
                f"with all edges and with none the score is the same: {float(self.clean.mean()):.6g}",
                "No circuit can be told from another by it: choose another metric, or other prompts.",
            )

    def of(self, kept: Bool[Tensor, "circuit sender receiver"]) -> list[Measured]:
        """Faithfulness of circuits: 0 as no edges, 1 as all of them; it may lie beyond both.

        A ratio of means over pairs, so that no pair with a small gap counts more than others; its interval is that of
        the mean of what each pair adds to it, to first order.
        """
        done, way = self.circuits.scores(kept, self.metric) - self.corrupted, self.clean - self.corrupted
        ratio = (done.mean(1) / way.mean())[:, None]
        values = ratio + (done - ratio * way) / way.mean()
        low, high = confidence.interval(values.T)
        known = values.shape[1] > 1
        return [
            Measured(mean, low if known else None, high if known else None)
            for mean, low, high in zip(ratio[:, 0].tolist(), low.tolist(), high.tolist(), strict=True)
        ]

    def completeness(self, kept: Kept) -> Measured:
        """What the model does without the edges of a circuit: nothing, where it is complete."""
        return self.of((self.circuits.graph.exists & ~kept)[None])[0]

    def random(self, count: int, draws: int, seed: int = 0) -> list[Measured]:
        """Random circuits of so many edges, each connected to the logits."""
        drawn = [selection.drawn(self.circuits.graph, count, seed + draw) for draw in range(draws)]
        return self.of(torch.stack(drawn)) if drawn else []

    def without(self, kept: Kept, parts: Sequence[Kept]) -> list[float]:
        """What a circuit loses with each of some parts of its edges."""
        if not parts:
            return []
        whole, *others = self.of(torch.stack([kept, *(kept & ~part for part in parts)]))
        return [whole.mean - other.mean for other in others]


Select = Callable[[Graph, int], Kept]


def curve(scored: Graph, select: Select, sizes: Sequence[float] = SIZES) -> list[Kept]:
    """A circuit of each size, as a share of all edges; at least one edge."""
    return [select(scored, max(1, int(size * len(scored)))) for size in sizes]


def areas(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """CPR and CMD of a curve of faithfulness, by the trapezoid rule between the sizes that were measured.

    Raises:
        ArgumentError: as many values as sizes are needed, two at least, in rising order.
    """
    if len(sizes) != len(values) or len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise ArgumentError(f"{len(values)} values at sizes {list(sizes)} are no curve", "Give rising sizes.")
    points = list(pairwise(zip(sizes, values, strict=True)))
    under = sum((right - left) * (low + high) / 2 for (left, low), (right, high) in points)
    beside = sum((right - left) * (abs(1 - low) + abs(1 - high)) / 2 for (left, low), (right, high) in points)
    return under, beside


def by_node(graph: Graph, kept: Kept) -> dict[str, Kept]:
    """For each node of a circuit the edges that it sends, without which nobody knows of it."""
    found: dict[str, Kept] = {}
    for row in kept.any(1).nonzero()[:, 0].tolist():
        found[graph.senders[row]] = torch.zeros_like(kept)
        found[graph.senders[row]][row] = kept[row]
    return found


def by_edge(graph: Graph, kept: Kept) -> dict[Edge, Kept]:
    """Each edge of a circuit by itself."""
    found: dict[Edge, Kept] = {}
    for row, column in kept.nonzero().tolist():
        part = torch.zeros_like(kept)
        part[row, column] = True
        found[graph.senders[row], graph.receivers[column]] = part
    return found
