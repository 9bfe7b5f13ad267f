"""Pictures of patching results, under mlxterp's names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable import pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.interpretable.results import AttributionResult, PatchingResult


def plot_patching_result(
    result: "PatchingResult | AttributionResult",
    figsize: tuple[float, float] = (12, 6),
    cmap: str = "RdBu_r",
    title: str | None = None,
) -> "Figure":
    """Bars of the largest effects, and a heat map where heads or tokens were told apart; colours centred at 0."""
    return pictures.drawn(title or result.title(), result.summary(), result.views(), figsize, cmap)


def plot_patching_comparison(
    results: "Sequence[PatchingResult | AttributionResult]",
    figsize: tuple[float, float] = (14, 6),
    title: str | None = None,
) -> "Figure":
    """The bars of several results side by side, each on an axis of its own.

    Raises:
        ArgumentError: no result.
    """
    if not results:
        raise ArgumentError("no result was given, so there is nothing to compare", "Give two or more.")
    views = [result.views()[0].model_copy(update={"caption": f"By {result.metric_name}."}) for result in results]
    return pictures.drawn(title or "Comparison", "", views, figsize, "RdBu_r", abreast=len(views))
