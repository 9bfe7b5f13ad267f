"""Views as lines of text that never exceed the width; numbers are always readable without colour."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import assert_never

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from fluoroscope.render import palette
from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Bars, HeadGrid, Heatmap, Lines, Mark, Series, Table, Tokens, View

TOWARD, AGAINST = "#4f9fe6", "#e58a33"
"""Blue and orange that can be read on a dark and on a light terminal."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"
_CHART_HEIGHT = 5
_MOST_BLOCKS = 4


def page(console: Console, title: str, summary: str, views: Sequence[View]) -> None:
    """Prints a whole result: its sentence first, then each view."""
    console.print(Text(prose(title), style="bold"), Text(""), sep="\n")
    for line in _wrap(summary, console.width):
        console.print(Text(line))
    for view in views:
        console.print(Text(""))
        for line in draw(view, console.width):
            console.print(line, no_wrap=True, crop=False)


def draw(view: View, width: int) -> list[Text]:
    """The lines of a view, none wider than `width` columns."""
    unit = "" if isinstance(view, Table) or not view.unit else f" · {view.unit}"
    head = Text(_fit(prose(view.title) + prose(unit), width).rstrip(), style="bold")
    caption = [Text(line, style="dim") for line in _wrap(view.caption, width)] if view.caption else []
    return [head, *caption, *_body(view, width)]


def _body(view: View, width: int) -> Iterator[Text]:
    match view:
        case Bars():
            return _bars(view, width)
        case Heatmap():
            return _heatmap(view, width)
        case HeadGrid():
            return _heatmap(view.heatmap(), width)
        case Tokens():
            return _tokens(view, width)
        case Lines():
            return _lines(view, width)
        case Table():
            return _table(view, width)
        case _:
            assert_never(view)


def _bars(view: Bars, width: int) -> Iterator[Text]:
    labels = [label(item) for item in view.items]
    numbers = [number(item.value, view.signed) for item in view.items]
    remarks = [prose(item.remark) for item in view.items]
    name_width = min(_widest(labels), width // 3)
    number_width = _widest(numbers)
    remark_width = min(_widest(remarks), width // 4)
    room = max(2, width - name_width - number_width - remark_width - (6 if remark_width else 4))
    maximum = palette.strongest([[item.value for item in view.items]])
    for item, name, text, remark in zip(view.items, labels, numbers, remarks, strict=True):
        line = Text(f"  {_fit(name, name_width)} ")
        line.append_text(_bar(item.value or 0.0, maximum, room, view.signed))
        line.append(f" {text:>{number_width}}")
        line.append(f"  {_fit(remark, remark_width)}".rstrip(), style="dim")
        yield line


def _bar(value: float, maximum: float, room: int, signed: bool) -> Text:
    if not signed:
        return Text(_fill(value / maximum, room), style=TOWARD)
    side = (room - 1) // 2
    left = Text(" " * side)
    if value < 0:
        halves = round(-value / maximum * side * 2)
        left = Text(("▐" * (halves % 2) + "█" * (halves // 2)).rjust(side), style=AGAINST)
    right = Text(_fill(max(0.0, value) / maximum, side), style=TOWARD)
    return Text.assemble(left, ("│", "dim"), right, " " * (room - 1 - 2 * side))


def _fill(share: float, room: int) -> str:
    eighths = round(min(1.0, share) * room * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)


def _heatmap(view: Heatmap, width: int) -> Iterator[Text]:
    maximum = palette.strongest(view.values, view.maximum)
    rows = [label(mark) for mark in view.rows]
    name_width = min(_widest(rows), width // 4)
    numbers = [[_short(value, view.signed) for value in row] for row in view.values]
    number_width = max((_widest(row) for row in numbers), default=1)
    shown = [[visible(token) for token in row] for row in view.tokens] if view.tokens else [[]]
    token_width = min(max(3, *(_widest(row) for row in shown)), 9) if view.tokens else 0
    gap = 1 if view.tokens else 0
    cell = number_width + 2 + (token_width + 1 if view.tokens else 0)
    for block in _blocks(len(view.columns), max(1, (width - name_width - 3) // (cell + gap))):
        if isinstance(block, str):
            yield Text(f"  {block}", style="dim")
            continue
        names = [label(view.columns[index]) for index in block]
        header = "".join(f" {_align(name, cell - 2, not view.tokens)} {' ' * gap}" for name in names)
        yield Text(f"  {' ' * name_width} {header}".rstrip(), style="dim")
        for row, name in enumerate(rows):
            line = Text(f"  {_fit(name, name_width)} ")
            for index in block:
                token = f"{_fit(shown[row][index], token_width)} " if view.tokens else ""
                text = f" {token}{numbers[row][index]:>{number_width}} "
                line.append(text, style=_cell_style(view.values[row][index], maximum, view.signed))
                line.append(" " * gap)
            line.rstrip()
            yield line


def _cell_style(value: float | None, maximum: float, signed: bool) -> str:
    if value is None:
        return "dim"
    colour = palette.shade(palette.DARK, value, maximum, signed)
    return f"{palette.ink(colour)} on {colour}"


def _blocks(columns: int, per_block: int) -> Iterator[range | str]:
    blocks = [range(start, min(start + per_block, columns)) for start in range(0, columns, per_block)]
    hidden = blocks[:-_MOST_BLOCKS]
    if hidden:
        yield f"columns 0 to {hidden[-1][-1]} of {columns} do not fit here; the JSON and HTML forms have them"
    yield from blocks[-_MOST_BLOCKS:]


def _tokens(view: Tokens, width: int) -> Iterator[Text]:
    maximum = palette.strongest([[item.value for item in view.items]])
    line = Text(" ")
    for index, item in enumerate(view.items):
        text = _fit(visible(item.text), min(cell_len(visible(item.text)), width - 6))
        text = f"[{text}]" if index == view.marked else text
        style = "reverse" if item.value is None else _cell_style(item.value, maximum, view.signed)
        if cell_len(line.plain) + cell_len(text) + 1 > width:
            yield line
            line = Text(" ")
        line.append(" ").append(text, style="bold reverse" if index == view.marked else style)
    yield line


def _lines(view: Lines, width: int) -> Iterator[Text]:
    maximum = palette.strongest([line.values for line in view.series], view.maximum)
    top = number(maximum)
    column = min(9, max(1, (width - len(top) - 4) // max(1, len(view.x))))
    for series in view.series:
        if len(view.series) > 1:
            yield Text(f"  {_fit(label(series), width - 4)}".rstrip(), style=TOWARD)
        yield from _chart(series, top, maximum, column)
    names = [label(mark) for mark in view.x]
    margin = " " * (len(top) + 4)
    if column > _widest(names):
        yield Text(margin + "".join(_center(name, column) for name in names).rstrip(), style="dim")
    elif names:
        yield Text(margin + _fit(f"{names[0]} … {names[-1]}", width - len(margin)).rstrip(), style="dim")
    if view.marked is not None:
        yield Text(margin + " " * (view.marked * column) + _center("▲", column).rstrip(), style="bold")


def _chart(series: Series, top: str, maximum: float, column: int) -> Iterator[Text]:
    for row in reversed(range(_CHART_HEIGHT)):
        line = Text(f"  {top if row == _CHART_HEIGHT - 1 else '0' if row == 0 else '':>{len(top)}} ")
        line.append("┤" if row in (0, _CHART_HEIGHT - 1) else "│", style="dim")
        for value in series.values:
            level = round((value or 0.0) / maximum * _CHART_HEIGHT * 8) - row * 8
            block = _LEVELS[min(8, max(0, level))] if value is not None else " "
            line.append((block * max(1, column - 1)).ljust(column), style=TOWARD)
        yield line
    if column >= 6:
        numbers = "".join(_center(number(value), column) for value in series.values)
        yield Text(f"  {' ' * len(top)}  {numbers}".rstrip())


def _table(view: Table, width: int) -> Iterator[Text]:
    flags = [column.token for column in view.columns]
    cells = [[_cell(cell, token) for cell, token in zip(row.cells, flags, strict=True)] for row in view.rows]
    names = [prose(column.name) for column in view.columns]
    widths = [max(cell_len(name), _widest([row[i] for row in cells])) for i, name in enumerate(names)]
    right = [not any(isinstance(row.cells[i], str) for row in view.rows) for i in range(len(names))]
    while sum(widths) + 2 * len(widths) > width and max(widths) > 6:
        widths[widths.index(max(widths))] -= 1
    while sum(widths) + 2 * len(widths) > width:
        widths.pop()
    for index, row in enumerate([names, *cells]):
        aligned = (f"  {_align(text, w, r)}" for text, w, r in zip(row, widths, right, strict=False))
        yield Text("".join(aligned).rstrip(), style="dim" if index == 0 else "")
    if len(widths) < len(names):
        left_out = ", ".join(names[len(widths) :])
        yield from (Text(f"  {line}", style="dim") for line in _wrap(f"no room here for: {left_out}", width - 2))


def _cell(cell: str | int | float | None, token: bool) -> str:
    if isinstance(cell, str):
        return visible(cell) if token else prose(cell)
    return number(cell) if isinstance(cell, float) or cell is None else str(cell)


def label(mark: Mark) -> str:
    """The name of a place, with the white space of a token visible."""
    return visible(mark.label) if mark.token else prose(mark.label)


def _short(value: float | None, signed: bool) -> str:
    """Two digits for narrow cells: .72, 1.0, -12, 3e4."""
    if value is None:
        return "–"
    size = abs(value)
    sign = "-" if value < 0 else "+" if signed else ""
    if size == 0:
        return "0"
    if size < 0.995:
        return f"{sign}.{round(size * 100):02d}"
    if size < 9.95:
        return f"{sign}{size:.1f}"
    return f"{sign}{size:.0f}" if size < 999.5 else f"{sign}{size:.0e}".replace("e+0", "e")


def _fit(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def _align(text: str, width: int, right: bool) -> str:
    fitted = _fit(text, width)
    return fitted.rstrip().rjust(width) if right else fitted


def _center(text: str, column: int) -> str:
    left = max(0, column - 1 - cell_len(text)) // 2
    return set_cell_size(" " * left + text, column)


def _widest(texts: Sequence[str]) -> int:
    return max((cell_len(text) for text in texts), default=0)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(prose(text), width, break_on_hyphens=False) or [""]
