"""Texts of a figure: in fonts that are there, cut to their room, never read as mathematics."""

from functools import cache
from typing import Any

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from fluoroscope.render import palette
from fluoroscope.render.text import prose, visible
from fluoroscope.views import Mark

THEME = palette.LIGHT
WIDTH, LETTERS = 9.0, 100
"""Width of a figure in inches, and how many letters of size 10 there are in a line."""

LABEL = 24
"""Letters of the longest label."""

_FALLBACKS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Emoji")


def label(mark: Mark) -> str:
    """The name of a place."""
    return printable(cut(visible(mark.label) if mark.token else prose(mark.label), LABEL))


def cut(text: str, room: int) -> str:
    """The text, or as much of it as there is room for."""
    return text if len(text) <= room else text[: room - 1] + "…"


def font(**more: Any) -> dict[str, Any]:
    """Properties of a text that is never read as mathematics or TeX, whatever the user's rcParams say."""
    names = [name for name, _ in _fonts()]
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
