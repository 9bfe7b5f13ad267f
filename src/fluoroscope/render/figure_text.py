"""Texts of a figure: in fonts that are there, cut to their room, never read as mathematics."""

from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from rich.cells import cell_len, set_cell_size

from fluoroscope.render import palette
from fluoroscope.render.text import prose, visible
from fluoroscope.views import Mark

THEME = palette.LIGHT
WIDTH, LETTERS = 9.0, 100
"""Width of a figure in inches, and how many letters of size 10 there are in a line."""

LETTER = 0.068
"""Width of a letter of size 8 in inches."""

LABEL = 24
"""Letters of the longest label."""

_FALLBACKS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Emoji")


def label(mark: Mark) -> str:
    """The name of a place."""
    return cut(visible(mark.label) if mark.token else prose(mark.label), LABEL)


def cut(text: str, room: int) -> str:
    """As much of a text as there is room for, in characters that can be drawn."""
    shown = printable(text)
    return shown if cell_len(shown) <= room else set_cell_size(shown, room - 1).rstrip() + "…"


def font(*, mono: bool = False, **more: Any) -> dict[str, Any]:
    """Properties of a text that is never read as mathematics or TeX, whatever the user's rcParams say."""
    names = ["DejaVu Sans Mono"] * mono + [name for name, _ in _fonts()]
    return {"color": THEME.ink, "fontfamily": names, "parse_math": False, "usetex": False} | more


@cache
def _fonts() -> list[tuple[str, FT2Font]]:
    known = set(font_manager.get_font_names())
    return [(name, FT2Font(font_manager.findfont(name))) for name in _FALLBACKS if name in known]


def printable(text: str) -> str:
    r"""The text with every character that no installed font can draw as \uXXXX, instead of an empty box."""

    def drawable(char: str) -> bool:
        return char == "\n" or any(font.get_char_index(ord(char)) for _, font in _fonts())

    return "".join(char if drawable(char) else f"\\u{ord(char):04x}" for char in text)
