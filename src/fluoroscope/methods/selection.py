"""Which edges make a circuit, once every edge has a score: the largest, or those that are worth most from the end back.

Edges that lead from no embedding or to no logits dangle, and are pruned (Hanna et al. 2024, "Have Faith in
Faithfulness"). Where cut edges have the values of another prompt they carry nothing in a run; but for post-norms, by
whose statistics all heads of a block depend on one another, so that a head without edges is not quite the other's.
"""

import heapq
from collections import defaultdict

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.graph import Graph

Kept = Bool[Tensor, "sender receiver"]
"""Which edges are in a circuit."""


def feeds(graph: Graph) -> Bool[Tensor, "receiver sender"]:
    """Which senders are made of what a receiver reads: a head of its query, and of the key and value of its group."""
    found = torch.zeros(len(graph.receivers), len(graph.senders), dtype=torch.bool)
    heads, kv_heads = _counts(graph)
    for row, receiver in enumerate(graph.receivers):
        name, _, letter = receiver.partition(".")
        if name == "mlp":
            found[row, graph.places[0][receiver]] = True
        elif receiver != "logits":
            layer, unit = name[1:].split("H")
            group = 1 if letter == "q" else heads // kv_heads
            for head in range(int(unit) * group, (int(unit) + 1) * group):
                found[row, graph.places[0][f"L{layer}H{head}"]] = True
    return found


def _counts(graph: Graph) -> tuple[int, int]:
    """How many heads a block has, and how many keys."""
    first = [name for name in graph.receivers if name.startswith("L0H")]
    return sum(name.endswith(".q") for name in first), sum(name.endswith(".k") for name in first)


def pruned(graph: Graph, kept: Kept) -> Kept:
    """The edges of a circuit that are on a way from an embedding to the logits."""
    made = feeds(graph)
    ends = torch.tensor([name == "logits" for name in graph.receivers])
    reached = torch.tensor(["embed" in name for name in graph.senders])
    read, before = ends, None
    while before is None or not (torch.equal(before[0], reached) and torch.equal(before[1], read)):
        before = reached, read
        reached = reached | (made & (kept & reached[:, None]).any(0)[:, None]).any(0)
        read = read | (made & (kept & read).any(1)).any(1)
    return kept & reached[:, None] & read


def top(graph: Graph, count: int) -> Kept:
    """So many edges with the largest scores in size, without those that dangle, so perhaps fewer.

    Raises:
        ArgumentError: more edges than there are, fewer than one, or the graph has no scores.
    """
    _check(graph, count)
    chosen = torch.zeros_like(graph.exists)
    for edge, _ in graph.ranked(count):
        chosen[graph.place(edge)] = True
    return pruned(graph, chosen)


def greedy(graph: Graph, count: int) -> Kept:
    """So many edges, each the largest in size of those that lead to the logits or to a node in the circuit.

    Without those that lead from no embedding, so perhaps fewer.

    Raises as `top` does.
    """
    _check(graph, count)
    return pruned(graph, _grown(graph, graph.mean.abs(), count))


def drawn(graph: Graph, count: int, seed: int) -> Kept:
    """A random circuit to hold others against: grown as `greedy` does, with scores drawn at random.

    Raises:
        ArgumentError: more edges than there are, or fewer than one.
    """
    _check(graph, count)
    generator = torch.Generator().manual_seed(seed)
    return _grown(graph, torch.rand(graph.exists.shape, generator=generator), count)


def size(graph: Graph, asked: float) -> int:
    """How many edges a size means: below 1 a share of all edges, from 1 on a number.

    Raises:
        ArgumentError: it means none, or more than there are.
    """
    count = round(asked * len(graph)) if asked < 1 else round(asked)
    if not 1 <= count <= len(graph) or (asked > 1 and asked != count):
        raise ArgumentError(
            f"size {asked:g} is no size of a circuit of {len(graph)} edges",
            "Give a share of them below 1, or a whole number.",
        )
    return count


def _grown(graph: Graph, sizes: Float[Tensor, "sender receiver"], count: int) -> Kept:
    kept = torch.zeros_like(graph.exists)
    columns = _columns(graph)
    waiting: list[tuple[float, int, int]] = []
    inside: set[str] = set()

    def enter(node: str) -> None:
        inside.add(node)
        for column in columns[node]:
            if column not in entered:
                entered.add(column)
                for row in graph.exists[:, column].nonzero()[:, 0].tolist():
                    heapq.heappush(waiting, (-float(sizes[row, column]), row, column))

    entered: set[int] = set()
    enter("logits")
    while count and waiting:
        _, row, column = heapq.heappop(waiting)
        kept[row, column] = True
        count -= 1
        if graph.senders[row] not in inside:
            enter(graph.senders[row])
    return kept


def _columns(graph: Graph) -> dict[str, list[int]]:
    """What of receivers each node is made of; embeddings of nothing."""
    found: dict[str, list[int]] = defaultdict(list)
    for column, row in feeds(graph).nonzero().tolist():
        found[graph.senders[row]].append(column)
    found["logits"] = [graph.places[1]["logits"]]
    return found


def _check(graph: Graph, count: int) -> None:
    if not 1 <= count <= len(graph):
        raise ArgumentError(f"{count} edges were asked for", f"This model has {len(graph)}: give 1 to {len(graph)}.")
