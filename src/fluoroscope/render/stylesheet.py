"""The style sheet of pages: the colours of both themes, then `style.css`."""

from functools import cache
from pathlib import Path

from fluoroscope.render import palette

STEPS = 16
"""Shades of each colour, from none to full."""

_SCALES = ("against", "amount", "toward")


@cache
def rules() -> str:
    """Everything that may stand between style tags."""
    own = Path(__file__).with_name("style.css").read_text(encoding="utf8")
    dark = f"@media screen and (prefers-color-scheme: dark) {{\n{_colours(palette.DARK)}\n}}"
    return f"{_colours(palette.LIGHT)}\n{dark}\n{own}"


def _colours(theme: palette.Theme) -> str:
    plain = f"--page: {theme.page}; --ink: {theme.ink}; --muted: {theme.muted}; --line: {theme.line};"
    accents = f"--toward: {theme.toward[-1]}; --against: {theme.against[-1]};"
    rules = [f".fluoroscope, .fluoroscope-page {{ {plain} {accents} }}"]
    for scale in _SCALES:
        for step in range(STEPS + 1):
            value = -step if scale == "against" else step
            colour = palette.shade(theme, value or 0, STEPS, scale != "amount")
            rules.append(
                f".fluoroscope .{scale}{step} {{ background: {colour}; fill: {colour}; color: {palette.ink(colour)}; }}"
            )
    return "\n".join(rules)
