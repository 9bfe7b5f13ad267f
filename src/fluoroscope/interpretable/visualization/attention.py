"""Attention patterns of a trace, the model's own, and pictures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import Tensor

from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interpretable import pictures
from fluoroscope.interpretable.core.trace import Trace
from fluoroscope.interpretable.opened import numbered
from fluoroscope.interpretable.refusals import LayerError
from fluoroscope.sites import Site
from fluoroscope.views import Heatmap, Mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]
Head = int | tuple[int, int]
_BACKENDS = ("auto", "matplotlib")


@dataclass(frozen=True)
class AttentionVisualizationConfig:
    """How attention is drawn.

    Args:
        colorscale: a colour map of matplotlib's.
        mask_upper_tri: leave out what a causal model cannot see.
        backend: "matplotlib", or "auto", which is the same.
        figsize: inches.
        show_colorbar: whether the scale stands beside.
        font_size: points.
    """

    colorscale: str = "Blues"
    mask_upper_tri: bool = True
    backend: str = "auto"
    figsize: tuple[float, float] = (10, 8)
    show_colorbar: bool = True
    font_size: int = 10


def get_attention_patterns(trace: Trace, layers: Sequence[int] | None = None) -> dict[int, Array]:
    """Layer -> the model's own attention [batch, head, query, key], on every family.

    Args:
        layers: which; None for all that attend.

    Raises:
        LayerError: a layer without attention patterns.
    """
    kept = {site.layer or 0: trace.result[site] for site in trace.result.sites if site.name == "pattern"}
    wanted = list(kept) if layers is None else numbered(trace.model, layers)
    if beyond := [layer for layer in wanted if layer not in kept]:
        raise LayerError(f"the trace holds no attention of layer {beyond[0]}", f"It has {sorted(kept)}.")
    return {layer: kept[layer].detach().float().cpu().numpy() for layer in wanted}


def attention_heatmap(
    attention: "Array | Tensor",
    tokens: Sequence[str],
    head_idx: int = 0,
    title: str | None = None,
    colorscale: str = "Blues",
    backend: str = "matplotlib",
    mask_upper_tri: bool = True,
    figsize: tuple[float, float] = (8, 6),
) -> "Figure":
    """One head's attention: rows look at columns.

    Args:
        attention: [batch, head, query, key]; the first prompt is drawn.
        tokens: the text of each.
        mask_upper_tri: leave out what lies behind the token that looks.

    Raises:
        ArgumentError: no such head, other tokens than the pattern has, or another backend than matplotlib.
    """
    config = AttentionVisualizationConfig(colorscale, mask_upper_tri, backend, figsize)
    return _drawn([_view(np.asarray(attention), tokens, head_idx, title or f"Head {head_idx}", config)], config, 1)


def attention_from_trace(
    trace: Trace,
    tokens: Sequence[str],
    layers: Sequence[int] | None = None,
    heads: Sequence[Head] | None = None,
    mode: Literal["single", "grid"] = "single",
    head_notation: Literal["LH", "dot"] = "LH",
    config: AttentionVisualizationConfig | None = None,
) -> "Figure":
    """Attention of heads of a trace.

    Args:
        layers: the first that attends if not given.
        heads: numbers of heads in each of these layers, the first if not given; or (layer, head) pairs, without layers.
        mode: the first of them alone, or all of them in a grid.
        head_notation: "LH" writes L5H3, "dot" 5.3.

    Raises:
        ArgumentError: an unknown mode or notation, pairs together with layers, and as `attention_heatmap`.
        LayerError: a layer without attention.
    """
    for name, value, known in (("mode", mode, ("single", "grid")), ("head_notation", head_notation, ("LH", "dot"))):
        if value not in known:
            raise ArgumentError(f"unknown {name} {value!r}", nearest(value, known))
    pairs = [head for head in heads or () if not isinstance(head, int)]
    numbers = [head for head in heads or () if isinstance(head, int)]
    if pairs and (layers is not None or numbers):
        raise ArgumentError("heads are (layer, head) pairs beside something else", "Give pairs alone, without layers.")
    found = get_attention_patterns(trace)
    chosen = pairs or [(layer, head) for layer in layers or list(found)[:1] for head in numbers or (0,)]
    chosen = [(numbered(trace.model, [layer])[0], head) for layer, head in chosen]
    get_attention_patterns(trace, [layer for layer, _ in chosen])
    settings = config or AttentionVisualizationConfig()
    views = [
        _view(found[layer], tokens, head, f"{layer}.{head}" if head_notation == "dot" else
              Site("z", layer, head).label, settings)
        for layer, head in (chosen[:1] if mode == "single" else chosen)
    ]  # fmt: skip
    return _drawn(views, settings, max(1, len({head for _, head in chosen})) if mode == "grid" else 1)


def _view(
    attention: Array, tokens: Sequence[str], head: int, title: str, config: AttentionVisualizationConfig
) -> Heatmap:
    if attention.ndim != 4 or not 0 <= head < attention.shape[1]:
        raise ArgumentError(f"head {head} of attention {list(attention.shape)}", "It is [batch, head, query, key].")
    pattern = attention[0, head]
    if list(pattern.shape) != [len(tokens), len(tokens)]:
        raise ArgumentError(f"{len(tokens)} tokens for a pattern {list(pattern.shape)}", "Give one for each.")
    marks = tuple(Mark(label=token, token=True) for token in tokens)
    values = tuple(
        tuple(None if config.mask_upper_tri and key > query else float(value) for key, value in enumerate(row))
        for query, row in enumerate(pattern)
    )
    return Heatmap(title=title, unit="attention", maximum=1.0, rows=marks, columns=marks, values=values)


def _drawn(views: Sequence[Heatmap], config: AttentionVisualizationConfig, abreast: int) -> "Figure":
    if config.backend not in _BACKENDS:
        raise ArgumentError(
            f"there is no drawing by {config.backend!r} here",
            "Take backend='matplotlib', or result.show() for a live one.",
        )
    found = pictures.drawn("", "", views, config.figsize, config.colorscale, size=config.font_size, abreast=abreast)
    if not config.show_colorbar:
        pictures.without_scale(found)
    return found
