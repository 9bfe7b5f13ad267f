"""A graph of the page, as the files that the library writes."""

import json
from xml.etree import ElementTree

import networkx
import pytest

from fluoroscope.render import dot, graphml
from fluoroscope.server.answers import Refused
from fluoroscope.server.graphs import source
from fluoroscope.views import Edge, Graph, Node

GRAPH = Graph(
    title="A <graph>", caption="c", unit="share", signed=True,
    nodes=(
        Node(id="a", label="L0H1", rank=0, group="head", site="z.0.1"), Node(id="b", label="logits", rank=1, group=""),
    ),
    edges=(Edge(source="a", target="b", value=-0.5, label="q"),),
)  # fmt: skip
GIVEN = json.loads(GRAPH.model_dump_json())


def test_files_are_those_of_the_library():
    assert source("dot", GIVEN) == dot.source(GRAPH)
    text = source("graphml", GIVEN)
    assert text == graphml.source(GRAPH)
    assert networkx.parse_graphml(ElementTree.canonicalize(text)).number_of_edges() == 1


@pytest.mark.parametrize("wrong", [{}, {**GIVEN, "more": 1}, {**GIVEN, "nodes": "ab"}, {**GIVEN, "kind": "bars"}])
def test_what_is_no_graph_is_refused(wrong):
    with pytest.raises(Refused):
        source("dot", wrong)


def test_over_http(client):
    told = client.post("/api/graph/dot", json=GIVEN)
    assert told.json() == {"text": dot.source(GRAPH)}
    assert client.post("/api/graph/dot", json={**GIVEN, "edges": [{"source": "a", "target": "x"}]}).status_code == 422
    assert client.post("/api/graph/pdf", json=GIVEN).status_code in (404, 405)
