"""Tables on matplotlib axes: columns as wide as their content, sentences folded, numbers at the right."""

import textwrap
from typing import NamedTuple

from matplotlib.axes import Axes
from rich.cells import cell_len

from fluoroscope.render.cells import numeric, text_cells
from fluoroscope.render.figure_text import THEME, font, printable
from fluoroscope.render.text import prose, visible
from fluoroscope.views import Table

_MOST_ROWS = 60
_GAP, _SMALL = 2, 1.2
_NARROWEST = 12


class Sheet(NamedTuple):
    """A table as it is drawn.

    Args:
        widths: letters of each column.
        rows: for each row, the names first, for each column its lines.
        hidden: rows that are left out.
    """

    widths: list[int]
    rows: list[list[list[str]]]
    hidden: int


def sheet(view: Table, room: int) -> Sheet:
    """The columns and folded rows of a table that is to be so many letters of size 10 wide."""
    names = [prose(column.name) for column in view.columns]
    rows = [[*map(printable, row)] for row in (names, *text_cells(view, visible, prose)[:_MOST_ROWS])]
    widths = [max(cell_len(row[place]) for row in rows) for place in range(len(names))]
    while sum(widths) + _GAP * len(widths) > _SMALL * room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    folded = [[textwrap.wrap(text, own) or [""] for text, own in zip(row, widths, strict=True)] for row in rows]
    return Sheet(widths, folded, max(0, len(view.rows) - _MOST_ROWS))


def lines(view: Table, room: int) -> int:
    """Lines that a table takes."""
    found = sheet(view, room)
    return sum(max(map(len, row), default=1) for row in found.rows) + bool(found.hidden)


def table(axes: Axes, view: Table, room: int) -> None:
    """Rows of text."""
    axes.set_axis_off()
    axes.set_ylim(max(1, lines(view, room)), 0)
    found, right = sheet(view, room), numeric(view)
    whole = max(_SMALL * room, sum(found.widths) + _GAP * len(found.widths))
    top = 0
    for index, row in enumerate(found.rows):
        place = 0
        for cell, own, end in zip(row, found.widths, right, strict=True):
            style = font(size=8, va="center", ha="right" if end else "left", color=THEME.ink if index else THEME.muted)
            x = (place + own * end) / whole
            for line, text in enumerate(cell):
                axes.text(x, top + line + 0.5, text, transform=axes.get_yaxis_transform(), **style)
            place += own + _GAP
        top += max(map(len, row), default=1)
    if found.hidden:
        told = f"{found.hidden} more rows are in the JSON"
        axes.text(
            0, top + 0.5, told, transform=axes.get_yaxis_transform(), **font(size=8, va="center", color=THEME.muted)
        )
