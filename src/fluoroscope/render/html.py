"""Views as HTML that loads nothing, runs nothing, and shows hostile text as text."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import assert_never

from fluoroscope.render import network, palette, scatter
from fluoroscope.render.cells import links, numeric, text_cells
from fluoroscope.render.chart import chart
from fluoroscope.render.text import decimals, facts, number, numbers, prose, visible
from fluoroscope.views import Arcs, Bars, Graph, HeadGrid, Heatmap, Lines, Mark, Scatter, Table, Tokens, View

_STEPS = 16
_SCALES = ("against", "amount", "toward")


@dataclass(frozen=True)
class Section:
    """A result among others on one page; `name` is the anchor that leads to it, `files` lie beside the page."""

    name: str
    title: str
    summary: str
    views: Sequence[View]
    recipe: Mapping[str, object]
    files: Sequence[str] = ()


def page(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    """A whole result as one file, under a policy that allows its own style sheet and nothing else."""
    return _document(title, _body(title, summary, views, recipe))


def report(title: str, lead: Sequence[str], sections: Sequence[Section]) -> str:
    """Several results as one file: what was asked, the sentence of each, then each with all its pictures."""
    asked = "\n".join(f'<p class="lead">{_prose(paragraph)}</p>' for paragraph in lead)
    contents = "\n".join(
        f'<li><a href="#{escape(section.name)}">{_prose(section.title)}</a>: {_prose(section.summary)}</li>'
        for section in sections
    )
    head = f"<h1>{_prose(title)}</h1>\n{asked}\n<ol>\n{contents}\n</ol>"
    return _document(title, "\n".join(['<main class="fluoroscope">', head, *map(_section, sections), "</main>"]))


def _section(section: Section) -> str:
    links = ", ".join(f'<a href="{escape(file)}">{_prose(file)}</a>' for file in section.files)
    beside = f'<p class="muted">Files: {links}</p>\n' if links else ""
    content = _content(section.title, section.summary, section.views, section.recipe, "h2")
    return f'<section id="{escape(section.name)}">\n{content}\n{beside}</section>'


def _document(title: str, body: str) -> str:
    digest = base64.b64encode(hashlib.sha256(_css().encode("utf8")).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{_prose(title)} – Fluoroscope</title>\n<style>{_css()}</style>\n</head>\n"
        f'<body class="fluoroscope-page">\n{body}\n</body>\n</html>\n'
    )


def fragment(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    """The same for a notebook's output cell, with its style confined to itself."""
    return f"<div><style>{_css()}</style>{_body(title, summary, views, recipe)}</div>"


def draw(view: View) -> str:
    """A view as one `figure` element."""
    unit = "" if isinstance(view, Table) or not view.unit else f" <span>· {_prose(view.unit)}</span>"
    caption = f"<br><span>{_prose(view.caption)}</span>" if view.caption else ""
    name = ' class="scatter"' if isinstance(view, Scatter) else ""
    head = f"<figcaption><b>{_prose(view.title)}</b>{unit}{caption}</figcaption>"
    return f"<figure{name}>\n{head}\n{_picture(view)}\n</figure>"


def _body(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object]) -> str:
    return f'<main class="fluoroscope">\n{_content(title, summary, views, recipe)}\n</main>'


def _content(title: str, summary: str, views: Sequence[View], recipe: Mapping[str, object], heading: str = "h1") -> str:
    rows = "".join(f"<tr><th>{_prose(name)}</th><td>{_prose(value)}</td></tr>" for name, value in facts(recipe))
    figures = "\n".join(draw(view) for view in views)
    return (
        f'<{heading}>{_prose(title)}</{heading}>\n<p class="summary">{_prose(summary)}</p>\n{figures}\n'
        f'<details><summary>Recipe</summary><table class="recipe"><tbody>{rows}</tbody></table></details>'
    )


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
        f'<td class="number">{amount}</td><td class="muted">{_prose(item.remark)}</td></tr>\n'
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
    return f"{scale}{min(_STEPS, round(abs(value) / maximum * _STEPS))}"


def _legend(maximum: float, signed: bool) -> str:
    def strip(scale: str, steps: Iterable[int]) -> str:
        return "".join(f'<i class="{scale}{step}"></i>' for step in steps)

    if not signed:
        return f'<p class="legend">0 {strip("amount", range(0, _STEPS + 1, 2))} {maximum:.3g}</p>'
    against, toward = strip("against", range(_STEPS, 0, -2)), strip("toward", range(0, _STEPS + 1, 2))
    return f'<p class="legend">against {-maximum:.3g} {against}{toward} {maximum:+.3g} for</p>'


def _tokens(view: Tokens) -> str:
    maximum = palette.strongest([[item.value for item in view.items]])
    spans: list[str] = []
    for index, item in enumerate(view.items):
        name = _colour(item.value, maximum, view.signed) + (" marked" if index == view.marked else "")
        about = [f"token {index}"]
        about += [] if item.id is None else [f"id {item.id}"]
        about += [] if item.value is None else [f"{number(item.value, view.signed)} {view.unit}"]
        title = _prose(", ".join(about))
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
    head = "".join(f'<th scope="col" class="number">{_prose(name)}</th>' for name in names)
    rows = "".join(
        f"<tr{_site(point.site)}>{_head(point)}"
        + "".join(f'<td class="number">{place}</td>' for place in places)
        + (f"<td>{_prose(point.group or '')}</td>" if view.groups() else "")
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
        f'<th scope="col" class="{style.replace("token", "")}">{_prose(column.name)}</th>'
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


def _prose(text: str) -> str:
    return escape(prose(text))


def _site(site: str | None) -> str:
    return "" if site is None else f' data-site="{escape(site)}"'


@cache
def _css() -> str:
    rules = Path(__file__).with_name("style.css").read_text(encoding="utf8")
    return f"{_colours(palette.LIGHT)}\n@media (prefers-color-scheme: dark) {{\n{_colours(palette.DARK)}\n}}\n{rules}"


def _colours(theme: palette.Theme) -> str:
    plain = f"--page: {theme.page}; --ink: {theme.ink}; --muted: {theme.muted}; --line: {theme.line};"
    accents = f"--toward: {theme.toward[-1]}; --against: {theme.against[-1]};"
    rules = [f".fluoroscope, .fluoroscope-page {{ {plain} {accents} }}"]
    for scale in _SCALES:
        for step in range(_STEPS + 1):
            value = -step if scale == "against" else step
            colour = palette.shade(theme, value or 0, _STEPS, scale != "amount")
            rules.append(f".fluoroscope .{scale}{step} {{ background: {colour}; color: {palette.ink(colour)}; }}")
    return "\n".join(rules)
