"""Views as a matplotlib figure that owns itself: neither pyplot nor rcParams are touched."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, assert_never

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from fluoroscope.render import palette
from fluoroscope.render.cells import text_cells
from fluoroscope.render.layout import Point, curve, layered, number_places
from fluoroscope.render.places import axis_label, labels, sheet
from fluoroscope.render.text import decimals, number, numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, Scatter, Table, Tokens, View

_THEME = palette.LIGHT
_WIDTH = 9.0
_ROW = 0.28
_HEAD = 0.9
_RANK = 0.68
_NODE, _HALF, _LETTER = 0.8, 0.22, 0.062
_MOST_EDGES = 40
_FALLBACKS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Emoji")
_MOST_NUMBERS = 400
_CHARACTERS_PER_LINE = 100
_LABEL = 24
_COLUMN = 7
_SMALL = 1.2
_MOST_ROUNDED = 10_000
_CELL = 10
_ABREAST = 3
_MARKERS, _KEYS = "os^D", "●■▲◆"
_SCATTER_CHARACTER = 0.026


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
    heights = [max(_height(view) for view in row) for row in rows]
    width, height = size or (_WIDTH, sum(heights) + 0.9)
    letters = int(_CHARACTERS_PER_LINE * width / _WIDTH)
    layout = ConstrainedLayoutEngine(h_pad=0.12)
    figure = Figure(figsize=(width, height), layout=layout, facecolor=_THEME.page)
    wrapped = textwrap.fill(prose(summary), letters)
    figure.suptitle(_printable(f"{prose(title)}\n{wrapped}".rstrip()), x=0.01, ha="left", **_text(size=10))
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
    axes.set_title(_printable(_cut(prose(view.title) + unit, room)), loc="left", **_text(size=10, weight="bold"))
    axes.set_facecolor(_THEME.page)
    axes.tick_params(length=0, labelsize=8, labelcolor=_THEME.ink)
    for edge in ("top", "right", "left"):
        axes.spines[edge].set_visible(False)
    axes.spines["bottom"].set_color(_THEME.line)
    match view:
        case Bars():
            _bars(axes, view)
        case Heatmap():
            _heatmap(axes, view, room)
        case HeadGrid():
            _heatmap(axes, view.heatmap(), room)
        case Tokens():
            _tokens(axes, view)
        case Lines():
            _lines(axes, view)
        case Arcs():
            _arcs(axes, view)
        case Graph():
            _graph(axes, view)
        case Scatter():
            _scatter(axes, view, _WIDTH / _ABREAST / side)
        case Table():
            _table(axes, view)
        case _:
            assert_never(view)


def _height(view: View) -> float:
    match view:
        case Bars():
            return _HEAD + _ROW * len(view.items)
        case Heatmap():
            return _HEAD + _ROW * len(view.rows) * (1.6 if view.tokens else 1)
        case HeadGrid():
            return _HEAD + _ROW * len(view.values)
        case Tokens():
            return _HEAD / 2 + _ROW * len(_token_lines(view))
        case Lines():
            return _HEAD + 2.2
        case Arcs():
            return _HEAD + 1.8
        case Graph():
            return _HEAD + _RANK * len({node.rank for node in view.nodes})
        case Scatter():
            return _HEAD + _WIDTH / _ABREAST
        case Table():
            return _HEAD / 2 + _ROW * (len(view.rows) + 1)
        case _:
            assert_never(view)


def _bars(axes: Axes, view: Bars) -> None:
    places = range(len(view.items))
    values = [item.value or 0.0 for item in view.items]
    colours = [_THEME.toward[-1] if value >= 0 else _THEME.against[-1] for value in values]
    drawn = axes.barh(places, values, color=colours, height=0.7)
    amounts = numbers([item.value for item in view.items], view.signed)
    remarks = [prose(item.remark) for item in view.items]
    texts = [
        _printable(_cut(f"{amount}  {remark}".rstrip(), _LABEL))
        for amount, remark in zip(amounts, remarks, strict=True)
    ]
    axes.bar_label(drawn, texts, padding=4, **_text(size=8))
    axes.set_yticks(places, [_label(item) for item in view.items], **_text(size=8))
    axes.invert_yaxis()
    axes.margins(x=0.2 if view.signed else 0.12, y=0.02)
    if view.signed:
        axes.axvline(0, color=_THEME.line, linewidth=1)


def _heatmap(axes: Axes, view: Heatmap, room: int) -> None:
    maximum = palette.strongest(view.values, view.maximum)
    ramp = [*reversed(_THEME.against[1:]), *_THEME.toward] if view.signed else list(_THEME.amount)
    colours = LinearSegmentedColormap.from_list("fluoroscope", ramp)
    grid = [[float("nan") if value is None else value for value in row] for row in view.values]
    if grid and view.columns:
        axes.imshow(grid, cmap=colours, norm=Normalize(-maximum if view.signed else 0, maximum), aspect="auto")
    axes.set_xticks(range(len(view.columns)), [_label(mark) for mark in view.columns], **_text(size=8))
    axes.set_yticks(range(len(view.rows)), [_label(mark) for mark in view.rows], **_text(size=8))
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    if len(view.columns) * _COLUMN > room:
        axes.tick_params(axis="x", labelrotation=90)
    if len(view.rows) * len(view.columns) * _CHARACTERS_PER_LINE > _MOST_NUMBERS * room:
        return
    amounts = _fitting(view, room)
    for row, values in enumerate(view.values):
        for column, value in enumerate(values):
            colour = palette.shade(_THEME, value or 0.0, maximum, view.signed)
            token = _printable(_cut(visible(view.tokens[row][column]), _CELL)) + "\n" if view.tokens else ""
            style = _text(size=7, ha="center", va="center", color=palette.ink(colour))
            axes.text(column, row, token + amounts[row][column], **style)


def _fitting(view: Heatmap, room: int) -> list[list[str]]:
    """The numbers of a heatmap with as many digits as its columns have room for; a tiny one may read 0.0, never 0."""
    digits = decimals(view.values)
    told = [[number(value, view.signed, digits) for value in row] for row in view.values]
    wide = max((len(text) for row in told for text in row), default=0) * len(view.columns)
    if digits == 0 or wide <= _SMALL * room:
        return told
    return [[_rounded(value, view.signed) for value in row] for row in view.values]


def _rounded(value: float | None, signed: bool) -> str:
    if not value or abs(value) >= _MOST_ROUNDED:
        return number(value, signed)
    return f"{value:{'+' if signed else ''}.1f}"


def _tokens(axes: Axes, view: Tokens) -> None:
    axes.set_axis_off()
    lines = _token_lines(view)
    axes.set_ylim(len(lines), 0)
    for index, line in enumerate(lines):
        axes.text(0, index + 0.5, line, transform=axes.get_yaxis_transform(), **_text(size=9, va="center"))


def _token_lines(view: Tokens) -> list[str]:
    lines, line = list[str](), ""
    for index, item in enumerate(view.items):
        text = _printable(_cut(visible(item.text), _LABEL))
        text = f"[{text}]" if index == view.marked else text
        if len(line) + len(text) > _CHARACTERS_PER_LINE:
            lines.append(line)
            line = ""
        line += f"{text}  "
    return [*lines, line]


def _lines(axes: Axes, view: Lines) -> None:
    colours = (_THEME.toward[-1], _THEME.against[-1], _THEME.muted)
    for index, series in enumerate(view.series):
        values = [float("nan") if value is None else value for value in series.values]
        axes.plot(range(len(values)), values, color=colours[index % 3], marker="o", markersize=3)
        if len(view.series) > 1:
            place = (0.01, 0.95 - 0.1 * index)
            style = _text(size=8, color=colours[index % 3], va="top")
            axes.text(*place, _label(series), transform=axes.transAxes, **style)
    every = max(1, len(view.x) // 16)
    shown = range((view.marked or 0) % every, len(view.x), every)
    axes.set_xticks(shown, [_label(view.x[index]) for index in shown], **_text(size=8))
    low, high = view.bounds()
    axes.set_ylim(low - (0.03 * (high - low) if low else 0), high + 0.03 * (high - low))
    axes.grid(axis="y", color=_THEME.line, linewidth=0.6)
    if view.marked is not None:
        axes.axvline(view.marked, color=_THEME.ink, linewidth=0.8, linestyle=":")


def _arcs(axes: Axes, view: Arcs) -> None:
    axes.set_axis_off()
    reach = max((abs(arc.source - arc.target) for arc in view.arcs), default=1) or 1
    axes.set_xlim(-0.5, max(1, len(view.items)) - 0.5)
    axes.set_ylim(-0.4, 1.1)
    strongest = palette.strongest([[arc.value for arc in view.arcs]])
    for arc in reversed(view.largest()):
        high = 0.15 + 1.1 * abs(arc.source - arc.target) / reach
        loop = 0.2 if arc.source == arc.target else 0.0
        start, end = arc.source - loop, arc.target + loop
        _arrow(axes, [(start, 0.05), (start, high), (end, high), (end, 0.05)], arc.value, strongest)
    size = 9 if len(view.items) <= 16 else 7
    for index, item in enumerate(view.items):
        weight = "bold" if index == view.marked else "normal"
        text = _printable(_cut(visible(item.text), _CELL))
        text += "" if item.value is None else f"\n{number(item.value, view.signed)}"
        turned = 60 if len(view.items) > 16 else 0
        axes.text(index, -0.02, text, rotation=turned, **_text(size=size, ha="center", va="top", weight=weight))


def _graph(axes: Axes, view: Graph) -> None:
    axes.set_axis_off()
    layout = layered(view)
    axes.set_xlim(0, max(1.0, layout.columns))
    axes.set_ylim(max(1, layout.rows) - 0.5, -0.5)
    strongest = palette.strongest([[edge.value for edge in view.edges]])
    routes = [[(a, b + _HALF), *bends, (x, y - _HALF - 0.04)] for (a, b), *bends, (x, y) in layout.routes]
    for edge, route in zip(view.edges, routes, strict=True):
        _arrow(axes, curve(route), edge.value, strongest)
    room = max(4, int(_NODE * _WIDTH / layout.columns / _LETTER))
    for node in view.nodes:
        x, y = layout.nodes[node.id]
        side = _THEME.ink if node.value is None else _THEME.line
        corner = (x - _NODE / 2, y - _HALF)
        axes.add_patch(Rectangle(corner, _NODE, 2 * _HALF, facecolor=_THEME.page, edgecolor=side, zorder=3))
        text = _cut(_label(node), room) + ("" if node.value is None else f"\n{number(node.value, view.signed)}")
        axes.text(x, y, text, **_text(size=7, ha="center", va="center", zorder=4))
    if len(routes) <= _MOST_EDGES:
        for edge, (x, y) in zip(view.edges, number_places(routes), strict=True):
            box = {"facecolor": _THEME.page, "edgecolor": "none", "pad": 0.5}
            axes.text(x, y, number(edge.value, view.signed), bbox=box, **_text(size=6, ha="center", va="center"))


def _arrow(axes: Axes, points: list[Point], value: float | None, strongest: float) -> None:
    """A curve of cubic pieces with an arrow at its end, as thick as its value."""
    colour = _THEME.against[-1] if (value or 0.0) < 0 else _THEME.toward[-1]
    thickness = 0.6 + 3.4 * abs(value or 0.0) / strongest
    path = Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=thickness, alpha=0.75, capstyle="butt"))
    axes.plot(*points[-1], marker="v", color=colour, markersize=4)


def _scatter(axes: Axes, view: Scatter, letter: float) -> None:
    """Points on the sheet from 0 to 1; the ends of an axis stand beside its name. `letter`: how large letters are."""
    spots, edges = sheet(view)
    keys = view.groups() if len(view.groups()) > 1 else []
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04 + 0.06 * len(keys)), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines["bottom"].set_visible(False)
    for (name, start, end), (low, high) in zip(edges, view.bounds(), strict=True):
        axes.plot(*zip(start, end, strict=True), color=_THEME.line, linewidth=0.8, zorder=0)
        told = _printable(_cut(prose(name) + (f", {low:.3g} to {high:.3g}" if len(edges) == 2 else ""), 2 * _LABEL))
        x, y, turn = axis_label(start, end, len(edges))
        style = {"rotation": 90, "ha": "right", "va": "center"} if turn else {"ha": "center", "va": "top"}
        axes.text(x - 0.02 * turn, y - 0.02 * (not turn), told, **_text(size=7, color=_THEME.muted, **style))
    colours = (_THEME.toward[-1], _THEME.against[-1], _THEME.muted)
    of = view.group_indices()
    for group in sorted(set(of)):
        xs, ys = zip(*(spot for spot, index in zip(spots, of, strict=True) if index == group), strict=True)
        axes.scatter(xs, ys, s=14, color=colours[group % len(colours)], marker=_MARKERS[group % len(_MARKERS)])
    for group, name in enumerate(keys):
        style = _text(size=8, color=colours[group % len(colours)], va="center")
        axes.text(
            0.0,
            1.06 + 0.06 * (len(keys) - group - 1),
            _printable(f"{_KEYS[group % 4]} {_cut(prose(name), _LABEL)}"),
            **style,
        )
    names = [_label(point) for point in view.points]
    if not any(names):
        return
    widths = [_SCATTER_CHARACTER * letter * len(name) for name in names]
    places = labels(spots, widths, 0.045 * letter, 0.018 * letter, (0.014 * letter, 0.014 * letter))
    for name, found in zip(names, places, strict=True):
        if found is not None:
            side = {"start": "left", "end": "right", "middle": "center"}[found.anchor]
            axes.text(found.x, found.y, name, **_text(size=7, ha=side, va="center"))


def _table(axes: Axes, view: Table) -> None:
    axes.set_axis_off()
    axes.set_ylim(len(view.rows) + 1, 0)
    names = [prose(column.name) for column in view.columns]
    for index, row in enumerate([names, *text_cells(view, visible, prose)]):
        style = _text(size=8, va="center", color=_THEME.ink if index else _THEME.muted)
        for place, text in enumerate(row):
            x = place / len(row)
            shown = _printable(_cut(text, _CHARACTERS_PER_LINE // len(row)))
            axes.text(x, index + 0.5, shown, transform=axes.get_yaxis_transform(), **style)


def _label(mark: Mark) -> str:
    return _printable(_cut(visible(mark.label) if mark.token else prose(mark.label), _LABEL))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1] + "…"


def _text(**style: Any) -> dict[str, Any]:
    """Properties of a text that is never read as mathematics or TeX, whatever the user's rcParams say."""
    names = [name for name, _ in _fonts()]
    return {"color": _THEME.ink, "fontfamily": names, "parse_math": False, "usetex": False} | style


@cache
def _fonts() -> list[tuple[str, FT2Font]]:
    known = set(font_manager.get_font_names())
    return [(name, FT2Font(font_manager.findfont(name))) for name in _FALLBACKS if name in known]


def _printable(text: str) -> str:
    r"""The text with every character that no installed font can draw as \uXXXX, instead of an empty box."""

    def drawable(char: str) -> bool:
        return char == "\n" or any(font.get_char_index(ord(char)) for _, font in _fonts())

    return "".join(char if drawable(char) else f"\\u{ord(char):04x}" for char in text)
