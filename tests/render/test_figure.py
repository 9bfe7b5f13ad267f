import subprocess
import sys

import matplotlib
import pytest

from fluoroscope.render import figure
from fluoroscope.views import (
    Arc,
    Arcs,
    Bar,
    Bars,
    Column,
    Edge,
    Graph,
    Heatmap,
    Lines,
    Mark,
    Node,
    Point,
    Row,
    Scatter,
    Series,
    Table,
    TokenMark,
    Tokens,
)
from render.drawn import shown
from render.samples import HOSTILE, every_view, square, thick_graph


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("text", [HOSTILE, "日本語 🙂 עברית \U0010fffd"])
def test_every_view_is_drawn_without_a_warning(suffix, text):
    data = figure.image(figure.page(text, text, every_view(text)), suffix)
    assert data.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
    assert suffix == "png" or b"<script" not in data


def test_global_state_of_matplotlib_stays_as_it_was():
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from render.samples import every_view
from fluoroscope.render import figure
figure.image(figure.page("t", "s", every_view()), "png")
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_dollars_are_no_mathematics_whatever_the_user_set():
    with matplotlib.rc_context({"text.parse_math": True}):
        drawn = figure.page("a", "costs $x_{", [Bars(title="$\\frac", unit="u", items=(Bar(label="$a$", value=1.0),))])
        figure.image(drawn, "png")
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert labels == ["$a$"]
    assert drawn.axes[0].get_title(loc="left") == "$\\frac · u"


def test_the_numbers_drawn_are_the_numbers_given():
    bars = Bars(title="t", unit="u", signed=True, items=(Bar(label="a", value=2.0), Bar(label="b", value=-1.0)))
    view = Heatmap(
        title="t", unit="u", rows=(Mark(label="r"),), columns=(Mark(label="c"), Mark(label="d")), values=((0.5, None),)
    )
    first, second = figure.page("a", "b", [bars, view]).axes
    assert [bar.get_width() for bar in first.patches] == [2, -1]
    assert [text.get_text() for text in second.texts] == ["0.500", "–"]
    image = second.images[0].get_array()
    assert image[0, 0] == 0.5
    assert bool(image.mask[0, 1]) or image[0, 1] != image[0, 1]


def test_edges_and_arcs_are_drawn_from_node_to_node_and_as_thick_as_their_values():
    nodes = (
        Node(id="a", rank=0, label="$a"),
        Node(id="b", rank=1, label="b", value=0.5),
        Node(id="c", rank=2, label="c"),
    )
    edges = (Edge(source="a", target="b", value=1.0), Edge(source="a", target="c", value=-0.5))
    graph = Graph(title="t", unit="u", signed=True, nodes=nodes, edges=edges)
    arcs = Arcs(
        title="t", unit="u", items=(TokenMark(text="x"), TokenMark(text="y")), arcs=(Arc(source=0, target=1, value=1),)
    )
    first, second = figure.page("a", "b", [graph, arcs]).axes
    assert [text.get_text() for text in first.texts] == ["$a", "b\n+0.500", "c", "+1.000", "-0.500"]
    strong, weak, *boxes = first.patches
    assert len(boxes) == 3
    assert strong.get_linewidth() > weak.get_linewidth()
    assert strong.get_edgecolor() != weak.get_edgecolor()
    places = {text.get_text()[:1]: text.get_position() for text in first.texts[:3]}
    for patch, end in ((strong, "b"), (weak, "c")):
        (x, y), (to_x, to_y) = patch.get_path().vertices[[0, -1]]
        assert abs(x - places["$"][0]) < 0.5
        assert abs(to_x - places[end][0]) < 0.5
        assert places["$"][1] < y < to_y < places[end][1]
    (arc,) = second.patches
    assert arc.get_path().vertices[[0, -1], 0].tolist() == [0, 1]


def test_scatter_pictures_that_follow_each_other_stand_side_by_side():
    points = (Point(label="a", x=0, y=0, group="g"), Point(label="b", x=4, y=2), Point(label="c", x=4, y=0, group="h"))
    scatter = Scatter(title="t", axes=("one", "two"), points=points)
    bars = Bars(title="t", unit="u", items=(Bar(label="a", value=2.0),))
    drawn = figure.page("a", "b", [bars, scatter, scatter, scatter, scatter, bars])
    figure.image(drawn, "png")
    tops = [round(axes.get_position().y0, 2) for axes in drawn.axes]
    assert tops[1] == tops[2] == tops[3]
    assert tops[0] > tops[1] > tops[4] > tops[5]
    first, second = drawn.axes[1].collections
    assert first.get_offsets().tolist() == [[0, 0.25], [1, 0.75]]
    assert second.get_offsets().tolist() == [[1, 0.25]]
    assert {"a", "b", "c", "● g", "■ h"} <= {text.get_text() for text in drawn.axes[1].texts}


@pytest.mark.parametrize("text", ["a label of some length", " Wilhelmina"])
def test_no_text_leaves_the_figure(text):
    drawn = figure.page("t", "a sentence of many words " * 12, [*every_view(text), square(60), thick_graph()])
    width, height = drawn.bbox.size
    for words, sides in shown(drawn):
        assert sides.x0 >= -1, words
        assert sides.x1 <= width + 1, words
        assert sides.y0 >= -1, words
        assert sides.y1 <= height + 1, words


def test_bars_of_either_sign_leave_their_names_and_numbers_alone():
    items = (Bar(label="10 together", value=-17.3, remark="less than 0.01 %, ‘·is’"), Bar(label="L3H7", value=-0.02))
    drawn = figure.page("t", "s", [Bars(title="t", unit="u", signed=True, items=items)])
    texts = dict(shown(drawn))
    assert texts["10 together"].x1 < drawn.axes[0].bbox.x0
    assert drawn.axes[0].bbox.x1 < texts["-17.30"].x0
    assert texts["-17.30"].x1 < texts["less than 0.01 %, ‘·is’"].x0


def test_tokens_show_their_numbers_and_do_not_touch():
    items = tuple(TokenMark(text=f" Wilhelmina{n}", value=n / 7) for n in range(30))
    texts = dict(shown(figure.page("t", "s", [Tokens(title="t", unit="u", items=items, marked=3)])))
    assert "4.143" in texts
    words = [sides for text, sides in texts.items() if "Wilhelmina" in text]
    assert len(words) == 30
    for index, one in enumerate(words):
        assert not any(one.overlaps(other) for other in words[:index])


def test_a_table_keeps_its_words_apart_and_says_what_it_leaves_out():
    row = Row(cells=("a sentence that needs several lines to be read " * 3, 0.25, "x" * 30, 12))
    columns = tuple(Column(name=f"the column {n}") for n in range(4))
    drawn = figure.page("t", "s", [Table(title="t", columns=columns, rows=(row,) * 70)])
    texts = list(shown(drawn))
    assert "10 more rows are in the JSON" in dict(texts)
    top = [sides for words, sides in texts[:40] if words not in ("t\ns", "t")]
    for index, one in enumerate(top):
        assert not any(one.overlaps(other) for other in top[:index])
    assert " ".join(words for words, _ in texts[:20] if words.split()[0] in ("a", "that", "needs")).startswith(
        "a sentence"
    )


def test_lines_are_told_apart_beside_the_picture():
    series = tuple(Series(label=f"$s{n}", values=(1.0, float(n))) for n in range(12))
    view = Lines(title="t", unit="u", x=(Mark(label="a"), Mark(label="b")), series=series)
    drawn = figure.page("t", "s", [view])
    texts = dict(shown(drawn))
    assert all(texts[each.label].x0 > drawn.axes[0].bbox.x1 for each in series)
    assert len({(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn.axes[0].lines}) == 12


def test_the_caption_of_every_view_is_under_its_title():
    caption = "What the numbers say and what they do not prove. " * 5
    for view in every_view("a"):
        if view.kind == "scatter":  # below the picture, so that several stand side by side
            continue
        texts = list(shown(figure.page("t", "s", [view.model_copy(update={"caption": caption, "title": "The title"})])))
        title = next(sides for words, sides in texts if words.startswith("The title"))
        told, below = next((words, sides) for words, sides in texts if words.startswith("What the"))
        assert " ".join(told.split()) == caption.strip()
        assert below.y1 <= title.y0 + 1
        others = [sides for words, sides in texts if words not in ("t\ns", told)]
        assert not any(below.overlaps(sides) for sides in others), view.kind


def test_the_caption_of_a_scatter_is_below_it_and_covers_no_text():
    for view in (view for view in every_view("a") if view.kind == "scatter"):
        caption = "What the numbers say and what they do not prove. " * 3
        drawn = figure.page("t", "s", [view.model_copy(update={"caption": caption})] * 3)
        texts = list(shown(drawn))
        captions = [(words, sides) for words, sides in texts if words.startswith("What the")]
        assert len(captions) == 3
        assert [("a stem leads down" in " ".join(words.split())) for words, _ in captions] == [
            len(view.axes) == 3, False, False
        ]  # fmt: skip
        for told, below in captions:
            assert not any(below.overlaps(sides) for words, sides in texts if words not in (told, "t\ns"))


def test_in_space_nearer_points_are_larger_and_stand_on_the_floor():
    points = tuple(Point(label=str(n), x=n, y=-n, z=0.5) for n in range(3))
    view = Scatter(title="t", axes=("a", "b", "c"), points=points, limits=((0, 2), (-2, 0), (0, 1)))
    axes = figure.page("t", "s", [view]).axes[0]
    (dots,) = axes.collections
    assert list(dots.get_sizes()) == sorted(dots.get_sizes())
    assert len(set(dots.get_sizes())) == 3
    assert list(dots.get_facecolors()[:, 3]) == sorted(dots.get_facecolors()[:, 3])
    (stems,) = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 9]
    assert [stems[n] for n in (0, 3, 6)] == pytest.approx([stems[n] for n in (1, 4, 7)])


def test_numbers_of_a_graph_stand_apart():
    nodes = (*(Node(id=f"n{n}", rank=n, label=f"n{n}") for n in range(4)), Node(id="end", rank=4, label="end"))
    edges = tuple(Edge(source=f"n{n}", target="end", value=0.234 + n / 100) for n in range(4))
    for view in (Graph(title="t", unit="u", signed=True, nodes=nodes, edges=edges), thick_graph()):
        numbers = [
            sides for words, sides in shown(figure.page("t", "s", [view])) if words[0] in "+-" and "\n" not in words
        ]
        assert len(numbers) >= 4
        for index, one in enumerate(numbers):
            for other in numbers[:index]:
                assert not one.padded(2).overlaps(other.padded(2))


def test_names_of_bars_are_told_apart():
    items = tuple(Bar(label=f"resid_pre.{n} at ‘·John’/‘·Mary’ {n}", value=1.0) for n in range(3))
    drawn = figure.page("t", "s", [Bars(title="t", unit="u", items=items)])
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == [item.label for item in items]


def test_a_figure_says_what_its_marks_mean():
    view = Tokens(title="t", items=(TokenMark(text="\n"), TokenMark(text="b")))
    assert figure.page("t", "s", [view]).get_supxlabel() == "Marks in tokens: ⏎ a line break."
    plain = view.model_copy(update={"items": view.items[1:]})
    assert figure.page("t", "s", [plain]).get_supxlabel() == ""
