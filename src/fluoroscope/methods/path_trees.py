"""Path patching from the answer backwards: who reaches the logits, who reaches what these read, and so on.

Every edge is measured by itself, by path patching to the final answer; nothing is inferred from edges below it. Wang et
al. 2022, "Interpretability in the Wild", found the circuit of indirect object identification in these steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from fluoroscope.methods import paths
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.metrics import Metric
from fluoroscope.progress import report, telling
from fluoroscope.sites import Site

LOGITS = Site("logits")


@dataclass(frozen=True)
class Edge:
    """What a sender does to the answer through one receiver alone.

    Args:
        sender: a head (z.3.1), an MLP or embed.
        receiver: what reads it: queries, keys or values (those of a kv head), an MLP or logits.
        node: the head, MLP or logits that the receiver is of.
        share: of the way to the other prompt's score; `score` is the metric then.
    """

    sender: Site
    receiver: Site
    node: Site
    share: float
    score: float


@dataclass(frozen=True)
class Growth:
    """How a tree grows.

    Args:
        breadth: at most so many senders into each receiver.
        depth: how many edges back from the logits.
        least: the size of a share that is worth an edge.
        hold_mlps: whether MLPs between two nodes keep their values, so that only the direct path is left.
    """

    breadth: int
    depth: int
    least: float
    hold_mlps: bool


@dataclass(frozen=True)
class Tree:
    """What was found.

    Args:
        edges: level by level and the largest first.
        measured: how many were measured.
        missing: how many receivers of the last level a cancelled run had not looked into.
    """

    edges: tuple[Edge, ...]
    measured: int
    missing: int = 0


def tree(sweep: Sweep, metric: Metric, growth: Growth) -> Tree:
    """The edges back from the logits. Every node is looked into once, from the level where it is first met.

    Raises:
        Cancelled: between blocks, with what was found, if that is anything.
        ArgumentError: beyond the budget.
    """
    found: list[Edge] = []
    level, known = [LOGITS], {LOGITS}
    shared: dict[Site, list[Edge]] = {}
    reading: list[tuple[Site, Site]] = []
    done = 0

    def so_far() -> Tree:
        return Tree(tuple(found), sum(map(len, shared.values())), len(reading) - done)

    with telling(lambda _: so_far() if found else None):
        for depth in range(growth.depth):
            reading, level = [(node, receiver) for node in level for receiver in receivers(sweep, node)], []
            for done, (node, receiver) in enumerate(reading):
                report(f"level {depth + 1}", done, len(reading))
                if receiver not in shared:
                    shared[receiver] = _into(sweep, metric, receiver, growth.hold_mlps)
                for edge in _largest(shared[receiver], growth):
                    found.append(Edge(edge.sender, receiver, node, edge.share, edge.score))
                    if edge.sender not in known and edge.sender.layer is not None:
                        known.add(edge.sender)
                        level.append(edge.sender)
            done = len(reading)
            report(f"level {depth + 1}", done, len(reading))
    return so_far()


def receivers(sweep: Sweep, node: Site) -> list[Site]:
    """What a node reads by: a head's queries, keys and values, or the node itself."""
    if node.name != "z":
        return [node]
    return [paths.receiver(sweep.replay.model, node, reads) for reads in get_args(paths.Reads)]


def chain(edges: Sequence[Edge]) -> list[Edge]:
    """The strongest edge into the logits, the strongest into its sender, and so on: from the end backwards."""
    found: list[Edge] = []
    node = LOGITS
    while into := [edge for edge in edges if edge.node == node]:
        found.append(max(into, key=lambda edge: abs(edge.share)))
        node = found[-1].sender
    return found


def _into(sweep: Sweep, metric: Metric, receiver: Site, hold_mlps: bool) -> list[Edge]:
    """Every edge into a receiver."""
    senders = paths.senders(sweep.replay.model, [receiver])
    effects = paths.effects(sweep, [Part((site,)) for site in senders], [receiver], metric, hold_mlps=hold_mlps)
    values = zip(senders, effects.shares[:, 0].tolist(), effects.scores[:, 0].tolist(), strict=True)
    return [Edge(sender, receiver, receiver, share, score) for sender, share, score in values]


def _largest(edges: Sequence[Edge], growth: Growth) -> list[Edge]:
    worth = [edge for edge in edges if edge.share and abs(edge.share) >= growth.least]
    return sorted(worth, key=lambda edge: -abs(edge.share))[: growth.breadth]
