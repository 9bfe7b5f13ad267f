"""Hundreds of hostile strings in every renderer that writes a file: read back by parsers, none is more than text."""

import re
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from fluoroscope.render import document, dot, graphml, markdown
from fluoroscope.render.section import File, Section
from hostile import CORPUS, MARK, SHORT, every_view
from render.test_html import OURS, Page


@pytest.fixture(scope="module")
def section():
    recipe = {"model": SHORT[1], "edits": tuple(SHORT[:9]), "versions": {SHORT[2]: SHORT[3]}}
    return Section("name", SHORT[0], " ".join(SHORT), every_view(), recipe, {SHORT[4]: "\n".join(SHORT)})


def marks(text: str) -> set[str]:
    return set(MARK.findall(text))


EVERY = marks(" ".join(CORPUS))


def test_the_corpus_is_large_and_each_string_its_own():
    assert len(CORPUS) >= 300
    assert len(EVERY) == len(set(CORPUS)) == len(CORPUS)
    assert {view.kind for view in every_view()} == {
        "bars", "heatmap", "head_grid", "tokens", "lines", "arcs", "graph", "scatter", "table",
    }  # fmt: skip


def test_a_page_shows_every_string_and_has_no_element_of_one(section):
    files = [File(SHORT[5], 3, "{}"), File(SHORT[6], 9_000_000)]
    more = Section("b", SHORT[7], SHORT[8], [], {}, {}, files)
    source = document.report(SHORT[0], SHORT[:9], {"a": SHORT[1]}, [section, more])
    parsed = Page(source)
    assert {tag for tag, _ in parsed.tags} <= OURS | {"section", "ol", "li", "a", "h2"}
    for _, attributes in parsed.tags:
        assert not {name for name in attributes if name.startswith("on")} | {"data-owned"} & set(attributes)
        address = attributes.get("href") or attributes.get("src") or "#"
        assert address.startswith(("#", "data:application/json;base64,"))
    assert marks(" ".join(parsed.texts)) == EVERY
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]", source)


def test_markdown_shows_every_string_and_no_markup_of_one(section):
    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
    parsed = Page(parser.render(markdown.page(section)))
    ours = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "strong", "pre"}
    assert {tag for tag, _ in parsed.tags} <= ours
    assert {name for _, attributes in parsed.tags for name in attributes} <= {"style", "class"}
    assert marks(" ".join(parsed.texts)) == EVERY


def test_graphs_in_other_formats_hold_strings_as_strings(section):
    graph = next(view for view in section.views if view.kind == "graph")
    names = marks(" ".join(node.label for node in graph.nodes))
    root = ElementTree.fromstring(graphml.source(graph))
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {
        "graphml",
        "key",
        "graph",
        "desc",
        "node",
        "edge",
        "data",
    }
    assert marks(" ".join(root.itertext())) == names
    source = dot.source(graph)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', source)
    assert "¤" not in bare
    assert marks(source) == names
    assert not re.search(r"\\(?![\\\"])", source.replace("\\\\", ""))


def test_a_figure_is_a_picture_without_script_link_or_page():
    from fluoroscope.render import figure

    texts = [SHORT[place] for place in range(0, len(SHORT), 29)]
    kinds = {view.kind: view for view in every_view(texts)}
    root = ElementTree.fromstring(figure.image(figure.page(texts[0], texts[1], list(kinds.values())), "svg"))
    assert not {part.tag.rpartition("}")[2] for part in root.iter()} & {"script", "foreignObject", "a", "iframe"}
    assert not {name for part in root.iter() for name in part.attrib if name.startswith("on") or name == "data-owned"}
