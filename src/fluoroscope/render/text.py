"""Hostile text made visible: nothing that a token contains is ever interpreted by whatever shows it."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = {" ": "·", "\n": "⏎", "\t": "⇥"}
_MEANINGS = {
    re.compile(r"·(?! )|(?<! )·"): "a space",  # between two spaces it parts a title from its unit
    re.compile("⏎"): "a line break",
    re.compile("⇥"): "a tab",
    re.compile("∅"): "no text",
    re.compile("◌"): "what a combining mark stands on",
    re.compile(r"<0x[0-9A-F]{2}>"): "a byte of a character that several tokens make up",
    re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"): "a character by its number",
}
_SHOWN_IDS = 64
_BRIEF = 40
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
_COMBINING = {"Mn", "Me", "Mc"}


def visible(text: str) -> str:
    r"""The text of a token with white space as · ⏎ ⇥ and everything else that has no ink as \x1b or \u202e.

    A combining mark at the start gets a dotted circle to stand on, so that it cannot change what is left of it.
    """
    shown = "".join(_SHOWN.get(char) or _ink(char) for char in text)
    return f"◌{shown}" if text and unicodedata.category(text[0]) in _COMBINING else shown or "∅"


def prose(text: str) -> str:
    """The same for titles and sentences, whose spaces stay spaces."""
    return "".join(char if char == " " else _SHOWN.get(char) or _ink(char) for char in text)


def quoted(text: str) -> str:
    """The text of a token as sentences quote it: ‘·Lily’."""
    return f"‘{visible(text)}’"


def marks(shown: str) -> str:
    r"""What the marks mean that a text, made visible already, has for what has no ink of its own; empty without any."""
    examples = ((pattern.search(shown), meaning) for pattern, meaning in _MEANINGS.items())
    found = [f"{example[0]} {meaning}" for example, meaning in examples if example]
    return f"Marks in tokens: {', '.join(found)}." if found else ""


def brief(text: str) -> str:
    """The first words of a text, in one line of at most 40 characters."""
    words = " ".join(text.split())
    return words if len(words) <= _BRIEF else f"{words[: _BRIEF - 1]}…"


def number(value: float | None, signed: bool = False, digits: int | None = None) -> str:
    """A value with about three significant digits, `–` where it is missing; signed on both sides of zero if asked.

    Args:
        digits: decimals, where a whole column shares them.
    """
    if value is None:
        return "–"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.0005 or size >= 100_000:
        return f"{value:{'+' if signed else ''}.1e}".replace("e-0", "e-").replace("e+0", "e+")
    return f"{value:{'+' if signed else ''}.{_digits(size) if digits is None else digits}f}"


def decimals(grid: Sequence[Sequence[float | None]]) -> int | None:
    """0 for a grid of whole numbers, such as ranks, None for any other: the digits that `number` takes."""
    return 0 if all(value is None or float(value).is_integer() for row in grid for value in row) else None


def numbers(values: Sequence[float | None], signed: bool = False) -> list[str]:
    """Values of one column, with as many decimals as the largest of them has room for; small ones stay readable."""
    digits = _digits(max((abs(value) for value in values if value is not None and abs(value) < 100_000), default=0.0))
    return [number(value, signed, max(digits, 3 if value and abs(value) < 0.005 else 0)) for value in values]


def _digits(size: float) -> int:
    return 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0


def percent(value: float) -> str:
    """A probability for sentences: 72.4 %, 0.03 %; never 100 % for less than one, nor 0 % for more than zero."""
    share = 100 * value
    if value in (0, 1):
        return f"{share:.0f} %"
    if share >= 99.95:
        return f"{share:.2f} %" if share < 99.995 else "more than 99.99 %"
    return f"{share:.1f} %" if share >= 1 else f"{share:.2f} %" if share >= 0.01 else "less than 0.01 %"


def share(value: float) -> str:
    """A share of a way, which may be negative or beyond 1: 39.5 %, -3.1 %, 240 %."""
    return f"{round(100 * value, 1) + 0.0:.1f} %"  # 0 has no sign


def counted(count: int, one: str, more: str = "") -> str:
    """How many of something: 1 token, 2 tokens; `more` where an s does not make it more than one."""
    return f"{count} {one if count == 1 else more or f'{one}s'}"


def size(count: int) -> str:
    """A number of bytes for sentences: 812 bytes, 12.3 kB, 4.5 MB."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.1f} kB" if count < 999_950 else f"{count / 1e6:.1f} MB"


def facts(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The recipe as pairs of name and text; ids of long prompts are cut, and say so."""
    return [(name, _fact(value)) for name, value in recipe.items()]


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, tuple | list) and value and isinstance(value[0], tuple | list):
        return " / ".join(_ids(row) for row in value)
    if isinstance(value, tuple | list):
        return "; ".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value)


def _ids(row: tuple[int, ...] | list[int]) -> str:
    shown = " ".join(str(token) for token in row[:_SHOWN_IDS])
    return shown if len(row) <= _SHOWN_IDS else f"{shown} … ({len(row)} in all, complete in the JSON)"


def _ink(char: str) -> str:
    if unicodedata.category(char) not in _UNSEEN:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
