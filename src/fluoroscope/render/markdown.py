"""Views as GitHub-flavoured Markdown: tables that are read as well raw as rendered."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import unescape
from typing import assert_never

from fluoroscope.render import dense, palette
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.section import File, Section
from fluoroscope.render.text import decimals, facts, marks, number, numbers, prose, size, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, Scatter, Table, TokenMark, Tokens, View

_BAR = 20
_MOST_CELLS = 20
_ACTIVE = re.compile(
    r"[\\`*<&\[\]|$~@#]"  # emphasis, code, HTML, links, table cells, mathematics, mentions
    r"|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])"  # an underscore inside a word means nothing
    r"|://|www\."  # bare links
    r"|^\s*(?:[-+](?=[-\s]|$)|[>=]|\d+[.)](?=\s|$))"  # lists, quotes and headings at the start of a line
)


def page(section: Section) -> str:
    """A whole result: its sentence, its views, and what makes the same numbers again."""
    return "\n".join([f"# {plain(section.title)}", "", *_content(section, 2)]) + "\n"


def report(
    title: str,
    lead: Sequence[str],
    about: Mapping[str, object],
    sections: Sequence[Section],
    made: Mapping[str, object] | None = None,
    files: Sequence[File] = (),
) -> str:
    """Several results: what was asked and of what, the sentence of each, each with all its views, how it was made.

    Args:
        files: JSON that is appended.
    """
    lines = [f"# {plain(title)}"]
    for paragraph in lead:
        lines += ["", plain(paragraph)]
    lines += ["", *_facts(about), ""]
    lines += [
        f"{number}. {plain(section.title)}: {plain(section.summary)}" for number, section in enumerate(sections, 1)
    ]
    for section in sections:
        lines += ["", f"## {plain(section.title)}", "", *_content(section, 3)]
    for file in files:
        lines += ["", f"## {plain(file.name)}", "", *_appended(file)]
    lines += ["", "---", "", *_facts(made)] if made else []
    return "\n".join(lines) + "\n"


def _appended(file: File) -> list[str]:
    """JSON in letters that all can be seen, and that mean the same; or that it is too large."""
    if file.text is None:
        return [f"{size(file.size or 0)} are too many to be carried by this text."]
    text = json.dumps(json.loads(file.text), indent=2, allow_nan=False)
    return ["```json", *text.split("\n"), "```"]  # no fence can be in it: JSON breaks no line within a text


def _content(section: Section, level: int) -> list[str]:
    lines = [plain(section.summary)]
    for view in section.views:
        lines += ["", *draw(view, level)]
    if told := marks(unescape("\n".join(lines))):
        lines += ["", plain(told)]
    for name, text in section.again.items():
        lines += ["", f"{'#' * level} {plain(name)}", "", *_fenced(text)]
    return [*lines, "", f"{'#' * level} Recipe", "", *_facts(section.recipe)]


def _facts(about: Mapping[str, object]) -> list[str]:
    return _grid(["", ""], [[plain(name), plain(value)] for name, value in facts(about)])


def _fenced(text: str) -> list[str]:
    """Lines of code behind a fence that no line of it can close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return [fence, *map(prose, text.split("\n")), fence]


def draw(view: View, level: int = 2) -> list[str]:
    """The lines of a view, under a heading of that level."""
    unit = "" if isinstance(view, Table) or not view.unit else f" ({view.unit})"
    head = [f"{'#' * level} {plain(view.title)}{plain(unit)}", ""]
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
            return _tokens(view)
        case Lines():
            return _lines(view)
        case Arcs():
            return [_text(view.items, view.marked), "", *_links(view)]
        case Graph():
            return [*_nodes(view), "", *_links(view)]
        case Scatter():
            return _scatter(view)
        case Table():
            return _table(view)
        case _:
            assert_never(view)


def _bars(view: Bars) -> list[str]:
    amounts = numbers([item.value for item in view.items], view.signed)
    rows = [
        [label(item), amount, _bar((item.value or 0.0) / view.strongest()), plain(item.remark)]
        for item, amount in zip(view.items, amounts, strict=True)
    ]
    return _grid(["", plain(view.unit), "", ""], rows, right={1})


def _bar(share: float) -> str:
    return ("█" if share > 0 else "░") * round(abs(share) * _BAR)


def _heatmap(view: Heatmap) -> list[str]:
    if dense.is_dense(view):
        return _largest(view)
    rows: list[list[str]] = []
    digits = decimals(view.values)
    for index, mark in enumerate(view.rows):
        amounts = [number(value, view.signed, digits) for value in view.values[index]]
        tokens = [f"{code(token)} " for token in view.tokens[index]] if view.tokens else [""] * len(amounts)
        rows.append([label(mark), *(token + text for token, text in zip(tokens, amounts, strict=True))])
    return _grid(["", *(label(mark) for mark in view.columns)], rows)


def _largest(view: Heatmap) -> list[str]:
    """The cells of a large heatmap that are largest in size."""
    places = [
        (abs(value), row, column)
        for row, line in enumerate(view.values)
        for column, value in enumerate(line)
        if value is not None
    ]
    top = sorted(places, reverse=True)[:_MOST_CELLS]
    amounts = numbers([view.values[row][column] for _, row, column in top], view.signed)
    rows = [
        [label(view.rows[row]), str(row), label(view.columns[column]), str(column), amount]
        for (_, row, column), amount in zip(top, amounts, strict=True)
    ]
    told = f"The {len(top)} largest of {len(view.rows)} x {len(view.columns)} numbers; the JSON has all."
    return [told, "", *_grid(["row", "index", "column", "index", plain(view.unit)], rows, right={1, 3, 4})]


def _lines(view: Lines) -> list[str]:
    rows = [
        [label(mark) + (" ◀" if index == view.marked else ""), *(number(line.values[index]) for line in view.series)]
        for index, mark in enumerate(view.x)
    ]
    return _grid(["", *(label(line) for line in view.series)], rows, right=set(range(1, len(view.series) + 1)))


def _text(items: Sequence[TokenMark], marked: int | None) -> str:
    shown = (code(item.text) for item in items)
    return " ".join(f"**{text}**" if index == marked else text for index, text in enumerate(shown))


def _tokens(view: Tokens) -> list[str]:
    """The text; below it each token with its value, if there are any."""
    values = [item.value for item in view.items]
    text = [_text(view.items, view.marked)]
    if all(value is None for value in values):
        return text
    rows = [
        [str(index), code(item.text), amount]
        for index, (item, amount) in enumerate(zip(view.items, numbers(values, view.signed), strict=True))
    ]
    return [*text, "", *_grid(["index", "token", plain(view.unit)], rows, right={0, 2})]


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
