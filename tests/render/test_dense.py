"""Large heatmaps: blocks by brute force, and files that do not grow with the number of cells."""

import re

import pytest

from fluoroscope.render import dense, html
from fluoroscope.views import Heatmap, Mark
from render.samples import every_view, square
from render.test_html import OURS, Page


def test_only_what_is_too_large_to_read_is_dense():
    assert dense.is_dense(square(60))
    assert not dense.is_dense(square(40))
    strip = Heatmap(
        title="t", unit="u", rows=tuple(Mark(label=f"L{n}") for n in range(12)),
        columns=tuple(Mark(label=f"{n}") for n in range(600)), values=(tuple(map(float, range(600))),) * 12,
    )  # fmt: skip
    assert not dense.is_dense(strip)
    assert not any(dense.is_dense(view) for view in every_view() if isinstance(view, Heatmap))


@pytest.mark.parametrize(("side", "most"), [(60, 160), (60, 20), (61, 20), (200, 160)])
def test_a_block_is_its_largest_number(side, most):
    view = square(side)
    found = dense.blocks(view, most)
    assert len(found.values) <= most
    for row, line in enumerate(found.values):
        for column, value in enumerate(line):
            inside = [
                view.values[y][x]
                for y in range(row * found.rows, min(side, (row + 1) * found.rows))
                for x in range(column * found.columns, min(side, (column + 1) * found.columns))
            ]
            present = [each for each in inside if each is not None]
            assert value == (max(present, key=abs) if present else None)


def area(path):
    return sum(int(width) * int(height) for width, height in re.findall(r"h(\d+)v(\d+)", path))


def test_every_square_is_drawn_once_in_the_shade_of_its_number():
    view = square(60)
    tags = Page(html.draw(view)).tags
    assert {tag for tag, _ in tags} <= OURS
    paths = {a["class"]: a["d"] for tag, a in tags if tag == "path"}
    side = int(re.search(r"v(\d+)", next(iter(paths.values())))[1])
    assert sum(area(path) for path in paths.values()) == (60 * 60 - 1) * side**2
    maximum = 118 / 60
    strongest = [value for line in view.values for value in line if value and round(-value / maximum * 16) == 16]
    assert area(paths["against16"]) == len(strongest) * side**2


def test_the_page_says_what_a_cell_is_and_stays_small():
    shown = " ".join(Page(html.draw(square(60))).texts)
    assert "The JSON has the 60 x 60 numbers." in shown
    source = html.draw(square(500))
    assert "A cell is the largest in size of 4 x 4 numbers; the JSON has all 500 x 500 numbers." in source
    assert len(source) < 300_000
