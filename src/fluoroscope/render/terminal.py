"""Views as lines of text that never exceed the width; numbers are always readable without colour."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import assert_never

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fluoroscope.render import palette, terminal_charts
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.terminal_text import AGAINST, TOWARD, align, cell_style, fill, fit, label, widest, wrap
from fluoroscope.render.text import numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Scatter, Table, TokenMark, Tokens, View

_NARROWEST = 6


def page(console: Console, title: str, summary: str, views: Sequence[View]) -> None:
    """Prints a whole result: its sentence first, then each view."""
    console.print(Text(prose(title), style="bold"), Text(""), sep="\n")
    for line in wrap(summary, console.width):
        console.print(Text(line))
    for view in views:
        console.print(Text(""))
        for line in draw(view, console.width):
            console.print(line, no_wrap=True, crop=False)


def draw(view: View, width: int) -> list[Text]:
    """The lines of a view, none wider than `width` columns."""
    unit = "" if isinstance(view, Table) or not view.unit else f" · {view.unit}"
    head = Text(fit(prose(view.title) + prose(unit), width).rstrip(), style="bold")
    caption = [Text(line, style="dim") for line in wrap(view.caption, width)] if view.caption else []
    return [head, *caption, *_body(view, width)]


def _body(view: View, width: int) -> Iterator[Text]:
    match view:
        case Bars():
            return terminal_charts.bars(view, width)
        case Heatmap():
            return terminal_charts.heatmap(view, width)
        case HeadGrid():
            return terminal_charts.heatmap(view.heatmap(), width)
        case Tokens():
            return _tokens(view.items, view.marked, view.signed, width)
        case Lines():
            return terminal_charts.lines(view, width)
        case Arcs():
            return _arcs(view, width)
        case Graph():
            return _graph(view, width)
        case Scatter():
            return terminal_charts.scatter(view, width)
        case Table():
            return _table(view, width)
        case _:
            assert_never(view)


def _tokens(items: Sequence[TokenMark], marked: int | None, signed: bool, width: int) -> Iterator[Text]:
    maximum = palette.strongest([[item.value for item in items]])
    line = Text(" ")
    for index, item in enumerate(items):
        text = fit(visible(item.text), min(cell_len(visible(item.text)), width - 6))
        text = f"[{text}]" if index == marked else text
        style = "reverse" if item.value is None else cell_style(item.value, maximum, signed)
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
    names = [f"{fit(source, room).rstrip()} → {fit(target, room).rstrip()}" for source, target, _ in found]
    for name, amount, (_, _, value) in zip(names, amounts, found, strict=True):
        yield _link(name, widest(names), amount, widest(amounts), (value or 0.0) / maximum, width)


def _graph(view: Graph, width: int) -> Iterator[Text]:
    """Every node in the order of ranks, and below it what leads to it, the largest first."""
    amounts = dict(zip(view.edges, numbers([edge.value for edge in view.edges], view.signed), strict=True))
    own = numbers([node.value for node in view.nodes], view.signed)
    maximum = palette.strongest([[edge.value for edge in view.edges]])
    names = {node.id: fit(label(node), width // 3).rstrip() for node in view.nodes}
    longest = widest(list(names.values()))
    for node, value in sorted(zip(view.nodes, own, strict=True), key=lambda pair: pair[0].rank):
        about = " ".join(filter(None, [prose(node.group), "" if node.value is None else value]))
        line = Text(f"  {names[node.id]}", style="bold")
        yield line.append(f"  {fit(about, width - cell_len(line.plain) - 2)}".rstrip(), style="not bold dim")
        for edge in view.into(node):
            name = f"  ← {align(names[edge.source], longest, False)}"
            amount, share = amounts[edge], (edge.value or 0.0) / maximum
            yield _link(name, longest + 4, amount, widest(list(amounts.values())), share, width)


def _link(name: str, name_width: int, amount: str, amount_width: int, share: float, width: int) -> Text:
    """An edge: its ends, its number, and a bar whose colour says for or against."""
    line = Text(f"  {align(name, name_width, False)} {amount:>{amount_width}} ")
    room = max(0, min(24, width - cell_len(line.plain)))
    return line.append(fill(abs(share), room).rstrip(), style=AGAINST if share < 0 else TOWARD)


def _table(view: Table, width: int) -> Iterator[Text]:
    names = [prose(column.name) for column in view.columns]
    rows = text_cells(view, visible, prose)
    right = numeric(view)
    widths = [max(cell_len(name), widest([row[place] for row in rows])) for place, name in enumerate(names)]
    while sum(widths) + 2 * len(widths) > width and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    while sum(widths) + 2 * len(widths) > width:
        widths.pop()
    for index, row in enumerate([names, *rows]):
        folded = [
            [text] if column.token or cell_len(text) <= room else wrap(text, room)
            for text, room, column in zip(row, widths, view.columns, strict=False)
        ]
        for texts in zip_longest(*folded, fillvalue=""):
            aligned = (f"  {align(text, room, end)}" for text, room, end in zip(texts, widths, right, strict=False))
            yield Text("".join(aligned).rstrip(), style="dim" if index == 0 else "")
    if len(widths) < len(names):
        left_out = ", ".join(names[len(widths) :])
        yield from (Text(f"  {line}", style="dim") for line in wrap(f"no room here for: {left_out}", width - 2))
