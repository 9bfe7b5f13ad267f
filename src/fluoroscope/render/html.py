"""Views as HTML that runs nothing, and shows hostile text as text."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import assert_never

from fluoroscope.render import network, palette, scatter
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.chart import chart
from fluoroscope.render.stylesheet import STEPS
from fluoroscope.render.text import decimals, number, numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, Scatter, Table, Tokens, View


def draw(view: View) -> str:
    """A view as one `figure` element."""
    unit = "" if isinstance(view, Table) or not view.unit else f" <span>· {escaped(view.unit)}</span>"
    caption = f"<br><span>{escaped(view.caption)}</span>" if view.caption else ""
    name = ' class="scatter"' if isinstance(view, Scatter) else ""
    head = f"<figcaption><b>{escaped(view.title)}</b>{unit}{caption}</figcaption>"
    return f"<figure{name}>\n{head}\n{_picture(view)}\n</figure>"


def _picture(view: View) -> str:
    match view:
        case Bars():
            return _bars(view)
        case Heatmap():
            return _heatmap(view, [[row.site] * len(view.columns) for row in view.rows])
        case HeadGrid():
            sites = [[view.site(layer, head) for head in range(len(row))] for layer, row in enumerate(view.values)]
            return _heatmap(view.heatmap(), sites)
        case Tokens():
            return _tokens(view)
        case Lines():
            return chart(view) + _numbers(view)
        case Arcs():
            return network.arcs(view) + _links(view)
        case Graph():
            return network.graph(view) + _links(view)
        case Scatter():
            return scatter.picture(view) + _points(view)
        case Table():
            return _table(view)
        case _:
            assert_never(view)


def _bars(view: Bars) -> str:
    amounts = numbers([item.value for item in view.items], view.signed)
    rows = "".join(
        f"<tr{_site(item.site)}>{_head(item)}<td>{_bar(item.value or 0.0, view)}</td>"
        f'<td class="number">{amount}</td><td class="muted">{escaped(item.remark)}</td></tr>\n'
        for item, amount in zip(view.items, amounts, strict=True)
    )
    return f'<div class="wide"><table class="bars"><tbody>\n{rows}</tbody></table></div>'


def _bar(value: float, view: Bars) -> str:
    low, high = view.bounds()
    zero, size = 100 * low / (low - high), 100 * abs(value) / (high - low)
    left = zero - size if value < 0 else zero
    axis = f'<path class="axis" d="M{zero:.3f} 0V10" vector-effect="non-scaling-stroke"/>' if view.signed else ""
    name = "against" if value < 0 else "toward"
    rectangle = f'<rect class="{name}" x="{left:.3f}" y="0" width="{size:.3f}" height="10"/>'
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{rectangle}{axis}</svg>'


def _heatmap(view: Heatmap, sites: Sequence[Sequence[str | None]]) -> str:
    maximum, digits = palette.strongest(view.values, view.maximum), decimals(view.values)
    lines = [f"<thead><tr><th></th>{''.join(_head(mark, 'col') for mark in view.columns)}</tr></thead>\n<tbody>\n"]
    for index, mark in enumerate(view.rows):
        tokens = [_token(token) for token in view.tokens[index]] if view.tokens else [""] * len(view.columns)
        cells = ""
        for value, token, site in zip(view.values[index], tokens, sites[index], strict=True):
            colour, amount = _colour(value, maximum, view.signed), number(value, view.signed, digits)
            cells += f'<td class="{colour}"{_site(site)}>{token}<small>{amount}</small></td>'
        lines.append(f"<tr>{_head(mark)}{cells}</tr>\n")
    table = f'<table class="grid">{"".join(lines)}</tbody></table>'
    return f'<div class="wide" tabindex="0">{table}</div>\n{_legend(maximum, view.signed)}'


def _token(text: str) -> str:
    return f'<span class="token">{escape(visible(text))}</span>'


def _colour(value: float | None, maximum: float, signed: bool) -> str:
    if value is None:
        return ""
    scale = "amount" if not signed else "toward" if value >= 0 else "against"
    return f"{scale}{min(STEPS, round(abs(value) / maximum * STEPS))}"


def _legend(maximum: float, signed: bool) -> str:
    def strip(scale: str, steps: Iterable[int]) -> str:
        return "".join(f'<i class="{scale}{step}"></i>' for step in steps)

    if not signed:
        return f'<p class="legend">0 {strip("amount", range(0, STEPS + 1, 2))} {maximum:.3g}</p>'
    against, toward = strip("against", range(STEPS, 0, -2)), strip("toward", range(0, STEPS + 1, 2))
    return f'<p class="legend">against {-maximum:.3g} {against}{toward} {maximum:+.3g} for</p>'


def _tokens(view: Tokens) -> str:
    maximum = palette.strongest([[item.value for item in view.items]])
    spans: list[str] = []
    for index, item in enumerate(view.items):
        name = _colour(item.value, maximum, view.signed) + (" marked" if index == view.marked else "")
        about = [f"token {index}"]
        about += [] if item.id is None else [f"id {item.id}"]
        about += [] if item.value is None else [f"{number(item.value, view.signed)} {view.unit}"]
        title = escaped(", ".join(about))
        spans.append(f'<span class="{name.strip()}" title="{title}">{escape(visible(item.text))}</span>')
    return f'<p class="tokens">{"".join(spans)}</p>'


def _numbers(view: Lines) -> str:
    head = "".join(f'<th scope="col" class="number">{_label(line)}</th>' for line in view.series)
    rows = "".join(
        f"<tr{_site(mark.site)}>{_head(mark)}"
        + "".join(f'<td class="number">{number(line.values[index])}</td>' for line in view.series)
        + "</tr>\n"
        for index, mark in enumerate(view.x)
    )
    return _folded(f"<table><thead><tr><th></th>{head}</tr></thead><tbody>\n{rows}</tbody></table>")


def _links(view: Arcs | Graph) -> str:
    found = links(view, visible, prose)
    amounts = numbers([value for _, _, value in found], view.signed)
    rows = "".join(
        f'<tr><td>{escape(source)}</td><td>→ {escape(target)}</td><td class="number">{amount}</td></tr>\n'
        for (source, target, _), amount in zip(found, amounts, strict=True)
    )
    return _folded(f"<table><tbody>\n{rows}</tbody></table>")


def _folded(table: str) -> str:
    return f'\n<details><summary>Numbers</summary><div class="wide">{table}</div></details>'


def _points(view: Scatter) -> str:
    columns = [numbers([point.place[axis] for point in view.points], signed=True) for axis in range(len(view.axes))]
    names = [*view.axes, *(["group"] if view.groups() else [])]
    head = "".join(f'<th scope="col" class="number">{escaped(name)}</th>' for name in names)
    rows = "".join(
        f"<tr{_site(point.site)}>{_head(point)}"
        + "".join(f'<td class="number">{place}</td>' for place in places)
        + (f"<td>{escaped(point.group or '')}</td>" if view.groups() else "")
        + "</tr>\n"
        for point, *places in zip(view.points, *columns, strict=True)
    )
    table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>\n{rows}</tbody></table>"
    return f'\n<details><summary>Numbers</summary><div class="wide">{table}</div></details>'


def _table(view: Table) -> str:
    styles = [
        "number" if only_numbers else "token" if column.token else ""
        for only_numbers, column in zip(numeric(view), view.columns, strict=True)
    ]
    names = "".join(
        f'<th scope="col" class="{style.replace("token", "")}">{escaped(column.name)}</th>'
        for column, style in zip(view.columns, styles, strict=True)
    )
    rows = ""
    for row, texts in zip(view.rows, text_cells(view, visible, prose), strict=True):
        cells = "".join(f'<td class="{style}">{escape(text)}</td>' for text, style in zip(texts, styles, strict=True))
        rows += f"<tr{_site(row.site)}>{cells}</tr>\n"
    return f'<div class="wide"><table><thead><tr>{names}</tr></thead><tbody>\n{rows}</tbody></table></div>'


def _head(mark: Mark, scope: str = "row") -> str:
    return f'<th scope="{scope}" class="{"token" if mark.token else ""}">{_label(mark)}</th>'


def _label(mark: Mark) -> str:
    return escape(visible(mark.label) if mark.token else prose(mark.label))


def escaped(text: str) -> str:
    """A title or sentence as HTML, with everything that has no ink visible."""
    return escape(prose(text))


def _site(site: str | None) -> str:
    return "" if site is None else f' data-site="{escape(site)}"'
