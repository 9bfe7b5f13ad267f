"""The cells of a table as text, column by column, so that the numbers of a column share their decimals."""

from collections.abc import Callable

from fluoroscope.render.text import numbers
from fluoroscope.views import Table

Shown = Callable[[str], str]


def text_cells(view: Table, token: Shown, text: Shown) -> list[list[str]]:
    """Every row as strings; `token` and `text` say how a medium shows each kind of string."""
    columns: list[list[str]] = []
    for place, column in enumerate(view.columns):
        cells = [row.cells[place] for row in view.rows]
        amounts = iter(numbers([cell for cell in cells if isinstance(cell, float) or cell is None]))
        show = token if column.token else text
        words = [show(cell) if isinstance(cell, str) else cell for cell in cells]
        columns.append([str(word) if isinstance(word, str | int) else next(amounts) for word in words])
    return [list(row) for row in zip(*columns, strict=True)]


def numeric(view: Table) -> list[bool]:
    """For every column whether it holds numbers only, which are aligned on the right."""
    return [not any(isinstance(row.cells[place], str) for row in view.rows) for place in range(len(view.columns))]
