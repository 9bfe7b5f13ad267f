"""Arcs and graphs on matplotlib axes."""

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from fluoroscope.render import palette
from fluoroscope.render.cells import amount
from fluoroscope.render.figure_text import THEME, WIDTH, cut, font, label, measured
from fluoroscope.render.layout import Layout, Point, curve, layered, number_places
from fluoroscope.render.text import number, visible
from fluoroscope.views import Arcs, Graph

_NODE, _HALF, _LETTER = 0.8, 0.22, 0.062
_AMOUNT, _LINE, _AROUND = 6, 0.16, 0.1
_CELL = 10


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
    column = 0.95 * WIDTH / max(1.0, layout.columns)
    pairs = sorted(zip(view.edges, routes, strict=True), key=lambda pair: -abs(pair[0].value or 0.0))
    texts = [amount(view, edge) for edge, _ in pairs]
    taken = [(x - _NODE / 2, y - _HALF, x + _NODE / 2, y + _HALF) for x, y in layout.nodes.values()]
    sizes = [((measured(text, _AMOUNT) + _AROUND) / column, _LINE) for text in texts]
    places = number_places([route for _, route in pairs], sizes, taken)
    box = {"facecolor": THEME.page, "edgecolor": "none", "pad": 0.5}
    for text, place in zip(texts, places, strict=True):
        if place is not None:
            axes.text(*place, text, bbox=box, **font(size=_AMOUNT, ha="center", va="center"))


def _arrow(axes: Axes, points: list[Point], value: float | None, strongest: float) -> None:
    """A curve of cubic pieces with an arrow at its end, as thick as its value."""
    colour = THEME.against[-1] if (value or 0.0) < 0 else THEME.toward[-1]
    thickness = 0.6 + 3.4 * abs(value or 0.0) / strongest
    path = Path(points, [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=thickness, alpha=0.75, capstyle="butt"))
    axes.plot(*points[-1], marker="v", color=colour, markersize=4)
