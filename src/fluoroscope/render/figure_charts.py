"""Bars, heatmaps, tokens, lines and tables on matplotlib axes: what has rows or columns."""

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize

from fluoroscope.render import palette
from fluoroscope.render.cells import text_cells
from fluoroscope.render.figure_text import LABEL, LETTERS, THEME, cut, font, label, printable
from fluoroscope.render.text import decimals, number, numbers, prose, visible
from fluoroscope.views import Bars, Heatmap, Lines, Table, Tokens

_MOST_NUMBERS = 400
_COLUMN = 7
_SMALL = 1.2
_MOST_ROUNDED = 10_000
_CELL = 10


def bars(axes: Axes, view: Bars) -> None:
    """Bars, one below the other, each with its number and remark."""
    places = range(len(view.items))
    values = [item.value or 0.0 for item in view.items]
    colours = [THEME.toward[-1] if value >= 0 else THEME.against[-1] for value in values]
    drawn = axes.barh(places, values, color=colours, height=0.7)
    amounts = numbers([item.value for item in view.items], view.signed)
    remarks = [prose(item.remark) for item in view.items]
    texts = [
        printable(cut(f"{amount}  {remark}".rstrip(), LABEL)) for amount, remark in zip(amounts, remarks, strict=True)
    ]
    axes.bar_label(drawn, texts, padding=4, **font(size=8))
    axes.set_yticks(places, [label(item) for item in view.items], **font(size=8))
    axes.invert_yaxis()
    axes.margins(x=0.2 if view.signed else 0.12, y=0.02)
    if view.signed:
        axes.axvline(0, color=THEME.line, linewidth=1)


def heatmap(axes: Axes, view: Heatmap, room: int) -> None:
    """Coloured cells, with their numbers as far as there are few; `room` is the width in letters."""
    maximum = palette.strongest(view.values, view.maximum)
    ramp = [*reversed(THEME.against[1:]), *THEME.toward] if view.signed else list(THEME.amount)
    colours = LinearSegmentedColormap.from_list("fluoroscope", ramp)
    grid = [[float("nan") if value is None else value for value in row] for row in view.values]
    if grid and view.columns:
        axes.imshow(grid, cmap=colours, norm=Normalize(-maximum if view.signed else 0, maximum), aspect="auto")
    axes.set_xticks(range(len(view.columns)), [label(mark) for mark in view.columns], **font(size=8))
    axes.set_yticks(range(len(view.rows)), [label(mark) for mark in view.rows], **font(size=8))
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)
    if len(view.columns) * _COLUMN > room:
        axes.tick_params(axis="x", labelrotation=90)
    if len(view.rows) * len(view.columns) * LETTERS > _MOST_NUMBERS * room:
        return
    amounts = _fitting(view, room)
    for row, values in enumerate(view.values):
        for column, value in enumerate(values):
            colour = palette.shade(THEME, value or 0.0, maximum, view.signed)
            token = printable(cut(visible(view.tokens[row][column]), _CELL)) + "\n" if view.tokens else ""
            style = font(size=7, ha="center", va="center", color=palette.ink(colour))
            axes.text(column, row, token + amounts[row][column], **style)


def _fitting(view: Heatmap, room: int) -> list[list[str]]:
    """The numbers of a heatmap with as many digits as its columns have room for; a tiny one may read 0.0, never 0."""
    digits = decimals(view.values)
    told = [[number(value, view.signed, digits) for value in row] for row in view.values]
    wide = max((len(text) for row in told for text in row), default=0) * len(view.columns)
    if digits == 0 or wide <= _SMALL * room:
        return told
    return [[_rounded(value, view.signed) for value in row] for row in view.values]


def _rounded(value: float | None, signed: bool) -> str:
    if not value or abs(value) >= _MOST_ROUNDED:
        return number(value, signed)
    return f"{value:{'+' if signed else ''}.1f}"


def tokens(axes: Axes, view: Tokens) -> None:
    """A text as its tokens."""
    axes.set_axis_off()
    lines = token_lines(view)
    axes.set_ylim(len(lines), 0)
    for index, line in enumerate(lines):
        axes.text(0, index + 0.5, line, transform=axes.get_yaxis_transform(), **font(size=9, va="center"))


def token_lines(view: Tokens) -> list[str]:
    """The lines that a text takes."""
    lines, line = list[str](), ""
    for index, item in enumerate(view.items):
        text = printable(cut(visible(item.text), LABEL))
        text = f"[{text}]" if index == view.marked else text
        if len(line) + len(text) > LETTERS:
            lines.append(line)
            line = ""
        line += f"{text}  "
    return [*lines, line]


def lines(axes: Axes, view: Lines) -> None:
    """Lines over their axis; a missing value interrupts its line."""
    colours = (THEME.toward[-1], THEME.against[-1], THEME.muted)
    for index, series in enumerate(view.series):
        values = [float("nan") if value is None else value for value in series.values]
        axes.plot(range(len(values)), values, color=colours[index % 3], marker="o", markersize=3)
        if len(view.series) > 1:
            place = (0.01, 0.95 - 0.1 * index)
            style = font(size=8, color=colours[index % 3], va="top")
            axes.text(*place, label(series), transform=axes.transAxes, **style)
    every = max(1, len(view.x) // 16)
    shown = range((view.marked or 0) % every, len(view.x), every)
    axes.set_xticks(shown, [label(view.x[index]) for index in shown], **font(size=8))
    low, high = view.bounds()
    axes.set_ylim(low - (0.03 * (high - low) if low else 0), high + 0.03 * (high - low))
    axes.grid(axis="y", color=THEME.line, linewidth=0.6)
    if view.marked is not None:
        axes.axvline(view.marked, color=THEME.ink, linewidth=0.8, linestyle=":")


def table(axes: Axes, view: Table) -> None:
    """Rows of text."""
    axes.set_axis_off()
    axes.set_ylim(len(view.rows) + 1, 0)
    names = [prose(column.name) for column in view.columns]
    for index, row in enumerate([names, *text_cells(view, visible, prose)]):
        style = font(size=8, va="center", color=THEME.ink if index else THEME.muted)
        for place, text in enumerate(row):
            x = place / len(row)
            shown = printable(cut(text, LETTERS // len(row)))
            axes.text(x, index + 0.5, shown, transform=axes.get_yaxis_transform(), **style)
