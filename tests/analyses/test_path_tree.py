"""The tree of a planted circuit in words and pictures, and of the specimen beside plain path patching."""

import pytest

import fluoroscope
from architectures import common
from exact import planted
from fluoroscope.analyses.path_patching import path_patching
from fluoroscope.analyses.path_tree import PathTree, path_tree
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.patched import reading
from fluoroscope.render.text import share

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def names():
    circuit = planted.circuit("names")
    asked = {"answer": f"#{circuit.answers[0]}", "foil": f"#{circuit.foils[0]}"}
    return path_tree(circuit.model, [circuit.prompts[0]], [circuit.corrupted[0]], depth=4, **asked)


def test_the_sentence_names_the_strongest_chain_of_the_planted_circuit(names):
    steps = [names.links[index] for index in names.chain]
    assert [step.sender for step in steps[:3]] == ["z.2.0", "z.1.0", "z.0.0"]
    assert [step.way for step in steps[:2]] == ["", "q"]
    assert (
        f"L2H0 destroys {share(steps[0].effect)} by the direct path to the logits, L1H0 {share(steps[1].effect)} "
        f"through the queries of L2H0, L0H0 {share(steps[2].effect)} through the " in names.summary()
    )
    assert f"{len(names.links)} of {names.measured} edges reach 5.0 %" in names.summary()


def test_the_graph_has_every_link_with_its_way(names):
    (graph,) = names.views()
    found = {(edge.source, edge.target, edge.label): edge.value for edge in graph.edges}
    assert found == {(link.sender, link.node, link.way): link.effect for link in names.links}
    ranks = [node.rank for node in graph.nodes]
    assert ranks == sorted(ranks)
    assert (graph.nodes[0].id, graph.nodes[-1].id) == ("embed", "logits")
    assert PathTree.from_json(names.to_json()) == names
    assert "digraph" in names._dot()


@pytest.mark.parametrize("direction", ["noise", "denoise"])
def test_edges_are_those_of_path_patching(specimen, direction):
    tree = path_tree(specimen, CLEAN, OTHER, direction=direction, threshold=0.02)
    assert tree.direction == direction
    for node, receiver in dict.fromkeys((link.node, link.receiver) for link in tree.links):
        asked = {"receivers": [node], "hold_mlps": True, "direction": direction}
        plain = path_patching(specimen, CLEAN, OTHER, reads=receiver[0] if node.startswith("z.") else "q", **asked)
        mine = [link for link in tree.links if link.receiver == receiver]
        theirs = [each for each in plain.top() if abs(each.effect) >= 0.02][:3]
        assert [link.sender for link in mine] == [each.site for each in theirs]
        assert [link.effect for link in mine] == pytest.approx([each.effect for each in theirs], abs=1e-5)


def test_heads_that_share_keys_are_named_together():
    found = common.model("llama")
    tree = path_tree(found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", threshold=0.0, top_k=8, depth=2)
    shared = {link.receiver: link.readers for link in tree.links if link.way in ("k", "v")}
    assert shared
    for receiver, readers in shared.items():
        _, layer, unit = receiver.split(".")
        assert readers == (f"L{layer}H{2 * int(unit)}", f"L{layer}H{2 * int(unit) + 1}")
    caption = tree.views()[0].caption
    first = next(iter(shared.values()))
    assert f"act through all heads that share them: {first[0]} and {first[1]} (one kv head)" in caption
    assert all(len(link.readers) == 1 for link in tree.links if link.way == "q")


def test_no_part_that_is_worth_drawing(specimen):
    tree = path_tree(specimen, CLEAN, OTHER, threshold=2.0)
    assert (tree.links, tree.chain) == ((), ())
    assert "no part destroys 200.0 % by the direct path to the logits, of " in tree.summary()
    assert [node.label for node in tree.views()[0].nodes] == ["logits"]
    assert tree.to_html()


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"depth": 0}, {"threshold": -0.1}])
def test_a_tree_of_no_size(specimen, wrong):
    with pytest.raises(ArgumentError, match="are no tree"):
        path_tree(specimen, CLEAN, OTHER, **wrong)


def test_refusals(specimen):
    with pytest.raises(ArgumentError, match="same tokens"):
        path_tree(specimen, CLEAN, CLEAN)
    with pytest.raises(UnavailableError, match=r"need z\.0"):
        path_tree(common.model("qwen3_next"), [IDS[0]], [IDS[1]])
    with pytest.raises(UnavailableError, match=r"need (z|mlp_out)"):
        path_tree(common.model("opt-350m"), [IDS[0]], [IDS[1]])


def test_heads_that_read_the_same_in_words():
    assert reading(()) == ""
    assert reading(("L1H2",)) == "L1H2"
    assert reading(("L1H0", "L1H1", "L1H2")) == "L1H0, L1H1 and L1H2 (one kv head)"
