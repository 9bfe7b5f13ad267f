"""The line chart of an HTML page, as SVG without style attributes."""

from html import escape
from math import ceil

from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Lines, Mark, Series

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 14, 34
_STYLES = 3
_CHARACTER = 7.5


def chart(view: Lines) -> str:
    """Lines over their axis; a missing value interrupts its line."""
    bounds = view.bounds()
    low, high = bounds
    ticks = (0.0, high / 2, high) if low == 0 else (low, 0.0, high)
    parts = [_axis(value, bounds) for value in dict.fromkeys(ticks)]
    parts += [
        f'<text x="{_x(index, len(view.x)):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{_label(view.x[index])}</text>'
        for index in _labelled(view)
    ]
    if view.marked is not None:
        x = _x(view.marked, len(view.x))
        parts.append(f'<path class="here" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    for index, series in enumerate(view.series):
        parts.append(_line(series, f"line{index % _STYLES}", bounds, view))
        if len(view.series) > 1:
            y = _TOP + 16 * (index + 1)
            parts.append(f'<text class="name{index % _STYLES}" x="{_LEFT + 10}" y="{y}">{_label(series)}</text>')
    names = ", ".join(_label(series) for series in view.series)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{names}">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def _labelled(view: Lines) -> list[int]:
    """As many places of the axis as there is room for, the marked one always among them."""
    longest = max((len(visible(mark.label)) for mark in view.x), default=1)
    every = max(1, ceil(len(view.x) * (longest + 2) * _CHARACTER / (_WIDTH - _LEFT - _RIGHT)))
    start = (view.marked or 0) % every
    return list(range(start, len(view.x), every))


def _axis(value: float, bounds: tuple[float, float]) -> str:
    y = _y(value, bounds)
    return (
        f'<path class="axis" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>'
    )


def _line(series: Series, name: str, bounds: tuple[float, float], view: Lines) -> str:
    path, dots, pen_up = "", "", True
    for index, value in enumerate(series.values):
        if value is None:
            pen_up = True
            continue
        x, y = _x(index, len(view.x)), _y(value, bounds)
        path += f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}"
        pen_up = False
        about = f"{_label(series)} at {_label(view.x[index])}: {number(value)} {escape(prose(view.unit))}"
        dots += f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{about}</title></circle>'
    return f'<path class="{name}" d="{path}"/>{dots}'


def _x(index: int, count: int) -> float:
    room = _WIDTH - _LEFT - _RIGHT
    return _LEFT + room * (index + 0.5) / count


def _y(value: float, bounds: tuple[float, float]) -> float:
    share = (value - bounds[0]) / (bounds[1] - bounds[0])
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _label(mark: Mark) -> str:
    return escape(visible(mark.label) if mark.token else prose(mark.label))
