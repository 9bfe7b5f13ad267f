"""The numbers of a picture as a table, folded below it: what cannot be pointed at on paper or by touch."""

from collections.abc import Sequence
from html import escape

from fluoroscope.render.cells import links
from fluoroscope.render.markup import escaped, head, label, site
from fluoroscope.render.text import number, numbers, prose, visible
from fluoroscope.views import Arcs, Graph, Lines, Scatter, Tokens


def of_tokens(view: Tokens) -> str:
    """Every token with its index and value; nothing if there are no values."""
    if all(item.value is None for item in view.items):
        return ""
    amounts = numbers([item.value for item in view.items], view.signed)
    rows = "".join(
        f'<tr><td class="number">{index}</td><td class="token">{escape(visible(item.text))}</td>'
        f'<td class="number">{amount}</td></tr>\n'
        for index, (item, amount) in enumerate(zip(view.items, amounts, strict=True))
    )
    return _folded(["index", "token", escaped(view.unit)], rows, left={1})


def of_lines(view: Lines) -> str:
    """Every place of the axis with the value of each line there."""
    rows = "".join(
        f"<tr{site(mark.site)}>{head(mark)}"
        + "".join(f'<td class="number">{number(line.values[index])}</td>' for line in view.series)
        + "</tr>\n"
        for index, mark in enumerate(view.x)
    )
    return _folded(["", *map(label, view.series)], rows)


def of_links(view: Arcs | Graph) -> str:
    """Every edge with its ends and value, the largest first."""
    found = links(view, visible, prose)
    amounts = numbers([value for _, _, value in found], view.signed)
    rows = "".join(
        f'<tr><td>{escape(source)}</td><td>→ {escape(target)}</td><td class="number">{amount}</td></tr>\n'
        for (source, target, _), amount in zip(found, amounts, strict=True)
    )
    return _folded(["from", "to", escaped(view.unit)], rows, left={0, 1})


def of_points(view: Scatter) -> str:
    """Every point with its coordinates and group."""
    columns = [numbers([point.place[axis] for point in view.points], signed=True) for axis in range(len(view.axes))]
    grouped = bool(view.groups())
    rows = "".join(
        f"<tr{site(point.site)}>{head(point)}"
        + "".join(f'<td class="number">{place}</td>' for place in places)
        + (f"<td>{escaped(point.group or '')}</td>" if grouped else "")
        + "</tr>\n"
        for point, *places in zip(view.points, *columns, strict=True)
    )
    names = ["", *map(escaped, view.axes), *(["group"] if grouped else [])]
    return _folded(names, rows, left={len(view.axes) + 1})


def _folded(names: Sequence[str], rows: str, left: frozenset[int] | set[int] = frozenset()) -> str:
    """The table behind a word to open it; all columns but the first and those named are numbers."""
    heads = "".join(
        f'<th scope="col" class="{"number" if index and index not in left else ""}">{name}</th>'
        for index, name in enumerate(names)
    )
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>\n{rows}</tbody></table>"
    return f'\n<details><summary>Numbers</summary><div class="wide">{table}</div></details>'
