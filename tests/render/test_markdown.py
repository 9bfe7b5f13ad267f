import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from fluoroscope.render import markdown
from fluoroscope.render.section import Section
from fluoroscope.render.text import prose, visible
from fluoroscope.views import (
    Arc,
    Arcs,
    Bar,
    Bars,
    Column,
    Edge,
    Graph,
    Node,
    Point,
    Row,
    Scatter,
    Table,
    TokenMark,
    Tokens,
)
from render.samples import HOSTILE, every_view, square

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def texts(source: str) -> list[str]:
    """The text of every inline run, with raw HTML other than our own <code> left as a marker."""
    found = []
    for token in PARSER.parse(source):
        if token.type != "inline":
            continue
        found.append("".join(_shown(child) for child in token.children or []))
    return found


def _shown(child) -> str:
    if child.type in ("text", "code_inline"):
        return child.content
    if child.type == "html_inline" and child.content in ("<code>", "</code>"):
        return ""
    return f"<<{child.type}>>"


@given(st.text(min_size=1))
def test_a_sentence_is_read_back_letter_by_letter(text):
    assert texts(f"# {markdown.plain('x' + text + 'x')}") == [prose("x" + text + "x")]


@pytest.mark.parametrize(
    "text", ["1. a", "12) b", "1.", "- c", "+ d", "-", "--- e", "----", "> f", "=== g", "12.5 %", "-1.6"]
)
def test_nothing_that_begins_a_line_begins_a_list_and_numbers_stay_as_they_are(text):
    written = markdown.plain(text)
    assert [token.type for token in PARSER.parse(written)] == ["paragraph_open", "inline", "paragraph_close"]
    assert texts(written) == [text]
    assert [token.type for token in PARSER.parse(f"a\n{written}")] == ["paragraph_open", "inline", "paragraph_close"]
    assert (written == text) == (text in ("12.5 %", "-1.6"))


@given(st.text())
def test_the_text_of_a_token_is_read_back_from_a_table(text):
    source = "\n".join(["| a | b |", "| --- | --- |", f"| {markdown.code(text)} | end |"])
    assert texts(source) == ["a", "b", visible(text), "end"]


@pytest.mark.parametrize("view", every_view(), ids=lambda view: view.kind)
def test_hostile_text_opens_no_tag_link_or_cell(view):
    source = "\n".join(markdown.draw(view))
    kinds = {child.type for token in PARSER.parse(source) for child in token.children or []}
    assert kinds <= {"text", "code_inline", "html_inline", "strong_open", "strong_close"}
    raw = {c.content for t in PARSER.parse(source) for c in t.children or [] if c.type == "html_inline"}
    assert raw <= {"<code>", "</code>"}
    rows = [line for line in source.splitlines() if line.startswith("|") and not re.fullmatch(r"[| :-]+", line)]
    parsed = PARSER.parse(source)
    assert sum(token.type == "tr_open" for token in parsed) == len(rows)
    assert not any(token.type == "html_block" for token in parsed)


def test_a_table_holds_every_number():
    view = Table(
        title="t", columns=(Column(name="token", token=True), Column(name="p")), rows=(Row(cells=(" a|b", 0.25)),)
    )
    assert texts("\n".join(markdown.draw(view))) == ["t", "token", "p", "·a|b", "0.250"]


def test_bars_against_are_drawn_lighter():
    view = Bars(title="t", unit="logits", signed=True, items=(Bar(label="a", value=2.0), Bar(label="b", value=-1.0)))
    toward, against = markdown.draw(view)[-2:]
    assert toward == "| a | +2.000 | ████████████████████ |  |"
    assert against == "| b | -1.000 | ░░░░░░░░░░ |  |"


def test_bars_that_are_next_to_nothing_are_none():
    view = Bars(title="t", unit="nats", signed=True, reach=0.1, items=(Bar(label="a", value=-7e-5),))
    assert "░" not in "\n".join(markdown.draw(view))


def test_a_graph_lists_its_nodes_by_rank_and_its_edges_by_size():
    nodes = (Node(id="b", rank=2, label="B", group="end"), Node(id="a", rank=0, label=" a", token=True, value=0.5))
    third = Node(id="c", rank=1, label="C")
    edges = (Edge(source="a", target="b", value=0.5), Edge(source="c", target="b", value=-2.0))
    view = Graph(title="t", unit="u", signed=True, nodes=(*nodes, third), edges=edges)
    assert markdown.draw(view)[2:] == [
        "|  |  | u |", "| --- | --- | ---: |",
        "| `·a` |  | +0.500 |", "| C |  | – |", "| B | end | – |", "",
        "| from | to | u |  |", "| --- | --- | ---: | --- |",
        "| C | → B | -2.000 | ░░░░░░░░░░░░░░░░░░░░ |", "| `·a` | → B | +0.500 | █████ |",
    ]  # fmt: skip


def test_arcs_name_their_tokens_and_where_they_stand():
    items = (TokenMark(text="a"), TokenMark(text="a"))
    view = Arcs(title="t", unit="u", items=items, arcs=(Arc(source=1, target=0, value=1.0),), marked=1)
    lines = markdown.draw(view)
    assert lines[2] == "`a` **`a`**"
    assert lines[-1] == "| `a` (1) | → `a` (0) | 1.000 | ████████████████████ |"


def test_a_page_ends_with_its_recipe():
    source = markdown.page(Section("n", "T", HOSTILE, every_view(), {"model": "../a_b", "versions": {"torch": "2"}}))
    found = texts(source)
    assert found[:2] == ["T", prose(HOSTILE)]
    assert found[-4:] == ["model", "../a_b", "versions", "torch 2"]


def test_a_page_says_what_its_marks_mean_and_a_page_without_any_does_not():
    def page(text):
        items = (TokenMark(text=text), TokenMark(text="b"))
        return " ".join(texts(markdown.page(Section("n", "T", "s", [Tokens(title="t", items=items)], {}))))

    assert "⏎ a line break" in page("\n")
    assert "Marks" not in page("a")


def test_points_are_a_table_of_their_places():
    points = (Point(label=" a", token=True, x=0.5, y=-1, group="g"), Point(label="b", x=2, y=0))
    lines = markdown.draw(Scatter(title="t", axes=("one", "two"), points=points))
    assert lines[-4] == "|  | one | two | group |"
    assert lines[-2:] == ["| `·a` | +0.500 | -1.000 | g |", "| b | +2.000 | 0 |  |"]


def test_tokens_with_values_are_listed_below_their_text():
    items = (TokenMark(text=" a", value=0.25), TokenMark(text="b"))
    lines = markdown.draw(Tokens(title="t", unit="share", items=items, marked=0))
    assert lines[2] == "**`·a`** `b`"
    assert lines[-2:] == ["| 0 | `·a` | 0.250 |", "| 1 | `b` | – |"]
    assert len(markdown.draw(Tokens(title="t", items=items[1:]))) == 3


def test_of_a_large_heatmap_the_largest_cells_are_listed():
    lines = markdown.draw(square(60))
    assert "The 20 largest of 60 x 60 numbers; the JSON has all." in lines
    assert lines[-20].split(" | ")[:5] == ["| `token·59`", "59", "`token·59`", "59", "-1.967 |"]


def test_a_report_has_every_section_one_level_down_and_fences_that_hold():
    again = {"Command": "a `b` ```c```\n# no heading"}
    sections = [Section(name, name, "s. " + HOSTILE, every_view()[:1], {"model": "m"}, again) for name in "ab"]
    source = markdown.report("T", ["asked"], {"models": ("x", "y")}, sections)
    parsed = PARSER.parse(source)
    heads = [
        (token.tag, parsed[place + 1].content) for place, token in enumerate(parsed) if token.type == "heading_open"
    ]
    assert [tag for tag, _ in heads] == ["h1", *["h2", "h3", "h3", "h3"] * 2]
    assert [token.content for token in parsed if token.type == "fence"] == [again["Command"] + "\n"] * 2
    assert sum(token.type == "list_item_open" for token in parsed) == 2
    assert "x; y" in texts(source)
