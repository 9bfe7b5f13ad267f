"""A text as the steps of its reasoning, each a span of characters and of tokens; every character is in exactly one.

A step ends at a line break, before "Step 2:", before the next item of a numbered list, and behind the white space that
follows the end of a sentence, whatever comes then: a digit, a quote, a small letter. A point ends no sentence inside
of a number or word (no white space follows), behind an abbreviation, an initial or the number of a list item; nor
before a small letter where it belongs to an ellipsis or to quoted speech.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from fluoroscope.errors import ArgumentError
from fluoroscope.pieces import offsets_of

_BORDER = re.compile(
    r"""(?P<line>[^\S\n]*\n\s*)
      | (?P<end>[.!?…؟।]+)(?P<close>["'”’»)\]*_]*)\s+
      | (?P<wide>[。！？]+[」』”’]*)\s*
      | (?<=[:;,])\s+(?=(?P<item>\d{1,3})[.)]\s)
      | \s+(?=Step\ \d+:)""",
    re.VERBOSE,
)
"""Where a step may end; the match ends where the next step begins."""

_MARKER = re.compile(r"(?:(?P<number>\d{1,3})[.)]|step \d+[.):])[^\S\n]+(?=\S)", re.IGNORECASE)
_QUOTES = "\"'”’»"
_TITLES = {"mr", "mrs", "ms", "dr", "prof", "st", "mt", "vs", "e.g", "i.e", "cf", "approx", "ca", "resp", "viz"}
"""Abbreviations that no sentence ends with."""
_COUNTED = {"no", "nr", "nos", "fig", "figs", "eq", "eqs", "p", "pp", "vol", "ch", "sec", "art"}
"""Abbreviations before a number."""
_LAST = {"etc", "al", "inc", "ltd", "co", "jr", "sr", "a.m", "p.m", "u.s", "u.k", "ph.d"}
"""Abbreviations that end a sentence where a capital follows."""


@dataclass(frozen=True)
class Step:
    """One step: characters `start` to `end` of the text, tokens `first` to `last`, both up to and without the last."""

    start: int
    end: int
    first: int
    last: int

    @property
    def tokens(self) -> slice:
        return slice(self.first, self.last)


def split(
    pieces: Sequence[str], separator: str | None = None, lead: int = 0, starts: Sequence[int] | None = None
) -> list[Step]:
    """The steps of a text that is cut into tokens.

    A token across a border belongs to the step that holds its last character; a step none of whose tokens would be
    left to it is joined to the next.

    Args:
        pieces: what each token shows.
        separator: what ends a step, instead of the rule above; it belongs to the step that it ends.
        lead: tokens in front that are in no step, such as BOS; characters count behind them.
        starts: the characters at which steps begin, instead of rule and separator.

    Raises:
        ArgumentError: an empty separator, one that the text does not hold, or `starts` that do not cut it.
    """
    shown = list(pieces[lead:])
    text = "".join(shown)
    bounds = [0, *(borders(text, separator) if starts is None else _own(text, separator, starts)), len(text)]
    ends = [end for _, end in offsets_of(shown)]
    found: list[Step] = []
    first = 0
    for end in bounds[1:]:
        last = bisect_right(ends, end)
        if last > first:
            found.append(Step(found[-1].end if found else 0, end, first + lead, last + lead))
        first = last
    return found


def lead(ids: Sequence[int], bos: int | None) -> int:
    """How many tokens in front of a text say only that it begins; one at least is left for the text."""
    return next((place for place, token in enumerate(ids[:-1]) if token != bos), len(ids) - 1)


def borders(text: str, separator: str | None = None) -> list[int]:
    """The characters at which every step but the first begins.

    Raises:
        ArgumentError: an empty separator, or one that the text does not hold.
    """
    if separator is None:
        return list(_sentences(text))
    if not separator or separator not in text:
        raise ArgumentError(
            f"split={separator!r} separates nothing in this text",
            "Give a text that stands between its steps; a shell writes a line break as $'\\n'.",
        )
    ends = [found.end() for found in re.finditer(rf"(?:{re.escape(separator)}\s*)+", text)]
    return [end for end in ends if end < len(text) and text[:end].replace(separator, "").strip()]


def _own(text: str, separator: str | None, starts: Sequence[int]) -> list[int]:
    """Borders that were given, proved to cut the text in order."""
    if separator is not None:
        raise ArgumentError("steps are given by what separates them and by where they start", "Give one of both.")
    if not starts or list(starts) != sorted(set(starts)) or starts[0] < 0 or starts[-1] >= len(text):
        raise ArgumentError(
            f"starts={list(starts)} do not cut a text of {len(text)} characters",
            "Give the characters at which steps begin, from 0, in order.",
        )
    return [start for start in starts if start]


def _sentences(text: str) -> list[int]:
    starts: list[int] = []
    start = 0
    marked, counted = _marker(text, 0, 0, at_line=True)
    for found in _BORDER.finditer(text):
        item = found["item"]
        if found.start() < marked or not text[start : found.start()].strip() or found.end() == len(text):
            continue
        if "\n" not in found[0] and (_goes_on(text, found) if found["end"] else item and int(item) != counted + 1):
            continue
        start = found.end()
        starts.append(start)
        marked, counted = _marker(text, start, counted, at_line="\n" in found[0] or item is not None)
    return starts


def _marker(text: str, start: int, counted: int, *, at_line: bool) -> tuple[int, int]:
    """Where the number of a list item at the start of a step ends, and the number; a 7 in a sentence is none."""
    space = len(text[start:]) - len(text[start:].lstrip())
    found = _MARKER.match(text, start + space)
    if found is None:
        return start, counted
    if found["number"] is None:
        return found.end(), counted
    number = int(found["number"])
    return (found.end(), number) if at_line or number == counted + 1 > 1 else (start, counted)


def _goes_on(text: str, found: re.Match[str]) -> bool:
    """Whether the sentence goes on behind what looks like its end."""
    end, close, after = found["end"], found["close"], text[found.end() :]
    if after[0].islower() and (end in ("...", "…", "..") or set(close) & set(_QUOTES)):
        return True
    if end != "." or close:
        return False
    words = text[: found.start()].split()[-2:]
    word = words[-1].lstrip("([\"'“‘") if words else ""
    if word.lower() in _TITLES:
        return True
    if word.lower() in _COUNTED:
        return after[0].isdigit()
    if word.lower() in _LAST:
        return not after[0].isupper()
    initial = len(word) == 1 and word.isupper() and word != "I"
    return initial and after[0].isupper() and (len(words) == 1 or words[0][:1].isupper() or after[1:2] == ".")
