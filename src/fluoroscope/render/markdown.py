"""Views as GitHub-flavoured Markdown: tables that are read as well raw as rendered."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from fluoroscope.render import palette
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.text import decimals, facts, number, numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, Scatter, Table, TokenMark, Tokens, View

_BAR = 20
_ACTIVE = re.compile(
    r"[\\`*<&\[\]|$~@#]"  # emphasis, code, HTML, links, table cells, mathematics, mentions
    r"|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])"  # an underscore inside a word means nothing
    r"|://|www\."  # bare links
    r"|^\s*(?:[-+>=]|\d+[.)])"  # lists, quotes and headings at the start of a line
)


def page(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    """A whole result: its sentence, its views, and the recipe that makes the same numbers again."""
    lines = [f"# {plain(title)}", "", plain(summary)]
    for view in views:
        lines += ["", *draw(view)]
    lines += ["", "## Recipe", "", *_grid(["", ""], [[plain(name), plain(value)] for name, value in facts(recipe)])]
    return "\n".join(lines) + "\n"


def draw(view: View) -> list[str]:
    """The lines of a view."""
    unit = "" if isinstance(view, Table) or not view.unit else f" ({view.unit})"
    head = [f"## {plain(view.title)}{plain(unit)}", ""]
    return [*head, *([plain(view.caption), ""] if view.caption else []), *_body(view)]


def _body(view: View) -> list[str]:
    match view:
        case Bars():
            return _bars(view)
        case Heatmap():
            return _heatmap(view)
        case HeadGrid():
            return _heatmap(view.heatmap())
        case Tokens():
            return [_text(view.items, view.marked, view.signed)]
        case Lines():
            return _lines(view)
        case Arcs():
            return [_text(view.items, view.marked, view.signed), "", *_links(view)]
        case Graph():
            return [*_nodes(view), "", *_links(view)]
        case Scatter():
            return _scatter(view)
        case Table():
            return _table(view)
        case _:
            assert_never(view)


def _bars(view: Bars) -> list[str]:
    maximum = palette.strongest([[item.value for item in view.items]])
    amounts = numbers([item.value for item in view.items], view.signed)
    rows = [
        [label(item), amount, _bar((item.value or 0.0) / maximum), plain(item.remark)]
        for item, amount in zip(view.items, amounts, strict=True)
    ]
    return _grid(["", plain(view.unit), "", ""], rows, right={1})


def _bar(share: float) -> str:
    return ("█" if share > 0 else "░") * round(abs(share) * _BAR)


def _heatmap(view: Heatmap) -> list[str]:
    rows: list[list[str]] = []
    digits = decimals(view.values)
    for index, mark in enumerate(view.rows):
        amounts = [number(value, view.signed, digits) for value in view.values[index]]
        tokens = [f"{code(token)} " for token in view.tokens[index]] if view.tokens else [""] * len(amounts)
        rows.append([label(mark), *(token + text for token, text in zip(tokens, amounts, strict=True))])
    return _grid(["", *(label(mark) for mark in view.columns)], rows)


def _lines(view: Lines) -> list[str]:
    rows = [
        [label(mark) + (" ◀" if index == view.marked else ""), *(number(line.values[index]) for line in view.series)]
        for index, mark in enumerate(view.x)
    ]
    return _grid(["", *(label(line) for line in view.series)], rows, right=set(range(1, len(view.series) + 1)))


def _text(items: Sequence[TokenMark], marked: int | None, signed: bool) -> str:
    """The tokens in their order, each with its value behind it."""
    amounts = numbers([item.value for item in items], signed)
    shown = [f"**{code(item.text)}**" if index == marked else code(item.text) for index, item in enumerate(items)]
    if all(item.value is None for item in items):
        return " ".join(shown)
    pairs = zip(shown, amounts, items, strict=True)
    return ", ".join(text if item.value is None else f"{text} {amount}" for text, amount, item in pairs)


def _nodes(view: Graph) -> list[str]:
    amounts = numbers([node.value for node in view.nodes], view.signed)
    nodes = sorted(zip(view.nodes, amounts, strict=True), key=lambda pair: pair[0].rank)
    return _grid(
        ["", "", plain(view.unit)], [[label(node), plain(node.group), amount] for node, amount in nodes], right={2}
    )


def _links(view: Arcs | Graph) -> list[str]:
    found = links(view, code, plain)
    maximum = palette.strongest([[value for _, _, value in found]])
    amounts = numbers([value for _, _, value in found], view.signed)
    rows = [
        [source, f"→ {target}", amount, _bar((value or 0.0) / maximum)]
        for (source, target, value), amount in zip(found, amounts, strict=True)
    ]
    return _grid(["from", "to", plain(view.unit), ""], rows, right={2})


def _scatter(view: Scatter) -> list[str]:
    grouped = bool(view.groups())
    columns = [numbers([point.place[axis] for point in view.points], signed=True) for axis in range(len(view.axes))]
    rows = [
        [label(point), *places, *([plain(point.group or "")] if grouped else [])]
        for point, *places in zip(view.points, *columns, strict=True)
    ]
    names = ["", *(plain(name) for name in view.axes), *(["group"] if grouped else [])]
    return _grid(names, rows, right=set(range(1, len(view.axes) + 1)))


def _table(view: Table) -> list[str]:
    right = {place for place, only_numbers in enumerate(numeric(view)) if only_numbers}
    return _grid([plain(column.name) for column in view.columns], text_cells(view, code, plain), right)


def _grid(names: list[str], rows: Iterable[list[str]], right: set[int] | None = None) -> list[str]:
    rule = ["---:" if index in (right or set()) else "---" for index in range(len(names))]
    return [f"| {' | '.join(row)} |" for row in (names, rule, *rows)]


def label(mark: Mark) -> str:
    """The name of a place; tokens as code."""
    return code(mark.label) if mark.token else plain(mark.label)


def code(token: str) -> str:
    """The text of a token as code; one that would end the code or the table cell is written with entities."""
    shown = visible(token)
    if re.search(r"[`|\\]", shown):
        return f"<code>{_entities(shown)}</code>"
    return f"`{shown}`"


def plain(text: str) -> str:
    """A sentence in which no character has a meaning to Markdown or HTML."""
    return _entities(prose(text))


def _entities(text: str) -> str:
    return _ACTIVE.sub(lambda match: "".join(f"&#{ord(char)};" for char in match.group()), text)
