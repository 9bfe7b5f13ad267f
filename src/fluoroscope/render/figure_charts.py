"""Bars, heatmaps, tokens and lines on matplotlib axes; `room` is always a width in letters."""

from math import ceil

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from rich.cells import cell_len

from fluoroscope.render import palette
from fluoroscope.render.dense import is_dense
from fluoroscope.render.figure_text import LETTER, LETTERS, THEME, WIDTH, cut, font, label
from fluoroscope.render.text import decimals, number, numbers, prose, visible
from fluoroscope.views import Bars, Heatmap, Lines, Series, Tokens

ROW, TALLEST, SQUARE = 0.28, 12.0, 7.0
"""Height of a row, of the tallest heatmap, and of one that is a picture, in inches."""

_MOST_NUMBERS = 400
_SMALL = 1.2
_MOST_ROUNDED = 10_000
_CELL = 10
_REMARK = 40
_POINTS, _TOKEN = 5.2, 5.5
_PAD, _BETWEEN = 4.0, 9.0
_LINE = 0.14
_STYLES = ("solid", (0, (7, 3)), (0, (1.5, 2)), (0, (7, 2, 1.5, 2)))


def bars(axes: Axes, view: Bars) -> None:
    """Bars, one below the other, and beside them a column of numbers and one of remarks."""
    places = range(len(view.items))
    values = [item.value or 0.0 for item in view.items]
    colours = [THEME.toward[-1] if value >= 0 else THEME.against[-1] for value in values]
    axes.barh(places, values, color=colours, height=0.7)
    axes.set_xlim(*view.bounds())
    axes.set_yticks(places, [label(item) for item in view.items], **font(size=8))
    axes.set_ylim(len(view.items) - 0.5, -0.5)
    if view.signed:
        axes.axvline(0, color=THEME.line, linewidth=1)
    amounts = numbers([item.value for item in view.items], view.signed)
    far = 4 + _POINTS * max(map(len, amounts), default=0)
    for place, (item, amount) in enumerate(zip(view.items, amounts, strict=True)):
        remark = cut(prose(item.remark), _REMARK)
        for text, away, side in ((amount, far, "right"), (remark, far + 8, "left")):
            axes.annotate(
                text, (1, place), xycoords=axes.get_yaxis_transform(), xytext=(away, 0), textcoords="offset points",
                annotation_clip=False, **font(size=8, ha=side, va="center"),
            )  # fmt: skip


def heatmap(axes: Axes, view: Heatmap, room: int) -> None:
    """Coloured cells with the scale of their colours, and their numbers as far as there are few."""
    maximum = palette.strongest(view.values, view.maximum)
    ramp = [*reversed(THEME.against[1:]), *THEME.toward] if view.signed else list(THEME.amount)
    colours = LinearSegmentedColormap.from_list("fluoroscope", ramp)
    norm = Normalize(-maximum if view.signed else 0, maximum)
    grid = [[float("nan") if value is None else value for value in row] for row in view.values]
    if grid and view.columns:
        axes.imshow(grid, cmap=colours, norm=norm, aspect="auto")
        _scale(axes, ScalarMappable(norm, colours), view, maximum)
    _names(axes, view, room)
    if len(view.rows) * len(view.columns) * LETTERS > _MOST_NUMBERS * room:
        return
    amounts = _fitting(view, room)
    for row, values in enumerate(view.values):
        for column, value in enumerate(values):
            colour = palette.shade(THEME, value or 0.0, maximum, view.signed)
            token = cut(visible(view.tokens[row][column]), _CELL) + "\n" if view.tokens else ""
            style = font(size=7, ha="center", va="center", color=palette.ink(colour))
            axes.text(column, row, token + amounts[row][column], **style)


def _scale(axes: Axes, scale: ScalarMappable, view: Heatmap, maximum: float) -> None:
    """What the colours mean; an arrow at its end where values go beyond the strongest."""
    beyond = any(value is not None and abs(value) > maximum for row in view.values for value in row)
    ticks = [-maximum, 0.0, maximum] if view.signed else [0.0, maximum]
    figure = axes.figure
    assert isinstance(figure, Figure)
    drawn = figure.colorbar(
        scale, cax=axes.inset_axes((1.01, 0, 0.01, 1)), ticks=ticks,
        extend=("both" if view.signed else "max") if beyond else "neither",
    )  # fmt: skip
    drawn.outline.set_visible(False)
    drawn.ax.set_yticklabels([f"{tick:{'+' if view.signed and tick else ''}.3g}" for tick in ticks], **font(size=7))
    drawn.ax.tick_params(length=0)


def _names(axes: Axes, view: Heatmap, room: int) -> None:
    """Names of rows and columns, as many as there is room for."""
    across, down = ([label(mark) for mark in marks] for marks in (view.columns, view.rows))
    turned = bool(names_height(view, room))
    every = ceil(_LINE * len(across) / _inner(room)) if turned else 1
    axes.set_xticks(range(0, len(across), every), across[::every], **font(size=8, rotation=90 * turned))
    every = max(1, ceil(_LINE * len(down) / (SQUARE if is_dense(view) else TALLEST)))
    axes.set_yticks(range(0, len(down), every), down[::every], **font(size=8))
    axes.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False)


def names_height(view: Heatmap, room: int) -> float:
    """Inches that names of columns take where they stand upright, as they would touch each other; else 0."""
    longest = max((cell_len(label(mark)) for mark in view.columns), default=0)
    return LETTER * longest if (longest + 1) * LETTER * len(view.columns) > _inner(room) else 0.0


def _inner(room: int) -> float:
    """Inches of a width that are left beside names and scales."""
    return 0.85 * WIDTH * room / LETTERS


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


def tokens(axes: Axes, view: Tokens, room: int) -> None:
    """A text as its tokens, in boxes of the colour of their values, with the numbers below them."""
    axes.set_axis_off()
    lines = token_lines(view, room)
    axes.set_ylim(len(lines), 0)
    values = [item.value for item in view.items]
    maximum, amounts = palette.strongest([values]), numbers(values, view.signed)
    for row, line in enumerate(lines):
        for index, place in line:
            item = view.items[index]
            colour = THEME.page if item.value is None else palette.shade(THEME, item.value, maximum, view.signed)
            marked = index == view.marked
            box = {"facecolor": colour, "edgecolor": THEME.ink if marked else THEME.line, "pad": 2.5}
            weight = "bold" if marked else "normal"
            style = font(mono=True, size=9, va="center", color=palette.ink(colour), weight=weight)
            middle = row + (0.3 if _valued(view) else 0.5)
            where = axes.get_yaxis_transform()
            axes.text(place, middle, _shown(view, index), transform=where, bbox=box, **style)
            if item.value is not None:
                axes.text(place, row + 0.78, amounts[index], transform=where, **font(size=7, va="center"))


def tokens_height(view: Tokens, room: int) -> float:
    """Inches that a text takes."""
    return ROW * len(token_lines(view, room)) * (2.0 if _valued(view) else 1.3)


def token_lines(view: Tokens, room: int) -> list[list[tuple[int, float]]]:
    """The tokens of each line as (index, place), the places as shares of the width."""
    lines: list[list[tuple[int, float]]] = [[]]
    place, whole = 0.0, 72 * WIDTH * room / LETTERS
    amounts = numbers([item.value for item in view.items], view.signed) if _valued(view) else []
    for index in range(len(view.items)):
        wide = max(_TOKEN * cell_len(_shown(view, index)), _POINTS * len(amounts[index]) if amounts else 0) + _BETWEEN
        if lines[-1] and place + wide > whole:
            lines.append([])
            place = 0.0
        lines[-1].append((index, (place + _PAD) / whole))
        place += wide
    return lines


def _valued(view: Tokens) -> bool:
    return any(item.value is not None for item in view.items)


def _shown(view: Tokens, index: int) -> str:
    text = cut(visible(view.items[index].text), 24)
    return f"[{text}]" if index == view.marked else text


def lines(axes: Axes, view: Lines, room: int) -> None:
    """Lines over their axis, several with a legend beside them; a missing value interrupts its line."""
    for index, series in enumerate(view.series):
        _line(axes, series, index)
    if len(view.series) > 1:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        for text, series in zip(legend.get_texts(), view.series, strict=True):
            text.set(text=label(series), **font(size=8))
    names = [label(mark) for mark in view.x]
    longest = max(map(cell_len, names), default=0) + 2
    every = max(1, ceil(len(names) * longest * LETTER / _inner(room)))
    shown = range((view.marked or 0) % every, len(names), every)
    axes.set_xticks(shown, [names[index] for index in shown], **font(size=8))
    low, high = view.bounds()
    axes.set_ylim(low - (0.03 * (high - low) if low else 0), high + 0.03 * (high - low))
    axes.grid(axis="y", color=THEME.line, linewidth=0.6)
    if view.marked is not None:
        axes.axvline(view.marked, color=THEME.ink, linewidth=0.8, linestyle=":")


def _line(axes: Axes, series: Series, index: int) -> None:
    """No two of the first twelve lines look alike; points on an edge of the picture are whole."""
    values = [float("nan") if value is None else value for value in series.values]
    colours = (THEME.toward[-1], THEME.against[-1], THEME.muted)
    axes.plot(
        range(len(values)), values, color=colours[index % 3], linestyle=_STYLES[index // 3 % 4], marker="o",
        markersize=3, clip_on=False, label=str(index),
    )  # fmt: skip
