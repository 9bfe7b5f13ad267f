"""GraphML, read back by networkx."""

import io

import networkx
import pytest

from fluoroscope.render import graphml
from fluoroscope.render.text import prose
from fluoroscope.views import Edge, Graph, Node
from render.samples import HOSTILE, every_view, thick_graph


def read(view: Graph) -> "networkx.DiGraph[str]":
    return networkx.read_graphml(io.BytesIO(graphml.source(view).encode("utf8")))


def test_every_node_and_edge_comes_back_with_what_it_carries() -> None:
    nodes = (
        Node(id="a", rank=0, label=" 2", token=True, site="z.0.1", group="head"),
        Node(id="b", rank=1, label="B", value=0.25),
    )
    found = read(Graph(title="t", unit="u", signed=True, nodes=nodes, edges=(Edge(source="a", target="b", value=-2),)))
    assert dict(found.nodes(data=True)) == {
        "n0": {"name": "a", "label": "·2", "rank": 0, "group": "head", "site": "z.0.1"},
        "n1": {"name": "b", "label": "B", "rank": 1, "value": 0.25},
    }
    assert list(found.edges(data=True)) == [("n0", "n1", {"value": -2.0})]
    assert found.is_directed()


@pytest.mark.parametrize("view", [next(view for view in every_view() if view.kind == "graph"), thick_graph()])
def test_graphs_of_any_text_come_back_whole(view: Graph) -> None:
    found = read(view)
    assert (len(found), found.number_of_edges()) == (len(view.nodes), len(view.edges))
    names = {id: facts["name"] for id, facts in found.nodes(data=True)}
    assert sorted(names.values()) == sorted(prose(node.id) for node in view.nodes)
    assert not set("\x1b\x07\u202e\u2028") & set(graphml.source(view))


def test_hostile_text_is_text() -> None:
    node = Node(id=HOSTILE, rank=0, label=HOSTILE)
    found = read(Graph(title=HOSTILE, unit="", nodes=(node,), edges=()))
    assert [facts["label"] for _, facts in found.nodes(data=True)] == [prose(HOSTILE)]
