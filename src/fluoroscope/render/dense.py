"""Heatmaps of more cells than anybody reads: blocks of cells, and in HTML one picture of coloured squares."""

from collections.abc import Sequence
from html import escape
from math import ceil
from typing import NamedTuple

from rich.cells import cell_len

from fluoroscope.render import palette
from fluoroscope.render.markup import cut, escaped, named, shade
from fluoroscope.views import Grid, Heatmap, Mark, Value

_READABLE, _NARROW = 2500, 24
_MOST = 160
_WIDTH, _LARGEST = 640, 12
_CHARACTER, _LINE, _PAD = 7.4, 15, 6
_LONGEST = 14


class Blocks(NamedTuple):
    """A heatmap of fewer cells: each is the value that is largest in size of `rows` x `columns` of them."""

    rows: int
    columns: int
    values: Grid


def is_dense(view: Heatmap) -> bool:
    """Whether a heatmap is a picture rather than numbers; strips of few rows or columns are read along."""
    sides = (len(view.rows), len(view.columns))
    return view.tokens is None and min(sides) > _NARROW and sides[0] * sides[1] > _READABLE


def blocks(view: Heatmap, most: int = _MOST) -> Blocks:
    """The heatmap in at most so many rows and columns."""
    rows, columns = ceil(len(view.rows) / most), ceil(len(view.columns) / most)
    down, across = range(0, len(view.rows), rows), range(0, len(view.columns), columns)
    values = tuple(
        tuple(
            _largest([value for line in view.values[top : top + rows] for value in line[left : left + columns]])
            for left in across
        )
        for top in down
    )
    return Blocks(rows, columns, values)


def note(found: Blocks, view: Heatmap) -> str:
    """What a cell is, and where all numbers are."""
    size = f"{len(view.rows)} x {len(view.columns)} numbers"
    if found.rows == found.columns == 1:
        return f"The JSON has the {size}."
    return f"A cell is the largest in size of {found.rows} x {found.columns} numbers; the JSON has all {size}."


def picture(view: Heatmap) -> str:
    """The squares, one path for each shade, and as many names of rows and columns as there is room for."""
    found = blocks(view)
    side = min(_LARGEST, max(3, _WIDTH // len(found.values[0])))
    rows, columns = view.rows[:: found.rows], view.columns[:: found.columns]
    left, top = (max(cell_len(_name(mark)) for mark in marks) * _CHARACTER + _PAD for marks in (rows, columns))
    every = ceil(_LINE / side)
    names = [
        f'<text x="{left - _PAD:.0f}" y="{top + (index + 0.5) * side + 4:.1f}" text-anchor="end">'
        f"{escape(_name(mark))}</text>"
        for index, mark in enumerate(rows)
        if index % every == 0
    ]
    for index, mark in enumerate(columns):
        if index % every == 0:
            x, y = left + (index + 0.5) * side + 4, top - _PAD
            names.append(f'<text transform="translate({x:.1f} {y:.0f}) rotate(-90)">{escape(_name(mark))}</text>')
    paths = [
        f'<path class="{name}" d="{path}"/>' for name, path in _paths(found.values, view, (left, top), side).items()
    ]
    width, height = left + side * len(columns) + _PAD, top + side * len(rows) + _PAD
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg class="dense" {size} role="img" aria-label="{escaped(view.title)}">'
    return "\n".join(['<div class="wide" tabindex="0">', head, *names, *paths, "</svg></div>"])


def _paths(values: Grid, view: Heatmap, corner: tuple[float, float], side: int) -> dict[str, str]:
    """For each shade the outline of its squares, neighbours in a row joined."""
    maximum = palette.strongest(view.values, view.maximum)
    found: dict[str, str] = {}
    for row, line in enumerate(values):
        names = [shade(value, maximum, view.signed) for value in line]
        start = 0
        for place in range(1, len(names) + 1):
            if place == len(names) or names[place] != names[start]:
                if names[start]:
                    x, y = corner[0] + start * side, corner[1] + row * side
                    width = (place - start) * side
                    found[names[start]] = found.get(names[start], "") + f"M{x:.0f} {y:.0f}h{width}v{side}h-{width}z"
                start = place
    return found


def _largest(values: Sequence[Value]) -> Value:
    present = [value for value in values if value is not None]
    return max(present, key=abs) if present else None


def _name(mark: Mark) -> str:
    return cut(named(mark), _LONGEST)
