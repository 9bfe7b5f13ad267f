"""Views as a figure of a wanted size, which is saved where that is asked for; pyplot is not touched."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError
from fluoroscope.render import figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.views import View

SUFFIXES = (".png", ".svg")


def saved(
    title: str,
    summary: str,
    views: "Sequence[View]",
    size: tuple[float, float] | None,
    save_path: str | Path | None,
    *,
    abreast: int = 1,
) -> "Figure":
    """The figure, written to `save_path` as well if there is one.

    Raises:
        ArgumentError: a suffix that is neither .png nor .svg.
        ArtifactError: the file cannot be written.
    """
    if save_path is not None and Path(save_path).suffix.lower() not in SUFFIXES:
        raise ArgumentError(f"cannot save a figure as {str(save_path)!r}", "Known suffixes: .png, .svg.")
    drawn = figure.page(title, summary, views, abreast=abreast, size=size)
    write(drawn, save_path)
    return drawn


def write(drawn: "Figure", save_path: str | Path | None) -> None:
    """Writes a figure, if there is a path to write it to."""
    if save_path is not None:
        artifact.write(save_path, figure.image(drawn, Path(save_path).suffix[1:].lower()))
