"""Collectors of mlxterp: residual streams of many prompts, each read at its own tokens, whatever it is batched with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fluoroscope.interpretable.core.cache import ActivationCache, Activations
from fluoroscope.interpretable.opened import numbered, xray
from fluoroscope.interpretable.refusals import InputError, valued
from fluoroscope.progress import track

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model


def get_activations(
    model: "InterpretableModel | Model",
    prompts: str | Sequence[str],
    layers: Sequence[int] | None = None,
    positions: int | Sequence[int] = -1,
) -> dict[str, Tensor]:
    """The stream behind layers at some tokens of each prompt, padding never among them.

    Args:
        layers: which; None for all. Negative ones count from the end.
        positions: a token index, or several; negative ones count from each prompt's own end.

    Returns:
        "layer_<i>" -> [batch, d_model], or [batch, position, d_model] where several positions were given.

    Raises:
        LayerError: no such layer.
        InputError: a prompt without such a token, or no prompt (a ValueError, too).
    """
    found = xray(model)
    numbers = numbered(found, layers)
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not texts:
        raise InputError("no prompt was given", "Give a text, or several.")
    alone = isinstance(positions, int)
    if not alone and not list(positions):
        raise InputError("no position was given", "Give token indices, such as -1 or [0, -1].")
    with valued(), torch.no_grad():
        trace = found.trace(texts, sites=[f"resid_post.{layer}" for layer in numbers], logits=False)
        slots = [trace.tokens.slots(row, positions) for row in range(len(texts))]
    rows = torch.arange(len(texts))[:, None]
    kept = {f"layer_{layer}": trace[f"resid_post.{layer}"][rows, torch.tensor(slots)] for layer in numbers}
    return {name: value[:, 0] if alone else value for name, value in kept.items()}


def batch_get_activations(
    model: "InterpretableModel | Model",
    prompts: Sequence[str],
    layers: Sequence[int] | None = None,
    positions: int | Sequence[int] = -1,
    batch_size: int = 8,
) -> dict[str, Tensor]:
    """`get_activations` of many prompts, `batch_size` in one pass; errors are the same.

    Raises:
        InputError: `batch_size` is no whole number from 1 up.
    """
    if not isinstance(batch_size, int) or batch_size < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"batch_size={batch_size!r} is no number of prompts", "Give a whole number, at least 1.")
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    groups = [texts[start : start + batch_size] for start in range(0, len(texts), batch_size)] or [[]]
    parts = [get_activations(model, group, layers, positions) for group in track(groups, "activations")]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def collect_activations(
    model: "InterpretableModel | Model", inputs: Any, layers: Sequence[str] | None = None
) -> ActivationCache:
    """What modules give out on some inputs, under the names by which they were asked for; nothing else is kept.

    Args:
        inputs: as for `InterpretableModel.trace`.
        layers: module paths or sites; None for all, under their module paths.

    Raises:
        SiteError, UnavailableError: a name of no value of this model.
        InputError: inputs that are none (a ValueError, too).
    """
    found = xray(model)
    if layers is not None and (isinstance(layers, str) or not layers):
        raise InputError(f"layers={layers!r} names nothing to keep", 'Give names, such as ["layers.3"].')
    names = [str(site) for site in found.sites() if site.name not in ("scores", "head_out", "logits")]
    with valued(), torch.no_grad():
        trace = found.trace(inputs, sites=names if layers is None else layers)
    values = dict(Activations(found, trace)) if layers is None else {name: trace[found.site(name)] for name in layers}
    return ActivationCache(values, {"model": found.name, "tokens": trace.tokens.rows})
