"""Views as lines of text that never exceed the width; numbers are always readable without colour."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import assert_never

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Console
from rich.text import Text

from fluoroscope.render import palette
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.places import labels, sheet
from fluoroscope.render.text import decimals, number, numbers, prose, visible
from fluoroscope.views import (
    Arcs,
    Bars,
    Graph,
    HeadGrid,
    Heatmap,
    Lines,
    Mark,
    Scatter,
    Series,
    Table,
    TokenMark,
    Tokens,
    View,
)

TOWARD, AGAINST = "#4f9fe6", "#e58a33"
"""Blue and orange that can be read on a dark and on a light terminal."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"
_CHART_HEIGHT = 5
_MOST_BLOCKS = 4
_NARROWEST = 6
_SHEET_WIDTH, _SHEET_HEIGHT = 96, 18
_GLYPHS = "●■▲◆○□△◇"
_GROUPS = (TOWARD, AGAINST, "")


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
            return _tokens(view.items, view.marked, view.signed, width)
        case Lines():
            return _lines(view, width)
        case Arcs():
            return _arcs(view, width)
        case Graph():
            return _graph(view, width)
        case Scatter():
            return _scatter(view, width)
        case Table():
            return _table(view, width)
        case _:
            assert_never(view)


def _bars(view: Bars, width: int) -> Iterator[Text]:
    names = [label(item) for item in view.items]
    amounts = numbers([item.value for item in view.items], view.signed)
    remarks = [prose(item.remark) for item in view.items]
    name_width = min(_widest(names), width // 3)
    amount_width = _widest(amounts)
    room = width - name_width - amount_width - (6 if any(remarks) else 4)
    remark_width = min(_widest(remarks), max(room - width // 4, width // 4))
    room = max(3, room - remark_width)
    for item, name, amount, remark in zip(view.items, names, amounts, remarks, strict=True):
        line = Text(f"  {_fit(name, name_width)} ")
        line.append_text(_bar(item.value or 0.0, view.bounds(), room, view.signed))
        line.append(f" {amount:>{amount_width}}")
        line.append(f"  {_fit(remark, remark_width)}".rstrip(), style="dim")
        yield line


def _bar(value: float, bounds: tuple[float, float], room: int, signed: bool) -> Text:
    low, high = bounds
    if not signed:
        return Text(_fill(value / high, room), style=TOWARD)
    side = min(room - 2, max(1, round((room - 1) * low / (low - high)))) if low < 0 else 0
    scale = max(high / (room - 1 - side), -low / side if side else 0.0)
    halves = round(-2 * value / scale) if value < 0 else 0
    left = Text(("▐" * (halves % 2) + "█" * (halves // 2)).rjust(side), style=AGAINST)
    right = Text(_fill(max(0.0, value) / scale / (room - 1 - side), room - 1 - side), style=TOWARD)
    return Text.assemble(left, ("│", "dim"), right)


def _fill(share: float, room: int) -> str:
    eighths = round(min(1.0, share) * room * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)


def _heatmap(view: Heatmap, width: int) -> Iterator[Text]:
    maximum = palette.strongest(view.values, view.maximum)
    rows = [label(mark) for mark in view.rows]
    name_width = min(_widest(rows), width // 4)
    digits = decimals(view.values)
    amounts = [
        [_short(value, view.signed) if digits is None else number(value, view.signed, digits) for value in row]
        for row in view.values
    ]
    amount_width = max((_widest(row) for row in amounts), default=1)
    shown = [[visible(token) for token in row] for row in view.tokens] if view.tokens else [[]]
    token_width = min(max(3, *(_widest(row) for row in shown)), 9) if view.tokens else 0
    amount_width = max(amount_width, 0 if view.tokens else _roomy(view, width - name_width - 3))
    cell = amount_width + 2 + (token_width + 1 if view.tokens else 0)
    for block in _blocks(len(view.columns), max(1, (width - name_width - 3) // cell)):
        if isinstance(block, str):
            yield Text(f"  {block}", style="dim")
            continue
        names = [label(view.columns[index]) for index in block]
        header = "".join(f" {_align(name, cell - 2, not view.tokens)} " for name in names)
        yield Text(f"  {' ' * name_width} {header}".rstrip(), style="dim")
        for row, name in enumerate(rows):
            line = Text(f"  {_fit(name, name_width)} ")
            for index in block:
                token = f"{_fit(shown[row][index], token_width)} " if view.tokens else ""
                text = f" {token}{amounts[row][index]:>{amount_width}} "
                line.append(text, style=_cell_style(view.values[row][index], maximum, view.signed))
            yield line


def _roomy(view: Heatmap, room: int) -> int:
    """The width of cells that show their columns' names, as far as all columns still fit side by side."""
    return min(9, _widest([label(mark) for mark in view.columns]), room // max(1, len(view.columns)) - 2)


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


def _tokens(items: Sequence[TokenMark], marked: int | None, signed: bool, width: int) -> Iterator[Text]:
    maximum = palette.strongest([[item.value for item in items]])
    line = Text(" ")
    for index, item in enumerate(items):
        text = _fit(visible(item.text), min(cell_len(visible(item.text)), width - 6))
        text = f"[{text}]" if index == marked else text
        style = "reverse" if item.value is None else _cell_style(item.value, maximum, signed)
        if cell_len(line.plain) + cell_len(text) + 1 > width:
            yield line
            line = Text(" ")
        line.append(" ").append(text, style="bold reverse" if index == marked else style)
    yield line


def _arcs(view: Arcs, width: int) -> Iterator[Text]:
    """The text, then its arcs, the largest first."""
    yield from _tokens(view.items, view.marked, view.signed, width)
    found = links(view, visible, prose)
    amounts = numbers([value for _, _, value in found], view.signed)
    maximum = palette.strongest([[value for _, _, value in found]])
    room = width // 4
    names = [f"{_fit(source, room).rstrip()} → {_fit(target, room).rstrip()}" for source, target, _ in found]
    for name, amount, (_, _, value) in zip(names, amounts, found, strict=True):
        yield _link(name, _widest(names), amount, _widest(amounts), (value or 0.0) / maximum, width)


def _graph(view: Graph, width: int) -> Iterator[Text]:
    """Every node in the order of ranks, and below it what leads to it, the largest first."""
    amounts = dict(zip(view.edges, numbers([edge.value for edge in view.edges], view.signed), strict=True))
    own = numbers([node.value for node in view.nodes], view.signed)
    maximum = palette.strongest([[edge.value for edge in view.edges]])
    names = {node.id: _fit(label(node), width // 3).rstrip() for node in view.nodes}
    widest = _widest(list(names.values()))
    for node, value in sorted(zip(view.nodes, own, strict=True), key=lambda pair: pair[0].rank):
        about = " ".join(filter(None, [prose(node.group), "" if node.value is None else value]))
        line = Text(f"  {names[node.id]}", style="bold")
        yield line.append(f"  {_fit(about, width - cell_len(line.plain) - 2)}".rstrip(), style="not bold dim")
        for edge in view.into(node):
            name = f"  ← {_align(names[edge.source], widest, False)}"
            amount, share = amounts[edge], (edge.value or 0.0) / maximum
            yield _link(name, widest + 4, amount, _widest(list(amounts.values())), share, width)


def _link(name: str, name_width: int, amount: str, amount_width: int, share: float, width: int) -> Text:
    """An edge: its ends, its number, and a bar whose colour says for or against."""
    line = Text(f"  {_align(name, name_width, False)} {amount:>{amount_width}} ")
    room = max(0, min(24, width - cell_len(line.plain)))
    return line.append(_fill(abs(share), room).rstrip(), style=AGAINST if share < 0 else TOWARD)


def _lines(view: Lines, width: int) -> Iterator[Text]:
    low, high = view.bounds()
    names = [label(mark) for mark in view.x]
    margin = " " * (max(len(f"{low:.3g}"), len(f"{high:.3g}")) + 4)
    column = min(9, max(1, (width - len(margin)) // max(1, len(names))))
    for series in view.series:
        if len(view.series) > 1:
            yield Text(f"  {_fit(label(series), width - 4)}".rstrip(), style=TOWARD)
        yield from _chart(series, low, high, column, len(margin) - 4)
    if column > _widest(names):
        yield Text(margin + "".join(_center(name, column) for name in names).rstrip(), style="dim")
    elif names:
        yield Text(margin + _fit(f"{names[0]} … {names[-1]}", width - len(margin)).rstrip(), style="dim")
    if view.marked is not None:
        yield Text(margin + " " * (view.marked * column) + _center("▲", column).rstrip(), style="bold")


def _chart(series: Series, low: float, high: float, column: int, room: int) -> Iterator[Text]:
    """Columns from zero up or down, in rows of eighths; the rows below zero only where there are such values."""
    below = 0 if low == 0 else max(1, round(_CHART_HEIGHT * low / (low - high)))
    above = max(1, _CHART_HEIGHT - below)
    step = max(high / above, -low / below if below else 0.0)
    ticks = {above - 1: f"{high:.3g}", -below: f"{low:.3g}"}
    for row in range(above - 1, -below - 1, -1):
        tick = ticks.get(row, "")
        line = Text(f"  {tick:>{room}} ").append("┤" if tick else "│", style="dim")
        for value in series.values:
            block = " " if value is None else _block(value / step, row)
            line.append((block * max(1, column - 1)).ljust(column), style=TOWARD if row >= 0 else AGAINST)
        yield line
    if column >= 6:
        amounts = "".join(_center(number(value), column) for value in series.values)
        yield Text(f"  {' ' * room}  {amounts}".rstrip())


def _block(rows: float, row: int) -> str:
    if row >= 0:
        return _LEVELS[min(8, max(0, round((rows - row) * 8)))]
    filled = (row + 1) - rows
    return "█" if filled >= 0.75 else "▀" if filled >= 0.25 else " "


def _scatter(view: Scatter, width: int) -> Iterator[Text]:
    columns = min(width - 4, _SHEET_WIDTH)
    cell = (1 / columns, 1 / _SHEET_HEIGHT)
    places = [
        (min(columns - 1, int(x * columns)), min(_SHEET_HEIGHT - 1, int(y * _SHEET_HEIGHT)))
        for x, y in sheet(view, stretched=True).points
    ]
    spots = [((column + 0.5) * cell[0], (row + 0.5) * cell[1]) for column, row in places]
    names = [label(point) for point in view.points]
    widths = [cell_len(name) * cell[0] for name in names]
    beside = labels(spots, widths, cell[1], 1.5 * cell[0], (cell[0] / 2, cell[1] / 2), above=False)
    rows: list[dict[int, tuple[str, str]]] = [{} for _ in range(_SHEET_HEIGHT)]
    for (column, row), group, name, found in zip(places, view.group_indices(), names, beside, strict=True):
        rows[row][column] = (_GLYPHS[group % len(_GLYPHS)], _GROUPS[group % len(_GROUPS)])
        if found is not None:
            end = cell_len(name) if found.anchor == "end" else 0
            rows[row][round(found.x * columns) - end] = (name, "")
    yield from _groups(view.groups(), width)
    for row in reversed(rows):
        line = Text("  ").append("│", style="dim")
        for column, (text, style) in sorted(row.items()):
            line.append(" " * (column - cell_len(line.plain) + 3)).append(text, style=style)
        yield line
    yield Text("  └" + "─" * columns, style="dim")
    yield from (Text(f"  {line}", style="dim") for line in _wrap(_told(view, beside.count(None)), width - 2))


def _groups(names: list[str], width: int) -> Iterator[Text]:
    shown = "   ".join(f"{_GLYPHS[place % len(_GLYPHS)]} {prose(name)}" for place, name in enumerate(names))
    yield from (Text(f"  {line}") for line in _wrap(shown, width - 2) if len(names) > 1)


def _told(view: Scatter, unlabelled: int) -> str:
    """What the axes are, and how many points have no label here."""
    ways = ("right", "up") if len(view.axes) == 2 else ("right", "back", "up")
    ends = zip(ways, view.axes, view.bounds(), strict=True)
    axes = "; ".join(f"{way}: {name}, {low:.3g} to {high:.3g}" for way, name, (low, high) in ends)
    count = f"{unlabelled} of {len(view.points)} labels have no room here; the JSON and HTML forms have them"
    return f"{axes}. {count}." if unlabelled else f"{axes}."


def _table(view: Table, width: int) -> Iterator[Text]:
    names = [prose(column.name) for column in view.columns]
    rows = text_cells(view, visible, prose)
    right = numeric(view)
    widths = [max(cell_len(name), _widest([row[place] for row in rows])) for place, name in enumerate(names)]
    while sum(widths) + 2 * len(widths) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    while sum(widths) + 2 * len(widths) > width:
        widths.pop()
    for index, row in enumerate([names, *rows]):
        folded = [
            [text] if column.token or cell_len(text) <= room else _wrap(text, room)
            for text, room, column in zip(row, widths, view.columns, strict=False)
        ]
        for texts in zip_longest(*folded, fillvalue=""):
            aligned = (f"  {_align(text, room, end)}" for text, room, end in zip(texts, widths, right, strict=False))
            yield Text("".join(aligned).rstrip(), style="dim" if index == 0 else "")
    if len(widths) < len(names):
        left_out = ", ".join(names[len(widths) :])
        yield from (Text(f"  {line}", style="dim") for line in _wrap(f"no room here for: {left_out}", width - 2))


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
    lines = [""]
    for word in prose(text).split(" "):
        for piece in chop_cells(word, width) if cell_len(word) > width else [word]:
            longer = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(longer) <= width:
                lines[-1] = longer
            else:
                lines.append(piece)
    return lines
