"""The DOT source, read back by a small reader of quoted strings, and by Graphviz where it is installed."""

import re
import shutil
import subprocess

import pytest
from pydantic import ValidationError

from fluoroscope.render import dot, html, markdown, terminal
from fluoroscope.render.text import prose
from fluoroscope.views import Edge, Graph, Node
from render.samples import HOSTILE, every_view, thick_graph

QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def unquoted(source):
    """Every quoted string, its escapes resolved."""
    return [re.sub(r"\\(.)", r"\1", text) for text in QUOTED.findall(source)]


def hostile():
    return next(view for view in every_view() if view.kind == "graph")


def test_every_node_rank_and_edge_has_its_line():
    nodes = (Node(id="a", rank=0, label=" 2", token=True), Node(id="b", rank=0, label="B"))
    last = Node(id="c", rank=1, label="C", value=0.25)
    edges = (Edge(source="a", target="c", value=-2.0), Edge(source="b", target="c", value=1.0))
    lines = dot.source(Graph(title="t", unit="u", signed=True, nodes=(*nodes, last), edges=edges)).splitlines()
    assert lines[0] == 'digraph "t" {'
    assert lines[2:7] == [
        '  n0 [label="·2"];', '  n1 [label="B"];', '  n2 [label="C  +0.250"];',
        "  { rank=same; n0; n1; }", "  { rank=same; n2; }",
    ]  # fmt: skip
    assert re.fullmatch(r'  n0 -> n2 \[label="-2.000", color="#\w+", penwidth=6.00\];', lines[7])
    assert re.fullmatch(r'  n1 -> n2 \[label="\+1.000", color="#\w+", penwidth=3.50\];', lines[8])
    assert lines[7].split("color=")[1][:9] != lines[8].split("color=")[1][:9]
    assert lines[9:] == ["}"]


def test_an_edge_says_by_which_way_it_leads_in_every_form():
    nodes = (Node(id="a", rank=0, label="L0H1"), Node(id="b", rank=1, label="L1H1"))
    edges = tuple(Edge(source="a", target="b", value=value, label=way) for way, value in (("q", 0.5), ("k", -0.25)))
    view = Graph(title="t", unit="share", signed=True, nodes=nodes, edges=edges)
    assert 'label="q +0.500"' in dot.source(view)
    assert [line.plain.split()[:4] for line in terminal.draw(view, 80)[3:]] == [
        ["←", "L0H1", "q", "+0.500"], ["←", "L0H1", "k", "-0.250"],
    ]  # fmt: skip
    assert "| L0H1 | → L1H1 k | -0.250 |" in "\n".join(markdown.draw(view))
    page = html.draw(view)
    assert "<title>L0H1 to L1H1: q +0.500 share</title>" in page
    assert "→ L1H1 k" in page
    assert ">k -0.250</text>" in page
    with pytest.raises(ValidationError):
        Edge(source="a", target="b", value=1.0, label="no letters 1")


def test_hostile_text_stays_inside_its_quotes():
    source = dot.source(hostile())
    assert prose(HOSTILE) in unquoted(source)
    rest = QUOTED.sub("Q", source)
    assert re.fullmatch(r"[\w\s{}\[\];=,.>-]*", rest)
    assert not set("\x1b\x07\u202e\u2028") & set(source)


ID = r'(?:[A-Za-z]\w*|-?[0-9.]+|"(?:[^"\\]|\\.)*")'
ATTRIBUTES = rf"\[{ID}={ID}(?:, {ID}={ID})*\]"
STATEMENT = rf"(?:(?:graph|node) {ATTRIBUTES}|{ID} {ATTRIBUTES}|{ID} -> {ID} {ATTRIBUTES}|{{ {ID}={ID};(?: {ID};)* }})"


@pytest.mark.parametrize("view", [hostile(), thick_graph()])
def test_every_line_is_a_statement_of_the_language(view):
    first, *lines, last = dot.source(view).splitlines()
    assert re.fullmatch(rf"digraph {ID} {{", first)
    assert last == "}"
    for line in lines:
        assert re.fullmatch(rf"  {STATEMENT};?(?: {STATEMENT};?)*", line), line


def test_it_says_in_what_its_numbers_are():
    view = Graph(title="t", caption="what it shows", unit="logits", nodes=(Node(id="a", rank=0, label="A"),), edges=())
    assert '[rankdir=TB, label="t · logits", tooltip="what it shows"]' in dot.source(view)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_it():
    done = subprocess.run(["dot", "-Tsvg"], input=dot.source(hostile()), capture_output=True, text=True, check=True)
    assert "<svg" in done.stdout
