"""Pairs of prompts as tokens, with what is measured of each: those of a task, or one pair of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fluoroscope import metrics, tasks
from fluoroscope.methods import contrast, readout
from fluoroscope.metrics import Named
from fluoroscope.signature import AnyToken

if TYPE_CHECKING:
    from fluoroscope.metrics import Metric
    from fluoroscope.model import Model
    from fluoroscope.tokens import Tokens

Ids = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Measured:
    """Pairs of prompts.

    Args:
        clean: one a row; `corrupted` has as many tokens in each.
        metric: of each pair, after the last token; distances are measured from the clean prediction.
    """

    clean: "Tokens"
    corrupted: "Tokens"
    metric: "Metric"

    @property
    def first(self) -> tuple[str, str]:
        """The texts of the first pair."""
        texts = ("".join(side.pieces[0]) for side in (self.clean, self.corrupted))
        return next(texts), next(texts)


def of_task(model: "Model", name: str, metric: Named, count: int, seed: int = 0) -> tuple[Measured, Measured]:
    """So many pairs of a task, and as many others.

    Raises as `tasks.make` and `metrics.make` do.
    """
    made = tasks.make(name, model, 2 * count, seed)
    answers, foils = made.ids(model)
    first, second = (
        _measured(
            model,
            model.tokens([pair.clean for pair in made.pairs[half]]),
            model.tokens([pair.corrupted for pair in made.pairs[half]]),
            metric,
            (answers[half], foils[half]),
        )
        for half in (slice(0, count), slice(count, None))
    )
    return first, second


def of_pair(
    model: "Model",
    clean: Any,
    corrupted: Any,
    metric: Named,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
) -> Measured:
    """One pair; an answer or foil that is not named is the model's own prediction after its prompt.

    Raises:
        ArgumentError: prompts of unequal length, of the same tokens, or answered alike; unknown metric.
        TokenError: answer or foil is not one token or a set of them.
    """
    sides = model.tokens(clean), model.tokens(corrupted)
    for tokens in sides:
        readout.only_slot(tokens, -1)
    readout.parting(*sides)
    asked = contrast.asked(model, answer, foil)
    return _measured(model, *sides, metric, ([asked.target], [asked.foil]))


def _measured(
    model: "Model", clean: "Tokens", corrupted: "Tokens", metric: Named, named: tuple[Sequence[Ids], Sequence[Ids]]
) -> Measured:
    ends = [model.trace(side).logits[torch.arange(len(side)), side.last] for side in (clean, corrupted)]
    answers, foils = (
        [list(ids) if ids else [int(row.argmax())] for ids, row in zip(given, logits, strict=True)]
        for given, logits in zip(named, ends, strict=True)
    )
    needs = metrics.needs(metric)
    given = {name: ids for name, ids in (("answer", answers), ("foil", foils)) if name in needs}
    return Measured(clean, corrupted, metrics.make(metric, reference=ends[0], **given))
