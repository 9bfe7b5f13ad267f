"""Texts of a terminal: fitted to columns, in which wide characters take two."""

import re
from collections.abc import Sequence
from math import floor, log10

from rich.cells import cell_len, chop_cells, set_cell_size

from fluoroscope.render import palette
from fluoroscope.render.text import decimals, number, prose, visible
from fluoroscope.views import Mark

TOWARD, AGAINST = "#4f9fe6", "#e58a33"
"""Blue and orange that can be read on a dark and on a light terminal."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_MOST_PLACES = 5


def label(mark: Mark) -> str:
    """The name of a place, with the white space of a token visible."""
    return visible(mark.label) if mark.token else prose(mark.label)


def fit(text: str, width: int) -> str:
    """The text in exactly so many columns, cut with … where it is longer."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def align(text: str, width: int, right: bool) -> str:
    """The same, at either end."""
    fitted = fit(text, width)
    return fitted.rstrip().rjust(width) if right else fitted


def center(text: str, column: int) -> str:
    """The same in the middle, with a blank column at the right."""
    left = max(0, column - 1 - cell_len(text)) // 2
    return set_cell_size(" " * left + text, column)


def widest(texts: Sequence[str]) -> int:
    """Columns of the longest text."""
    return max((cell_len(text) for text in texts), default=0)


def wrap(text: str, width: int) -> list[str]:
    """A sentence in lines of at most so many columns; a number stays with its percent sign."""
    lines = [""]
    for word in re.split(r" (?!%)", prose(text)):
        for piece in chop_cells(word, width) if cell_len(word) > width else [word]:
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines


def fill(share: float, room: int) -> str:
    """A bar in eighths of a column, filled up with blanks."""
    eighths = round(min(1.0, share) * room * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)


def cell_style(value: float | None, maximum: float, signed: bool) -> str:
    """The colours of a cell."""
    if value is None:
        return "dim"
    colour = palette.shade(palette.DARK, value, maximum, signed)
    return f"{palette.ink(colour)} on {colour}"


def short(grid: Sequence[Sequence[float | None]], signed: bool) -> list[list[str]]:
    """Numbers for narrow cells, two digits of the largest: .72, 1.0, -12, 3e4; what rounds to nothing has no sign."""
    digits = decimals(grid)
    if digits is not None:
        return [[number(value, signed, digits) for value in row] for row in grid]
    largest = max((abs(value) for row in grid for value in row if value), default=1.0)
    places = min(_MOST_PLACES, max(2, 1 - floor(log10(largest))))
    return [[_short(value, signed, places) for value in row] for row in grid]


def _short(value: float | None, signed: bool, places: int) -> str:
    if not value:
        return "–" if value is None else "0"
    size = abs(value)
    sign = "-" if value < 0 else "+" if signed else ""
    if size < 0.995:
        digits = f"{round(size * 10**places):0{places}d}"
        return f".{digits}" if not int(digits) else f"{sign}.{digits}"
    if size < 9.95:
        return f"{sign}{size:.1f}"
    return f"{sign}{size:.0f}" if size < 999.5 else f"{sign}{size:.0e}".replace("e+0", "e")
