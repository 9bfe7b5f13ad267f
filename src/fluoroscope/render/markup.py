"""Pieces of HTML that pictures share: escaped texts, heads of tables, shades and their legend."""

from collections.abc import Iterable
from html import escape

from rich.cells import cell_len, set_cell_size

from fluoroscope.render.stylesheet import STEPS
from fluoroscope.render.text import prose, visible
from fluoroscope.views import Mark


def escaped(text: str) -> str:
    """A title or sentence as HTML, with everything that has no ink visible."""
    return escape(prose(text))


def label(mark: Mark) -> str:
    """The name of a place as HTML."""
    return escape(named(mark))


def sentence(text: str) -> str:
    """A sentence as HTML in which no line begins with a percent sign."""
    return escaped(text).replace(" %", "&nbsp;%")


def named(mark: Mark) -> str:
    """The name of a place, not yet escaped."""
    return visible(mark.label) if mark.token else prose(mark.label)


def cut(text: str, longest: int) -> str:
    """A text in at most so many columns, of which wide characters take two."""
    return text if cell_len(text) <= longest else set_cell_size(text, longest - 1).rstrip() + "…"


def anchored(text: str, x: float, character: float, width: float) -> str:
    """Attributes that put a text's middle at `x`, or its end at the edge of a picture so wide that cuts it off."""
    half = cell_len(text) * character / 2
    anchor, place = ("start", 0.0) if x < half else ("end", width) if x + half > width else ("middle", x)
    return f'x="{place:.1f}" text-anchor="{anchor}"'


def head(mark: Mark, scope: str = "row") -> str:
    """The name of a place as the head of a row or a column."""
    return f'<th scope="{scope}" class="{"token" if mark.token else ""}">{label(mark)}</th>'


def site(address: str | None) -> str:
    """The attribute that says which site a selection stands for."""
    return "" if address is None else f' data-site="{escape(address)}"'


def shade(value: float | None, maximum: float, signed: bool) -> str:
    """The class of a value's colour; no class for a missing one."""
    if value is None:
        return ""
    scale = "amount" if not signed else "toward" if value >= 0 else "against"
    return f"{scale}{min(STEPS, round(abs(value) / maximum * STEPS))}"


def legend(values: Iterable[float | None], maximum: float, signed: bool) -> str:
    """What the shades mean; larger values than the strongest colour stands for are told."""
    present = [value for value in values if value is not None]
    most = f"{maximum:+.3g}" if signed else f"{maximum:.3g}"
    most += " or more" if max(present, default=0.0) > maximum else ""
    if not signed:
        return f'<p class="legend">0 {_strip("amount", range(0, STEPS + 1, 2))} {most}</p>'
    least = f"{-maximum:.3g}" + (" or less" if min(present, default=0.0) < -maximum else "")
    shades = _strip("against", range(STEPS, 0, -2)) + _strip("toward", range(0, STEPS + 1, 2))
    return f'<p class="legend">{least} {shades} {most}</p>'


def _strip(scale: str, steps: Iterable[int]) -> str:
    return "".join(f'<i class="{scale}{step}"></i>' for step in steps)
