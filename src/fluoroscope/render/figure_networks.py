"""Arcs, graphs and points on matplotlib axes: what has a place on a sheet."""

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from fluoroscope.render import palette
from fluoroscope.render.figure_text import LABEL, THEME, WIDTH, cut, font, label, printable
from fluoroscope.render.layout import Layout, Point, curve, layered, number_places
from fluoroscope.render.places import axis_label, labels, sheet
from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Arcs, Graph, Scatter

_NODE, _HALF, _LETTER = 0.8, 0.22, 0.062
_DIGIT, _LINE = 0.055, 0.16
_CELL = 10
_MARKERS, _KEYS = "os^D", "●■▲◆"
_SCATTER_CHARACTER = 0.026


def arcs(axes: Axes, view: Arcs) -> None:
    """A text in a row, and over it arcs as thick as their value, each with its arrow at the target."""
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
        text = cut(visible(item.text), _CELL)
        text += "" if item.value is None else f"\n{number(item.value, view.signed)}"
        turned = 60 if len(view.items) > 16 else 0
        axes.text(index, -0.02, text, rotation=turned, **font(size=size, ha="center", va="top", weight=weight))


def graph(axes: Axes, view: Graph) -> None:
    """Nodes as boxes in ranks, edges as curves from top to bottom, as thick as their value."""
    axes.set_axis_off()
    layout = layered(view)
    axes.set_xlim(0, max(1.0, layout.columns))
    axes.set_ylim(max(1, layout.rows) - 0.5, -0.5)
    strongest = palette.strongest([[edge.value for edge in view.edges]])
    routes = [[(a, b + _HALF), *bends, (x, y - _HALF - 0.04)] for (a, b), *bends, (x, y) in layout.routes]
    for edge, route in zip(view.edges, routes, strict=True):
        _arrow(axes, curve(route), edge.value, strongest)
    room = max(4, int(_NODE * WIDTH / layout.columns / _LETTER))
    for node in view.nodes:
        x, y = layout.nodes[node.id]
        side = THEME.ink if node.value is None else THEME.line
        corner = (x - _NODE / 2, y - _HALF)
        axes.add_patch(Rectangle(corner, _NODE, 2 * _HALF, facecolor=THEME.page, edgecolor=side, zorder=3))
        text = cut(label(node), room) + ("" if node.value is None else f"\n{number(node.value, view.signed)}")
        axes.text(x, y, text, **font(size=7, ha="center", va="center", zorder=4))
    _amounts(axes, view, routes, layout)


def _amounts(axes: Axes, view: Graph, routes: list[list[Point]], layout: Layout) -> None:
    """The numbers of the edges, the largest first, as far as there is room."""
    column = WIDTH / max(1.0, layout.columns)
    pairs = sorted(zip(view.edges, routes, strict=True), key=lambda pair: -abs(pair[0].value or 0.0))
    texts = [number(edge.value, view.signed) for edge, _ in pairs]
    taken = [(x - _NODE / 2, y - _HALF, x + _NODE / 2, y + _HALF) for x, y in layout.nodes.values()]
    sizes = [(_DIGIT * len(text) / column, _LINE) for text in texts]
    places = number_places([route for _, route in pairs], sizes, taken)
    box = {"facecolor": THEME.page, "edgecolor": "none", "pad": 0.5}
    for text, place in zip(texts, places, strict=True):
        if place is not None:
            axes.text(*place, text, bbox=box, **font(size=6, ha="center", va="center"))


def _arrow(axes: Axes, points: list[Point], value: float | None, strongest: float) -> None:
    """A curve of cubic pieces with an arrow at its end, as thick as its value."""
    colour = THEME.against[-1] if (value or 0.0) < 0 else THEME.toward[-1]
    thickness = 0.6 + 3.4 * abs(value or 0.0) / strongest
    path = Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=thickness, alpha=0.75, capstyle="butt"))
    axes.plot(*points[-1], marker="v", color=colour, markersize=4)


def scatter(axes: Axes, view: Scatter, letter: float) -> None:
    """Points on the sheet from 0 to 1; the ends of an axis stand beside its name. `letter`: how large letters are."""
    spots, edges = sheet(view)
    keys = view.groups() if len(view.groups()) > 1 else []
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04 + 0.06 * len(keys)), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines["bottom"].set_visible(False)
    for (name, start, end), (low, high) in zip(edges, view.bounds(), strict=True):
        axes.plot(*zip(start, end, strict=True), color=THEME.line, linewidth=0.8, zorder=0)
        told = cut(prose(name) + (f", {low:.3g} to {high:.3g}" if len(edges) == 2 else ""), 2 * LABEL)
        x, y, turn = axis_label(start, end, len(edges))
        style = font(size=7, color=THEME.muted, rotation=90 * turn, ha="right" if turn else "center")
        axes.text(x - 0.02 * turn, y - 0.02 * (not turn), told, va="center" if turn else "top", **style)
    colours = (THEME.toward[-1], THEME.against[-1], THEME.muted)
    of = view.group_indices()
    for group in sorted(set(of)):
        xs, ys = zip(*(spot for spot, index in zip(spots, of, strict=True) if index == group), strict=True)
        axes.scatter(xs, ys, s=14, color=colours[group % len(colours)], marker=_MARKERS[group % len(_MARKERS)])
    for group, name in enumerate(keys):
        style = font(size=8, color=colours[group % len(colours)], va="center")
        axes.text(
            0.0,
            1.06 + 0.06 * (len(keys) - group - 1),
            printable(f"{_KEYS[group % 4]} {cut(prose(name), LABEL)}"),
            **style,
        )
    names = [label(point) for point in view.points]
    if not any(names):
        return
    widths = [_SCATTER_CHARACTER * letter * len(name) for name in names]
    size, height = (0.014 * letter, 0.014 * letter), 0.045 * letter
    covered = [
        (x - half, y - 2 * height, x + half, y)
        for name, _, (x, y) in (edges if len(edges) == 3 else ())
        for half in [_SCATTER_CHARACTER * letter * len(name) / 2]
    ]
    places = labels(spots, widths, height, 0.018 * letter, size, occupied=covered)
    for name, found in zip(names, places, strict=True):
        if found is not None:
            side = {"start": "left", "end": "right", "middle": "center"}[found.anchor]
            axes.text(found.x, found.y, name, **font(size=7, ha=side, va="center"))
