"""What several media write alike: the cells of a table, and graphs and arcs as rows of from, to and value."""

import re
from collections.abc import Callable

from fluoroscope.render.text import number, numbers
from fluoroscope.views import Arcs, Edge, Graph, Mark, Table, Value

Shown = Callable[[str], str]

_PERCENT = re.compile(r"(?:(?:less|more) than )?[-+]?\d+(?:\.\d+)? %")


def text_cells(view: Table, token: Shown, text: Shown) -> list[list[str]]:
    """Every row as strings, a column's numbers with the same decimals; `token` and `text` show each kind of string."""
    columns: list[list[str]] = []
    for place, column in enumerate(view.columns):
        cells = [row.cells[place] for row in view.rows]
        amounts = iter(numbers([cell for cell in cells if isinstance(cell, float) or cell is None]))
        show = token if column.token else text
        words = [show(cell) if isinstance(cell, str) else cell for cell in cells]
        columns.append([str(word) if isinstance(word, str | int) else next(amounts) for word in words])
    return [list(row) for row in zip(*columns, strict=True)]


def numeric(view: Table) -> list[bool]:
    """For every column whether it holds numbers or percentages only, which are aligned on the right."""
    columns = [[row.cells[place] for row in view.rows] for place in range(len(view.columns))]
    return [all(not isinstance(cell, str) or _PERCENT.fullmatch(cell) for cell in column) for column in columns]


def links(view: Graph | Arcs, token: Shown, text: Shown) -> list[tuple[str, str, Value]]:
    """Every edge as the names of its ends and its value, the largest first; tokens of a text carry their index."""
    if isinstance(view, Arcs):
        names = [f"{token(item.text)} {text(f'({index})')}" for index, item in enumerate(view.items)]
        return [(names[arc.source], names[arc.target], arc.value) for arc in view.largest()]

    def shown(mark: Mark) -> str:
        return token(mark.label) if mark.token else text(mark.label)

    def target(edge: Edge) -> str:
        return " ".join(filter(None, [shown(view.named(edge.target)), edge.label]))

    edges = sorted(view.edges, key=lambda edge: -abs(edge.value or 0.0))
    return [(shown(view.named(edge.source)), target(edge), edge.value) for edge in edges]


def amount(view: Graph, edge: Edge) -> str:
    """The number at an edge, behind what the edge is called."""
    return " ".join(filter(None, [edge.label, number(edge.value, view.signed)]))
