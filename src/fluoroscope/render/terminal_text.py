"""Texts of a terminal: fitted to columns, in which wide characters take two."""

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells, set_cell_size

from fluoroscope.render import palette
from fluoroscope.render.text import prose, visible
from fluoroscope.views import Mark

TOWARD, AGAINST = "#4f9fe6", "#e58a33"
"""Blue and orange that can be read on a dark and on a light terminal."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"


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
    """A sentence in lines of at most so many columns."""
    lines = [""]
    for word in prose(text).split(" "):
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
