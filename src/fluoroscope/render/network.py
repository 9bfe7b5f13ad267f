"""Graphs and arcs of an HTML page, as SVG without style attributes."""

from collections.abc import Sequence
from html import escape

from rich.cells import cell_len

from fluoroscope.render import palette
from fluoroscope.render.cells import amount
from fluoroscope.render.layout import Point, curve, layered, number_places
from fluoroscope.render.markup import cut, named
from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Arc, Arcs, Edge, Graph, Mark, Node, TokenMark

_CHARACTER = 7.9
_LONGEST = 20
_BOX, _ROW, _PAD = 38, 92, 12
_THINNEST, _THICKEST = 1.0, 7.0
_SMALL, _LINE = 6.7, 15.0
_TOKEN_GAP, _HIGHEST = 14, 150


def graph(view: Graph) -> str:
    """Nodes as boxes in ranks, edges as curves from top to bottom, as thick as their value."""
    layout = layered(view)
    box = max((cell_len(_label(node)) for node in view.nodes), default=4) * _CHARACTER + 18
    column = box + 26

    def pixel(point: Point) -> Point:
        return point[0] * column + _PAD, point[1] * _ROW + _BOX / 2 + _PAD

    size = layout.columns * column + 2 * _PAD, (layout.rows - 1) * _ROW + _BOX + 2 * _PAD
    strongest = palette.strongest([[edge.value for edge in view.edges]])
    routes = [_trimmed([pixel(point) for point in route]) for route in layout.routes]
    pairs = [*zip(view.edges, routes, strict=True)]
    curves = [_curve(view, edge, points, strongest) for edge, points in pairs]
    boxes = [_box(view, node, pixel(layout.nodes[node.id]), box) for node in view.nodes]
    amounts = _amounts(view, routes, [(pixel(layout.nodes[node.id]), box) for node in view.nodes])
    return _svg("graph", size, [*curves, *boxes, *amounts], prose(view.title))


def _amounts(view: Graph, routes: Sequence[Sequence[Point]], boxes: Sequence[tuple[Point, float]]) -> list[str]:
    """The numbers of the edges, the largest first, as far as there is room; all are in the table below."""
    pairs = sorted(zip(view.edges, routes, strict=True), key=lambda pair: -abs(pair[0].value or 0.0))
    texts = [amount(view, edge) for edge, _ in pairs]
    taken = [(x - width / 2, y - _BOX / 2, x + width / 2, y + _BOX / 2) for (x, y), width in boxes]
    sizes = [(len(text) * _SMALL + 8, _LINE) for text in texts]
    places = number_places([route for _, route in pairs], sizes, taken)
    drawn: list[str] = []
    for text, (width, height), place in zip(texts, sizes, places, strict=True):
        if place is not None:
            x, y = place
            under = f"M{x - width / 2:.1f} {y - height / 2:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"
            drawn.append(
                f'<path class="under" d="{under}"/><text class="amount" x="{x:.1f}" y="{y + 4:.1f}">{text}</text>'
            )
    return drawn


def arcs(view: Arcs) -> str:
    """A text in a row, and over it arcs as thick as their value, each with its arrow at the target."""
    widths = [cell_len(_token(item)) * _CHARACTER + _TOKEN_GAP for item in view.items]
    centres = [_PAD + sum(widths[:index]) + width / 2 for index, width in enumerate(widths)]
    base = 20 + min(_HIGHEST, 26 * _reach(view))
    strongest = palette.strongest([[arc.value for arc in view.arcs]])
    drawn = [_arc(view, arc, (centres[arc.source], centres[arc.target]), base, strongest) for arc in view.largest()]
    words: list[str] = []
    for index, (item, centre) in enumerate(zip(view.items, centres, strict=True)):
        name = "token marked" if index == view.marked else "token"
        words.append(f'<text class="{name}" x="{centre:.1f}" y="{base + 18}">{escape(_token(item))}</text>')
        if item.value is not None:
            amount = number(item.value, view.signed)
            words.append(f'<text class="amount" x="{centre:.1f}" y="{base + 34}">{amount}</text>')
    return _svg("arcs", (sum(widths) + 2 * _PAD, base + 42), [*reversed(drawn), *words], prose(view.title))


def _arc(view: Arcs, arc: Arc, ends: Point, base: float, strongest: float) -> str:
    start, end = (ends[0] - 7, ends[1] + 7) if arc.source == arc.target else ends
    top = base - 1.3 * (14 + (base - 34) * abs(arc.source - arc.target) / max(1, _reach(view)))
    names = " to ".join(f"{_token(view.items[index])} ({index})" for index in (arc.source, arc.target))
    path = f"M{start:.1f} {base:.1f}C{start:.1f} {top:.1f} {end:.1f} {top:.1f} {end:.1f} {base - 7:.1f}"
    about = f"{names}: {_value(arc.value, view.unit, view.signed)}"
    return _path(path, arc.value, strongest, about) + _tip((end, base - 7), arc.value)


def _reach(view: Arcs) -> int:
    return max((abs(arc.source - arc.target) for arc in view.arcs), default=0)


def _svg(name: str, size: Point, parts: Sequence[str], about: str) -> str:
    """As large as its content: labels stay readable, and what is too wide scrolls."""
    width, height = (f"{side:.0f}" for side in size)
    opening = f'<svg class="network {name}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img"'
    lines = "\n".join(parts)
    return f'<div class="wide" tabindex="0">{opening} aria-label="{escape(about)}">\n{lines}\n</svg></div>'


def _trimmed(points: list[Point]) -> list[Point]:
    """From the lower side of a box to just above the upper side of another."""
    (x, y), (to_x, to_y) = points[0], points[-1]
    return [(x, y + _BOX / 2), *points[1:-1], (to_x, to_y - _BOX / 2 - 7)]


def _curve(view: Graph, edge: Edge, points: list[Point], strongest: float) -> str:
    first, *bends = (f"{x:.1f} {y:.1f}" for x, y in curve(points))
    about = f"{_label(view.named(edge.source))} to {_label(view.named(edge.target))}"
    told = f"{about}: {amount(view, edge)} {prose(view.unit)}"
    drawn = _path(f"M{first}C{' '.join(bends)}", edge.value, strongest, told)
    return drawn + _tip(points[-1], edge.value)


def _path(path: str, value: float | None, strongest: float, about: str) -> str:
    thickness = _THINNEST + (_THICKEST - _THINNEST) * abs(value or 0.0) / strongest
    title = f"<title>{escape(about)}</title>"
    return f'<path class="edge {_side(value)}" stroke-width="{thickness:.2f}" d="{path}">{title}</path>'


def _tip(end: Point, value: float | None) -> str:
    x, y = end
    return f'<path class="tip {_side(value)}" d="M{x - 5:.1f} {y - 2:.1f}H{x + 5:.1f}L{x:.1f} {y + 7:.1f}Z"/>'


def _box(view: Graph, node: Node, centre: Point, width: float) -> str:
    (x, y), site = centre, "" if node.site is None else f' data-site="{escape(node.site)}"'
    name, lowered = ("node end", 5) if node.value is None else ("node", -2)
    words = f'<text x="{x:.1f}" y="{y + lowered:.1f}">{escape(_label(node))}</text>'
    if node.value is not None:
        words += f'<text class="amount" x="{x:.1f}" y="{y + 13:.1f}">{number(node.value, view.signed)}</text>'
    return (
        f'<rect class="{name}"{site} x="{x - width / 2:.1f}" y="{y - _BOX / 2:.1f}" width="{width:.1f}" '
        f'height="{_BOX}" rx="6"><title>{escape(_about(view, node))}</title></rect>{words}'
    )


def _about(view: Graph, node: Node) -> str:
    parts = [named(node), prose(node.group)]
    parts += [] if node.value is None else [_value(node.value, view.unit, view.signed)]
    return ", ".join(part for part in parts if part)


def _side(value: float | None) -> str:
    return "against" if (value or 0.0) < 0 else "toward"


def _value(value: float | None, unit: str, signed: bool) -> str:
    return f"{number(value, signed)} {prose(unit)}"


def _token(item: TokenMark) -> str:
    return cut(visible(item.text), _LONGEST)


def _label(mark: Mark) -> str:
    return cut(named(mark), _LONGEST)
