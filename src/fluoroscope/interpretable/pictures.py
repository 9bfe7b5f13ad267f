"""What `plot=True` shows: a figure in a notebook, the same as text in a terminal."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fluoroscope.errors import ArgumentError
from fluoroscope.render import figure, terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.views import Heatmap, View


def drawn(
    title: str,
    summary: str,
    views: "Sequence[View]",
    figsize: tuple[float, float],
    cmap: str,
    *,
    font: str | None = None,
    size: int | None = None,
    abreast: int = 1,
) -> "Figure":
    """The figure, its heat maps in a colour map of matplotlib's.

    Args:
        font: of all text, by its family; `size` in points.

    Raises:
        ArgumentError: no such colour map.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.text import Text

    if cmap not in colormaps:
        raise ArgumentError(f"matplotlib has no colour map {cmap!r}", "viridis, RdBu_r and Blues are some.")
    found = figure.page(title, summary, views, size=figsize, abreast=abreast)
    for artist in found.findobj(lambda each: isinstance(each, ScalarMappable)):
        artist.set_cmap(cmap)  # pyright: ignore[reportAttributeAccessIssue]
    for text in found.findobj(Text):
        if font is not None:
            text.set_fontfamily(font)  # pyright: ignore[reportAttributeAccessIssue]
        if size is not None:
            text.set_fontsize(size)  # pyright: ignore[reportAttributeAccessIssue]
    return found


def shown(
    title: str, summary: str, views: "Sequence[View]", size: tuple[float, float], cmap: str, font: str | None = None
) -> None:
    """Displays the figure where a notebook runs, prints the views elsewhere."""
    shell: Any = sys.modules.get("IPython")
    found = drawn(title, summary, views, size, cmap, font=font)
    if shell is not None and shell.get_ipython() is not None:
        shell.display.display(found)
    else:
        terminal.page(Console(highlight=False), title, summary, views)


def lens(title: str, view: "Heatmap", most: int, size: tuple[float, float], cmap: str, font: str | None = None) -> None:
    """Shows the last `most` columns of a lens's heat map."""
    if most < 1:
        raise ArgumentError(f"max_display_tokens={most} shows nothing", "Give at least 1.")
    cut: dict[str, Any] = {"columns": view.columns[-most:], "values": tuple(row[-most:] for row in view.values)}
    cut["tokens"] = tuple(row[-most:] for row in view.tokens or ())
    shown(title, "", [view.model_copy(update=cut)], size, cmap, font)


def without_scale(found: "Figure") -> None:
    """Takes the scales beside heat maps away."""
    for axes in found.axes:
        if axes.get_label() == "<colorbar>":
            axes.remove()
