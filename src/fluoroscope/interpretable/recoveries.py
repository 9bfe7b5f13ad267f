"""Metrics as mlxterp asks for them: its names, its keywords and functions of its signature, for pairs of prompts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.methods import readout, sweeps
from fluoroscope.methods.sweeps import Sweep
from fluoroscope.metrics import Metric

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt

Own = Callable[..., Tensor | float]
"""A metric of one's own: (patched_logits, clean_logits, corrupted_logits [row, d_vocab], **metric_kwargs) -> [row]."""

BARE = "l2"
"""What is measured where no token is named; every token of the vocabulary takes part in it."""

_WORDS = {
    "answer": "answer", "correct_token": "answer", "clean_target": "answer", "target_token": "answer",
    "foil": "foil", "incorrect_token": "foil", "corrupted_target": "foil", "foil_token": "foil",
}  # fmt: skip


def is_own(metric: object) -> bool:
    """Whether a metric compares the runs itself, so that its values are no scores to be normalised."""
    return callable(metric) and not isinstance(metric, Metric)


def pairs(model: "Model", clean: "Prompt", corrupted: "Prompt", names: Sequence[str] = ()) -> Sweep:
    """A prompt, or several, each with the corrupted one of its index; `names` of the kinds of sites to be patched.

    Raises:
        ArgumentError: they are not in pairs, of unequal length or of the same tokens.
    """
    sides = [model.tokens(prompt).rows for prompt in (clean, corrupted)]
    if len(sides[0]) != len(sides[1]):
        raise ArgumentError(f"there are {len(sides[0])} clean and {len(sides[1])} corrupted prompts", "Give pairs.")
    return Sweep(model, list(zip(*([model.tokens(row) for row in side] for side in sides), strict=True)), names)


def made(model: "Model", sweep: Sweep, metric: str | Own | None, given: Mapping[str, Any] | None) -> tuple[Metric, str]:
    """The metric of all pairs, and its name.

    Raises:
        ArgumentError: an unknown metric or keyword, a token that the metric does not read, or no foil to be had.
        TokenError: a token that is not one.
    """
    words = dict(given or {})
    if metric is not None and not isinstance(metric, str):
        name = getattr(metric, "__name__", type(metric).__name__)
        return (metric, metric.name) if isinstance(metric, Metric) else (
            Metric(name, partial(_called, metric, words), data=sweep.logits()), name
        )  # fmt: skip
    named = tokens(words)
    name = metrics.resolve(metric or ("logit_diff" if named else BARE))
    if unread := [word for word in named if word not in metrics.needs(name)]:
        raise ArgumentError(f"{name} needs no {unread[0]}", "Leave it out, or take metric='logit_diff'.")
    ids = {word: readout.token_ids(model, token) for word, token in named.items()}
    answers: list[tuple[int, ...]] = []
    foils: list[tuple[int, ...]] = []
    clean, corrupted = sweep.logits()
    for ends in zip(clean, corrupted, strict=True):
        _, answer, foil = sweeps.between(model, ends, name, ids.get("answer", ()), ids.get("foil", ()))
        answers.append(answer)
        foils.append(foil)
    sides = {word: list(map(list, side)) for word, side in (("answer", answers), ("foil", foils)) if side[0]}
    return metrics.make(name, reference=clean, **sides), name


def tokens(words: Mapping[str, Any]) -> dict[str, Any]:
    """Answer and foil from the keywords of a metric.

    Raises:
        ArgumentError: an unknown keyword, or two for one thing.
    """
    found: dict[str, Any] = {}
    for word, value in words.items():
        if word not in _WORDS:
            raise ArgumentError(f"metrics take no keyword {word!r}", nearest(word, _WORDS))
        if _WORDS[word] in found:
            raise ArgumentError(f"{word!r} names the {_WORDS[word]} a second time", "Name it once.")
        if value is not None:
            found[_WORDS[word]] = value
    return found


def _called(own: Own, words: Mapping[str, Any], logits: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """A function of one's own, row by row where it gives one number for several rows."""
    found = own(logits, clean, corrupted, **words)
    if isinstance(found, Tensor) and found.shape == (len(logits),):
        return found
    sides = (logits, clean, corrupted)
    rows = [own(*(side[row : row + 1] for side in sides), **words) for row in range(len(logits))]
    try:
        return torch.tensor([float(row) for row in rows], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        name = getattr(own, "__name__", type(own).__name__)
        raise ArgumentError(f"the metric {name} gives {rows[0]!r:.80}, which is no number", "Return one.") from error
