"""Where the nodes and edges of a graph are drawn: ranks one below the other, few crossings, the same every time.

A small form of Sugiyama's method (Sugiyama, Tagawa & Toda 1981): an edge that skips ranks bends at a place in each of
them, places are ordered by the mean place of their neighbours, and then moved below them as far as there is room.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fluoroscope.views import Graph

Point = tuple[float, float]
"""Column and row; a node is one column wide, and rows count from 0."""

Box = tuple[float, float, float, float]
"""Left, upper, right and lower side."""

_SWEEPS = 8
_BEND = 0.3
_SIDE, _GAP = 0.6, 0.12
_WAYS = (0.75, 0.6, 0.45, 0.3, 0.15, 0.9)


class Place(NamedTuple):
    """What takes room in a rank: a node, or the bend of an edge that passes."""

    row: int
    node: str | None
    edge: int | None


class Layout(NamedTuple):
    """Centres of nodes by id, and for every edge the points that it passes, in columns and rows.

    Args:
        columns: width of the drawing, which begins at column 0.
        rows: number of ranks.
    """

    columns: float
    rows: int
    nodes: dict[str, Point]
    routes: tuple[tuple[Point, ...], ...]


def layered(view: Graph) -> Layout:
    """The layout of a graph."""
    rank = {value: row for row, value in enumerate(sorted({node.rank for node in view.nodes}))}
    places = {node.id: Place(rank[node.rank], node.id, None) for node in view.nodes}
    chains: list[list[Place]] = []
    for number, edge in enumerate(view.edges):
        source, target = places[edge.source], places[edge.target]
        bends = [Place(row, None, number) for row in range(source.row + 1, target.row)]
        chains.append([source, *bends, target])
    rows: list[list[Place]] = [[] for _ in rank]
    for place in (*places.values(), *(place for chain in chains for place in chain[1:-1])):
        rows[place.row].append(place)
    links = [link for chain in chains for link in pairwise(chain)]
    rows = _ordered(rows, links)
    x = _columns(rows, links)
    points = {place: (x[place], float(place.row)) for row in rows for place in row}
    return Layout(
        columns=max((x[place] + _width(place) / 2 for row in rows for place in row), default=1.0),
        rows=len(rows),
        nodes={id: points[place] for id, place in places.items()},
        routes=tuple(_routes([[points[place] for place in chain] for chain in chains])),
    )


def _routes(chains: list[list[Point]]) -> list[tuple[Point, ...]]:
    """The points of each edge, those of one node leaving and entering it side by side."""
    leave = _side_by_side([(chain[0], chain[1]) for chain in chains])
    enter = _side_by_side([(chain[-1], chain[-2]) for chain in chains])
    return [(start, *chain[1:-1], end) for chain, start, end in zip(chains, leave, enter, strict=True)]


def _side_by_side(ends: list[tuple[Point, Point]]) -> list[Point]:
    """For each (end at a node, point next to it) a place of its own at the node, in the order of the points."""
    moved: list[Point] = []
    for number, ((x, y), (beside, _)) in enumerate(ends):
        same = sorted((other[0], index) for index, (end, other) in enumerate(ends) if end == (x, y))
        gap = min(_GAP, _SIDE / len(same))
        moved.append((x + gap * (same.index((beside, number)) - (len(same) - 1) / 2), y))
    return moved


Links = Sequence[tuple[Place, Place]]


def curve(points: Sequence[Point]) -> list[Point]:
    """The points of a chain of cubic curves through a route, each leaving and arriving upright: start, (3 points)*."""
    bends = [points[0]]
    for (x, y), (to_x, to_y) in pairwise(points):
        bends += [(x, (y + to_y) / 2), (to_x, (y + to_y) / 2), (to_x, to_y)]
    return bends


def number_places(
    routes: Sequence[Sequence[Point]], sizes: Sequence[tuple[float, float]], taken: Sequence[Box]
) -> list[Point | None]:
    """Where the number of each edge stands, as near to its end as no box and no earlier number is; None for no place.

    Args:
        sizes: width and height of each number, in the unit of the routes.
        taken: left, upper, right and lower side of what must not be covered.
    """
    boxes = list(taken)
    found: list[Point | None] = []
    for route, (width, height) in zip(routes, sizes, strict=True):
        found.append(None)
        for (x, y), (to_x, to_y) in reversed([*pairwise(route)]):
            for way in _WAYS if found[-1] is None else ():
                # the place on `curve` at this parameter
                across = x + (3 * way**2 - 2 * way**3) * (to_x - x)
                down = y + (1.5 * way - 1.5 * way**2 + way**3) * (to_y - y)
                box = (across - width / 2, down - height / 2, across + width / 2, down + height / 2)
                if not any(_overlap(box, other) for other in boxes):
                    found[-1] = (across, down)
                    boxes.append(box)
                    break
    return found


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ordered(rows: list[list[Place]], links: Links) -> list[list[Place]]:
    """The order of each rank with the fewest crossings that sweeps down and up come across."""
    best, fewest = rows, _crossings(rows, links)
    above, below = _neighbours(links, True), _neighbours(links, False)
    for sweep in range(_SWEEPS):
        rows = list(rows)
        down = sweep % 2 == 0
        for index in range(1, len(rows)) if down else range(len(rows) - 2, -1, -1):
            rows[index] = _by_neighbours(rows[index], rows[index + (-1 if down else 1)], above if down else below)
        crossings = _crossings(rows, links)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _by_neighbours(row: list[Place], beside: list[Place], near: dict[Place, list[Place]]) -> list[Place]:
    """A rank ordered by the mean place of its neighbours in the rank beside it; who has none stays where it is."""
    at = {place: number / max(1, len(beside) - 1) for number, place in enumerate(beside)}
    own = {place: number / max(1, len(row) - 1) for number, place in enumerate(row)}
    return sorted(row, key=lambda place: _mean([at[one] for one in near.get(place, [])], own[place]))


def _neighbours(links: Links, above: bool) -> dict[Place, list[Place]]:
    found: dict[Place, list[Place]] = {}
    for source, target in links:
        here, there = (target, source) if above else (source, target)
        found.setdefault(here, []).append(there)
    return found


def _crossings(rows: list[list[Place]], links: Links) -> int:
    at = {place: number for row in rows for number, place in enumerate(row)}
    by_row: dict[int, list[tuple[int, int]]] = {}
    for source, target in links:
        by_row.setdefault(source.row, []).append((at[source], at[target]))
    return sum(
        (one[0] - other[0]) * (one[1] - other[1]) < 0
        for pairs in by_row.values()
        for number, one in enumerate(pairs)
        for other in pairs[:number]
    )


def _columns(rows: list[list[Place]], links: Links) -> dict[Place, float]:
    """A column for each place: below its neighbours as far as order and room allow."""
    above, below = _neighbours(links, True), _neighbours(links, False)
    x: dict[Place, float] = {}
    for row in rows:
        x |= zip(row, _spread(row, [0.0] * len(row)), strict=True)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [_mean([x[one] for one in (*above.get(p, []), *below.get(p, []))], x[p]) for p in row]
            x |= zip(row, _spread(row, wanted), strict=True)
    left = min((value - _width(place) / 2 for place, value in x.items()), default=0.0)
    return {place: value - left for place, value in x.items()}


def _spread(row: list[Place], wanted: list[float]) -> list[float]:
    """The wanted columns moved apart: the mean of pushing to the right and of pushing to the left."""
    gaps = [(_width(one) + _width(other)) / 2 for one, other in pairwise(row)]
    right = list(wanted)
    for index, gap in enumerate(gaps):
        right[index + 1] = max(right[index + 1], right[index] + gap)
    left = list(wanted)
    for index in range(len(gaps) - 1, -1, -1):
        left[index] = min(left[index], left[index + 1] - gaps[index])
    return [(one + other) / 2 for one, other in zip(right, left, strict=True)]


def _width(place: Place) -> float:
    return _BEND if place.node is None else 1.0


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
