"""Views as lines of text that never exceed the width; numbers are always readable without colour."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import assert_never

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fluoroscope.render import palette, terminal_charts
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.terminal_text import AGAINST, TOWARD, align, cell_style, fill, fit, label, short, widest, wrap
from fluoroscope.render.text import marks, numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Scatter, Table, TokenMark, Tokens, View

_NARROWEST = 6


def page(console: Console, title: str, summary: str, views: Sequence[View]) -> None:
    """Prints a whole result: its sentence first, then each view."""
    console.print(Text(prose(title), style="bold"), Text(""), sep="\n")
    for line in wrap(summary, console.width):
        console.print(Text(line))
    console.print(Text(""))
    show(console, views, summary)


def show(console: Console, views: Sequence[View], before: str = "") -> None:
    """Prints views, and below them what marks in them and in the text before mean."""
    shown = prose(before)
    for place, view in enumerate(views):
        if place:
            console.print(Text(""))
        for line in draw(view, console.width):
            console.print(line, no_wrap=True, crop=False)
            shown += line.plain
    if told := marks(shown):
        console.print(Text(""))
        for line in wrap(told, console.width):
            console.print(Text(line, style="dim"))


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
    """A text as its tokens, with their numbers below them if they have any."""
    values = [item.value for item in items]
    maximum = palette.strongest([values])
    valued = any(value is not None for value in values)
    amounts = short([values], signed)[0] if valued else [""] * len(items)
    above, below = Text(" "), Text(" ")
    for index, (item, amount) in enumerate(zip(items, amounts, strict=True)):
        text = fit(visible(item.text), min(cell_len(visible(item.text)), width - 6))
        text = f"[{text}]" if index == marked else text
        column = max(cell_len(text), len(amount))
        if cell_len(above.plain) + column + 1 > width:
            yield from [above, below] if valued else [above]
            above, below = Text(" "), Text(" ")
        style = "reverse" if item.value is None else cell_style(item.value, maximum, signed)
        above.append(" ").append(fit(text, column), style="bold reverse" if index == marked else style)
        below.append(f" {amount:>{column}}", style="dim")
    yield from [above, below] if valued else [above]


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
    ways = {edge: " ".join(filter(None, [names[edge.source], edge.label])) for edge in view.edges}
    longest = widest([*names.values(), *ways.values()])
    for node, value in sorted(zip(view.nodes, own, strict=True), key=lambda pair: pair[0].rank):
        about = " ".join(filter(None, [prose(node.group), "" if node.value is None else value]))
        line = Text(f"  {names[node.id]}", style="bold")
        yield line.append(f"  {fit(about, width - cell_len(line.plain) - 2)}".rstrip(), style="not bold dim")
        for edge in view.into(node):
            name = f"  ← {align(ways[edge], longest, False)}"
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
    widths, gap = _widths([[name, *(row[place] for row in rows)] for place, name in enumerate(names)], width)
    for index, row in enumerate([names, *rows]):
        folded = [
            [text] if column.token or cell_len(text) <= room else wrap(text, room)
            for text, room, column in zip(row, widths, view.columns, strict=False)
        ]
        for texts in zip_longest(*folded, fillvalue=""):
            aligned = (align(text, room, end) for text, room, end in zip(texts, widths, right, strict=False))
            yield Text(f"  {gap.join(aligned)}".rstrip(), style="dim" if index == 0 else "")
    if len(widths) < len(names):
        left_out = ", ".join(names[len(widths) :])
        yield from (Text(f"  {line}", style="dim") for line in wrap(f"no room here for: {left_out}", width - 2))


def _widths(columns: Sequence[Sequence[str]], width: int) -> tuple[list[int], str]:
    """Widths of as many columns as there is room for, and what stands between them.

    The widest gives way first, and sentences before words.
    """
    widths = [widest(column) for column in columns]
    words = [widest([word for text in column for word in text.split(" ")]) for column in columns]
    gap = 1 if sum(widths) + len(widths) < width < sum(widths) + 2 * len(widths) else 2
    while 2 + sum(widths) + gap * (len(widths) - 1) > width:
        wide = [place for place, own in enumerate(widths) if own > _NARROWEST]
        folding = [place for place in wide if widths[place] > words[place]]
        if wide:
            widths[max(folding or wide, key=lambda place: widths[place])] -= 1
        else:
            widths.pop()
    return widths, " " * gap
