"""Selection against walks through the graph by plain loops, and against what a run makes of it."""

import itertools

import pytest
import torch

from architectures.common import model
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import selection
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.graph import Edge, Graph, graph

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


def scored(case: str = "llama", seed: int = 0) -> Graph:
    made = graph(model(case))
    generator = torch.Generator().manual_seed(seed)
    return made.scored(torch.randn(1, *made.exists.shape, generator=generator) * made.exists)


def edges(made: Graph, kept: torch.Tensor) -> set[Edge]:
    return {(made.senders[row], made.receivers[column]) for row, column in kept.nonzero().tolist()}


def made_of(receiver: str, group: int = 2) -> list[str]:
    """The senders that a receiver of a llama with two heads for each key is part of."""
    name, _, letter = receiver.partition(".")
    if name in ("mlp", "logits"):
        return [receiver]
    layer, unit = name[1:].split("H")
    units = [int(unit)] if letter == "q" else range(int(unit) * group, int(unit) * group + group)
    return [f"L{layer}H{head}" for head in units]


def on_a_way(kept: set[Edge]) -> set[Edge]:
    """Edges on a way from an embedding to the logits, found by walking."""

    def reaches(node: str) -> bool:
        return node == "logits" or any(sender == node and any(map(reaches, made_of(to))) for sender, to in kept)

    def starts(node: str) -> bool:
        return "embed" in node or any(node in made_of(to) and starts(sender) for sender, to in kept)

    return {(sender, to) for sender, to in kept if starts(sender) and any(map(reaches, made_of(to)))}


def test_what_a_receiver_is_part_of() -> None:
    made = graph(model("llama"))
    found = selection.feeds(made)
    for row, receiver in enumerate(made.receivers):
        fed = [name for name, there in zip(made.senders, found[row].tolist(), strict=True) if there]
        assert fed == ([] if receiver == "logits" else made_of(receiver))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [3, 10, 40])
def test_top_is_the_largest_without_what_dangles(count: int, seed: int) -> None:
    made = scored(seed=seed)
    largest = {edge for edge, _ in made.ranked(count)}
    assert edges(made, selection.top(made, count)) == on_a_way(largest)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [3, 10, 40])
def test_greedy_takes_the_largest_edge_that_leads_to_the_circuit_again_and_again(count: int, seed: int) -> None:
    made = scored(seed=seed)
    sizes = {edge: abs(made.score(edge)) for edge in made.edges}
    inside, kept = {"logits"}, set[Edge]()
    for _ in range(count):
        waiting = [edge for edge in sizes if edge not in kept and inside & {*made_of(edge[1])}]
        best = max(waiting, key=sizes.__getitem__)
        kept.add(best)
        inside.add(best[0])
    assert edges(made, selection.greedy(made, count)) == on_a_way(kept)


def test_random_circuits_are_connected_of_the_size_asked_for_and_follow_the_seed() -> None:
    made = graph(model("llama"))
    drawn = [selection.drawn(made, 20, seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    for kept in drawn:
        found = edges(made, kept)
        assert len(found) == 20
        assert not (kept & ~made.exists).any()
        nodes = {"logits", *(sender for sender, _ in found)}
        assert all(nodes & {*made_of(receiver)} for _, receiver in found)


@pytest.mark.parametrize("case", ["gpt2", "llama", "cohere"])
def test_what_dangles_carries_nothing(case: str) -> None:
    found, made = model(case), scored(case)
    runs = Circuits(found, *(found.tokens([side]) for side in PAIR))
    kept = made.exists & (torch.rand(made.exists.shape, generator=torch.Generator().manual_seed(0)) < 0.2)
    bare = selection.pruned(made, kept)
    assert 0 < int(bare.sum()) < int(kept.sum())
    with_, without = runs.scores(torch.stack([kept, bare]), metrics.logit([7]))
    assert float(with_) == pytest.approx(float(without), abs=1e-5)


def test_all_edges_are_a_circuit_and_nothing_of_it_dangles() -> None:
    made = scored()
    for select in (selection.top, selection.greedy):
        assert torch.equal(select(made, len(made)), made.exists)
    assert not selection.pruned(made, torch.zeros_like(made.exists)).any()


def test_sizes() -> None:
    made = scored()
    assert [selection.size(made, asked) for asked in (0.1, 1, 7.0, len(made))] == [round(len(made) / 10), 1, 7, 190]
    for wrong in (0, -0.1, 1e-9, 7.5, 191):
        with pytest.raises(ArgumentError, match="no size of a circuit of 190 edges"):
            selection.size(made, wrong)
    for select, count in itertools.product((selection.top, selection.greedy), (0, 191)):
        with pytest.raises(ArgumentError, match="give 1 to 190"):
            select(made, count)
    with pytest.raises(ArgumentError, match="have no scores"):
        selection.top(graph(model("llama")), 3)
