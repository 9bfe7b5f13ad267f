"""The line chart of an HTML page, as SVG without style attributes."""

from html import escape
from math import ceil

from fluoroscope.render import palette
from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Lines, Mark, Series

_WIDTH, _HEIGHT = 720, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 14, 34
_STYLES = 3
_CHARACTER = 7.5


def chart(view: Lines) -> str:
    """Lines over their axis; a missing value interrupts its line."""
    maximum = palette.strongest([line.values for line in view.series], view.maximum)
    parts = [_axis(share, maximum) for share in (0.0, 0.5, 1.0)]
    parts += [
        f'<text x="{_x(index, len(view.x)):.1f}" y="{_HEIGHT - 12}" text-anchor="middle">{_label(view.x[index])}</text>'
        for index in _labelled(view)
    ]
    if view.marked is not None:
        x = _x(view.marked, len(view.x))
        parts.append(f'<path class="here" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    for index, series in enumerate(view.series):
        parts.append(_line(series, f"line{index % _STYLES}", maximum, view))
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


def _axis(share: float, maximum: float) -> str:
    y = _y(share)
    return (
        f'<path class="axis" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{share * maximum:.3g}</text>'
    )


def _line(series: Series, name: str, maximum: float, view: Lines) -> str:
    path, dots, pen_up = "", "", True
    for index, value in enumerate(series.values):
        if value is None:
            pen_up = True
            continue
        x, y = _x(index, len(view.x)), _y(value / maximum)
        path += f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}"
        pen_up = False
        about = f"{_label(series)} at {_label(view.x[index])}: {number(value)} {escape(prose(view.unit))}"
        dots += f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{about}</title></circle>'
    return f'<path class="{name}" d="{path}"/>{dots}'


def _x(index: int, count: int) -> float:
    room = _WIDTH - _LEFT - _RIGHT
    return _LEFT + room * (index + 0.5) / count


def _y(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _label(mark: Mark) -> str:
    return escape(visible(mark.label) if mark.token else prose(mark.label))
