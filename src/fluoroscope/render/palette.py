"""Colours that stay apart for colour-blind readers: orange = against, blue = for, one ramp for amounts."""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple


class Theme(NamedTuple):
    """Colours of a theme; every ramp starts at the colour of the page."""

    page: str
    ink: str
    muted: str
    line: str
    against: tuple[str, ...]
    amount: tuple[str, ...]
    toward: tuple[str, ...]


DARK = Theme(
    page="#14171e",
    ink="#e8eaf0",
    muted="#a2a9b8",
    line="#333947",
    against=("#1b1e26", "#a3622a", "#ffb86b"),
    amount=("#1b1e26", "#3b496c", "#8a8678", "#fee838"),
    toward=("#1b1e26", "#3f74a8", "#8cc7ff"),
)
LIGHT = Theme(
    page="#ffffff",
    ink="#1a1d24",
    muted="#5a6272",
    line="#d5d9e2",
    against=("#f7f7f7", "#f0a650", "#b35806"),
    amount=("#f7f7f3", "#c9c2a0", "#707173", "#00224e"),
    toward=("#f7f7f7", "#68a9d3", "#2166ac"),
)


def shade(theme: Theme, value: float, maximum: float, signed: bool) -> str:
    """The colour of a value whose strongest colour is at `maximum`."""
    ramp = theme.amount if not signed else theme.toward if value >= 0 else theme.against
    return _mix(ramp, min(1.0, abs(value) / maximum) if maximum else 0.0)


def ink(background: str) -> str:
    """Black or white, whichever is read more easily on the colour."""
    luminance = sum(
        weight * ((channel / 255 + 0.055) / 1.055) ** 2.4
        for weight, channel in zip((0.2126, 0.7152, 0.0722), _channels(background), strict=True)
    )
    return "#000000" if luminance > 0.179 else "#ffffff"


def strongest(grid: Iterable[Iterable[float | None]], maximum: float | None = None) -> float:
    """The magnitude that gets the strongest colour: as given, else the largest one present (1 if none is)."""
    if maximum is not None:
        return maximum
    return max((abs(value) for row in grid for value in row if value), default=1.0)


def _mix(ramp: tuple[str, ...], amount: float) -> str:
    place = amount * (len(ramp) - 1)
    index = min(int(place), len(ramp) - 2)
    low, high = list(pairwise(ramp))[index]
    share = place - index
    channels = (round(a + (b - a) * share) for a, b in zip(_channels(low), _channels(high), strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
