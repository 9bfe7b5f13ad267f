import subprocess
import sys

import matplotlib
import pytest

from fluoroscope.render import figure, figure_charts
from fluoroscope.views import Arc, Arcs, Bar, Bars, Edge, Graph, Heatmap, Mark, Node, Point, Scatter, TokenMark
from render.samples import HOSTILE, every_view


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
from fluoroscope.render import figure, figure_charts
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


def _grid(values, tokens=None):
    rows, columns = len(values), len(values[0])
    return Heatmap(
        title="t", unit="u", signed=True, rows=tuple(Mark(label=f"r{n}") for n in range(rows)),
        columns=tuple(Mark(label=f"c{n}") for n in range(columns)), values=values, tokens=tokens,
    )  # fmt: skip


def test_numbers_have_as_many_digits_as_there_is_room():
    whole = figure_charts._fitting(_grid(((1.0, 2053.0), (0.0, None))), 100)
    assert whole == [["+1", "+2053"], ["0", "–"]]
    row = (0.00002, 12.345, 0.0, 123456.0, *([1.0] * 10))
    assert figure_charts._fitting(_grid((row,)), 200)[0][:3] == ["+2.0e-5", "+12.35", "0"]
    assert figure_charts._fitting(_grid((row,)), 40)[0][:4] == ["+0.0", "+12.3", "0", "+1.2e+5"]
