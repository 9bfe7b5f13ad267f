"""Views as a matplotlib figure that owns itself: neither pyplot nor rcParams are touched."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import assert_never

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fluoroscope.render import figure_charts, figure_networks, figure_tables
from fluoroscope.render.dense import is_dense
from fluoroscope.render.figure_charts import ROW, SQUARE, TALLEST
from fluoroscope.render.figure_text import LETTERS, THEME, WIDTH, cut, font, printable
from fluoroscope.render.text import prose
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Scatter, Table, Tokens, View

_LINE = 0.24
_HEAD = 0.9
_RANK = 0.68
_ABREAST = 3


def page(
    title: str,
    summary: str,
    views: Sequence[View],
    *,
    abreast: int = 1,
    size: tuple[float, float] | None = None,
) -> Figure:
    """All views of a result, one below the other, or several abreast.

    Args:
        abreast: how many views to put side by side; scatter pictures that follow each other are up to three.
        size: width and height in inches; as large as the views need if not given.
    """
    rows = list(_rows(views, abreast))
    letters = int(LETTERS * (size[0] if size else WIDTH) / WIDTH)
    heights = [max(_height(view, letters // len(row)) for view in row) for row in rows]
    width, height = size or (WIDTH, sum(heights) + 0.9)
    layout = ConstrainedLayoutEngine(h_pad=0.12)
    figure = Figure(figsize=(width, height), layout=layout, facecolor=THEME.page)
    wrapped = textwrap.fill(prose(summary), int(1.15 * letters))
    figure.suptitle(printable(f"{prose(title)}\n{wrapped}".rstrip()), x=0.01, ha="left", **font(size=10))
    if rows:
        grid = figure.add_gridspec(len(rows), 1, height_ratios=heights)
        for place, row in enumerate(rows):
            panels = grid[place, 0].subgridspec(1, len(row))
            for column, view in enumerate(row):
                side = min(width / len(row), (height - 0.9) * heights[place] / sum(heights) - _HEAD)
                _draw(figure.add_subplot(panels[0, column]), view, letters // len(row), max(side, 1.0))
    return figure


def _rows(views: Sequence[View], abreast: int) -> Iterator[list[View]]:
    """Each view by itself, or as many side by side as asked for; scatter pictures that follow each other always."""
    for together, run in groupby(views, key=lambda view: isinstance(view, Scatter)):
        rest = list(run)
        step = max(abreast, _ABREAST) if together else abreast
        yield from (rest[start : start + step] for start in range(0, len(rest), step))


def image(figure: Figure, suffix: str) -> bytes:
    """The figure as the bytes of a .png or .svg file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
    return buffer.getvalue()


def _draw(axes: Axes, view: View, room: int, side: float) -> None:
    """`room` is the width in letters of a title, `side` the smaller side of the picture in inches."""
    unit = "" if isinstance(view, Table) or not view.unit else f" · {prose(view.unit)}"
    axes.set_title(cut(prose(view.title) + unit, room), loc="left", **font(size=10, weight="bold"))
    axes.set_facecolor(THEME.page)
    axes.tick_params(length=0, labelsize=8, labelcolor=THEME.ink)
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)
    axes.spines["bottom"].set_color(THEME.line)
    match view:
        case Bars():
            figure_charts.bars(axes, view)
        case Heatmap():
            figure_charts.heatmap(axes, view, room)
        case HeadGrid():
            figure_charts.heatmap(axes, view.heatmap(), room)
        case Tokens():
            figure_charts.tokens(axes, view, room)
        case Lines():
            figure_charts.lines(axes, view, room)
        case Arcs():
            figure_networks.arcs(axes, view)
        case Graph():
            figure_networks.graph(axes, view)
        case Scatter():
            figure_networks.scatter(axes, view, WIDTH / _ABREAST / side)
        case Table():
            figure_tables.table(axes, view, room)
        case _:
            assert_never(view)


def _height(view: View, room: int) -> float:
    """Inches that a view takes, of which `room` is the width in letters."""
    match view:
        case Bars():
            return _HEAD + ROW * len(view.items)
        case Heatmap():
            rows = ROW * len(view.rows) * (1.6 if view.tokens else 1)
            return _HEAD + min(SQUARE if is_dense(view) else TALLEST, rows) + figure_charts.names_height(view, room)
        case HeadGrid():
            return _height(view.heatmap(), room)
        case Tokens():
            return _HEAD / 2 + figure_charts.tokens_height(view, room)
        case Lines():
            return _HEAD + 2.2
        case Arcs():
            return _HEAD + 1.8
        case Graph():
            return _HEAD + _RANK * len({node.rank for node in view.nodes})
        case Scatter():
            return _HEAD + WIDTH / _ABREAST
        case Table():
            return _HEAD / 2 + _LINE * figure_tables.lines(view, room)
        case _:
            assert_never(view)
