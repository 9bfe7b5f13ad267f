"""Every edge of a tree against the slow definition, on grouped queries too, and trees of planted circuits."""

import pytest

from architectures.common import model
from exact import planted
from fluoroscope import metrics
from fluoroscope.methods import path_trees, paths
from fluoroscope.methods.path_trees import Growth
from fluoroscope.methods.sweeps import Sweep
from fluoroscope.sites import Site
from methods.path_runs import by_hand

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
METRIC = metrics.logit_diff([7], [11])
READ = [Site("q", 0), Site("k", 0), Site("v", 0)]


@pytest.mark.parametrize("hold_mlps", [False, True])
@pytest.mark.parametrize("case", ["llama", "gemma2", "gpt_neox"])
def test_every_edge_is_measured_by_itself(case, hold_mlps):
    """Llama here has four heads on two kv heads; the parallel blocks of NeoX read no head of their own block."""
    found = model(case)
    sweep = Sweep(found, [PAIR], paths.needed(READ), "noise")
    grown = path_trees.tree(sweep, METRIC, Growth(5, 2, 0.0, hold_mlps))
    edges, measured = grown.edges, grown.measured
    assert measured > len({(edge.sender, edge.receiver) for edge in edges}) > 10
    for edge in edges:
        slow = by_hand(found, PAIR, edge.sender, [edge.receiver], hold_mlps, list(range(8)), METRIC)
        assert edge.score == pytest.approx(slow, abs=2e-5), edge
        assert edge.node in (edge.receiver, *paths.readers(found, edge.receiver))
    for receiver in {edge.receiver for edge in edges}:
        into = {edge.sender for edge in edges if edge.receiver == receiver}
        assert len(into) <= 5
        others = [each for each in paths.senders(found, [receiver]) if each not in into][:3]
        smallest = min(abs(edge.share) for edge in edges if edge.receiver == receiver)
        effects = paths.effects(
            sweep, [path_trees.Part((each,)) for each in others], [receiver], METRIC, hold_mlps=hold_mlps
        )
        assert (effects.shares.abs() <= smallest + 1e-6).all()


def grown(name, pair=0, growth=None):
    circuit = planted.circuit(name)
    sweep = Sweep(circuit.model, [(circuit.prompts[pair], circuit.corrupted[pair])], paths.needed(READ), "noise")
    metric = metrics.logit_diff([int(circuit.answers[pair])], [int(circuit.foils[pair])])
    return path_trees.tree(sweep, metric, growth or Growth(3, 4, 0.02, True)).edges


def drawn(edges):
    return {
        (edge.sender.label, f"{edge.node.label}.{edge.receiver.name}" if edge.node.name == "z" else "logits")
        for edge in edges
    }


def test_the_planted_names_are_found_on_their_way():
    """The inhibition L1H0 tells the queries of the mover L2H0, and L0H0 the keys and values of the inhibition."""
    edges = grown("names")
    assert {("L2H0", "logits"), ("L1H0", "L2H0.q"), ("L0H0", "L1H0.v"), ("embed", "L2H0.k")} <= drawn(edges)
    wired = {(sender, receiver) for sender, receiver in planted.circuit("names").active()}
    assert drawn(edges) <= wired
    chain = path_trees.chain(edges)
    assert [edge.sender.label for edge in chain[:3]] == ["L2H0", "L1H0", "L0H0"]


def test_the_planted_induction_is_found_on_its_way():
    """The previous-token head L0H0 is in the keys of the induction head L1H1."""
    for pair in range(4):
        edges = grown("induction", pair)
        assert ("L1H1", "logits") in drawn(edges)
        assert drawn(edges) <= planted.circuit("induction").active()
    assert any(("L0H0", "L1H1.k") in drawn(grown("induction", pair)) for pair in range(8))


def test_breadth_depth_and_least_share_bound_the_tree():
    assert drawn(grown("names", growth=Growth(3, 1, 0.02, True))) == {("L2H0", "logits")}
    two = drawn(grown("names", growth=Growth(3, 2, 0.02, True)))
    assert ("L1H0", "L2H0.q") in two
    assert not any(receiver.startswith("L1H0") for _, receiver in two)
    assert grown("names", growth=Growth(3, 3, 1.5, True)) == ()
    assert path_trees.chain([]) == []
    one = grown("names", growth=Growth(1, 4, 0.0, True))
    counts = {}
    for edge in one:
        counts[edge.node, edge.receiver] = counts.get((edge.node, edge.receiver), 0) + 1
    assert set(counts.values()) == {1}
