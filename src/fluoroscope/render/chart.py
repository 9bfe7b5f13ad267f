"""The line chart of an HTML page, as SVG without style attributes."""

from html import escape
from math import ceil

from rich.cells import cell_len

from fluoroscope.render.markup import anchored, cut, escaped, label, named
from fluoroscope.render.text import number
from fluoroscope.views import Lines, Mark, Series

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 20, 14, 34
_STYLES = 3
_APART = 0.1
_DASHES = ("", "7 4", "2 4", "9 4 2 4")
_CHARACTER, _LONGEST = 7.4, 24


def picture(view: Lines) -> str:
    """Lines over their axis, and what each of several is; a missing value interrupts its line."""
    bounds = view.bounds()
    low, high = bounds
    parts = [_axis(value, bounds) for value in _ticks(low, high)]
    parts += [_name(view.x[index], _x(index, len(view.x))) for index in _labelled(view)]
    if view.marked is not None:
        x = _x(view.marked, len(view.x))
        parts.append(f'<path class="here" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    parts += [_line(series, index, bounds, view) for index, series in enumerate(view.series)]
    names = ", ".join(label(series) for series in view.series)
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{names}">'
    return "\n".join([_legend(view), '<div class="wide" tabindex="0">', head, *parts, "</svg></div>"])


def _ticks(low: float, high: float) -> list[float]:
    """Zero, and of the ends those that are far enough from it for a number of their own."""
    if low == 0:
        return [0.0, high / 2, high]
    return [0.0, *(end for end in (low, high) if abs(end) / (high - low) > _APART)]


def _legend(view: Lines) -> str:
    if len(view.series) < 2:
        return ""
    keys = "".join(
        '<svg class="chart key stroke" viewBox="0 0 24 12" aria-hidden="true">'
        f'<path {_style(index)} d="M0 6H24"/></svg><span>{label(series)}</span>'
        for index, series in enumerate(view.series)
    )
    return f'<p class="legend">{keys}</p>'


def _style(index: int) -> str:
    """Colour and dashes of a line: no two of the first twelve look alike."""
    dashes = _DASHES[index // _STYLES % len(_DASHES)]
    return f'class="line{index % _STYLES}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def _labelled(view: Lines) -> list[int]:
    """As many places of the axis as there is room for, the marked one always among them."""
    longest = max((cell_len(cut(named(mark), _LONGEST)) for mark in view.x), default=1)
    every = max(1, ceil(len(view.x) * (longest + 1) * _CHARACTER / (_WIDTH - _LEFT - _RIGHT)))
    start = (view.marked or 0) % every
    return list(range(start, len(view.x), every))


def _name(mark: Mark, x: float) -> str:
    """The name of a place below it, moved inwards where it would not fit on the sheet."""
    text = cut(named(mark), _LONGEST)
    return f'<text {anchored(text, x, _CHARACTER, _WIDTH)} y="{_HEIGHT - 12}">{escape(text)}</text>'


def _axis(value: float, bounds: tuple[float, float]) -> str:
    y = _y(value, bounds)
    return (
        f'<path class="axis" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )


def _line(series: Series, place: int, bounds: tuple[float, float], view: Lines) -> str:
    path, dots, pen_up = "", "", True
    for index, value in enumerate(series.values):
        if value is None:
            pen_up = True
            continue
        x, y = _x(index, len(view.x)), _y(value, bounds)
        path += f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}"
        pen_up = False
        about = f"{label(series)} at {label(view.x[index])}: {number(value)} {escaped(view.unit)}"
        dots += f'<circle class="line{place % _STYLES}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{about}</title></circle>'
    return f'<path {_style(place)} d="{path}"/>{dots}'


def _x(index: int, count: int) -> float:
    room = _WIDTH - _LEFT - _RIGHT
    return _LEFT + room * (index + 0.5) / count


def _y(value: float, bounds: tuple[float, float]) -> float:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share
