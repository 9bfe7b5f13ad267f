"""Automated circuit discovery: edges are cut one by one, from the end back, wherever the metric hardly gets worse.

Conmy et al. 2023, "Towards Automated Circuit Discovery for Mechanistic Interpretability": receivers in reverse order of
computation, the senders of each from the last one back; an edge stays out of the circuit if cutting it, on top of all
that is cut already, worsens the metric by less than a threshold. Ours cuts queries, keys and values apart as theirs
does, and an MLP reads a whole block's heads.
"""

from collections.abc import Iterator, Sequence

from jaxtyping import Bool
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.graph import Graph
from fluoroscope.methods.selection import pruned
from fluoroscope.metrics import Metric
from fluoroscope.progress import report

_TOGETHER = 32


def acdc(
    circuits: Circuits,
    metric: Metric,
    threshold: float,
    *,
    larger_is_worse: bool = False,
    tested: Bool[Tensor, "sender receiver"] | None = None,
    together: int = _TOGETHER,
) -> Bool[Tensor, "sender receiver"]:
    """The edges that are left, without those that dangle.

    Args:
        circuits: the pairs of prompts; the metric is a mean over them.
        threshold: by how much, in units of the metric, a cut has to worsen it for its edge to stay.
        larger_is_worse: for distances such as KL from the clean prediction.
        tested: the edges that may be cut; None for all.
        together: how many cuts are tried at once, each as if all before it were made; those behind one that was not
            are tried again, so that nothing but the price depends on it.

    Raises:
        ArgumentError: a threshold that is not above 0.
        Cancelled: between blocks.
    """
    if not threshold > 0:
        raise ArgumentError(f"with a threshold of {threshold:g} no edge goes", "Give a number above 0.")
    sign = 1.0 if larger_is_worse else -1.0
    order = [edge for edge in _order(circuits.graph) if tested is None or bool(tested[edge])]
    kept = circuits.graph.exists.clone()
    worst = sign * float(circuits.scores(kept[None], metric).mean())
    done = 0
    while done < len(order):
        report("acdc", done, len(order))
        tried = order[done : done + together]
        cuts = _cut(kept, tried)
        for edge, cut, score in zip(tried, cuts, circuits.scores(cuts, metric).mean(1).tolist(), strict=True):
            done += 1
            if sign * score - worst >= threshold:  # it stays, and the cuts behind it were tried without it
                break
            kept, worst = cut, sign * score
            assert not kept[edge]
    return pruned(circuits.graph, kept)


def _cut(kept: Tensor, edges: Sequence[tuple[int, int]]) -> Bool[Tensor, "circuit sender receiver"]:
    """Circuits without the first edge, without the first two, …"""
    cuts = kept[None].repeat(len(edges), 1, 1)
    for index, (row, column) in enumerate(edges):
        cuts[index:, row, column] = False
    return cuts


def _order(graph: Graph) -> Iterator[tuple[int, int]]:
    """Every edge, from the last receiver and the last sender back."""
    for column in reversed(range(len(graph.receivers))):
        for row in reversed(graph.exists[:, column].nonzero()[:, 0].tolist()):
            yield row, column
