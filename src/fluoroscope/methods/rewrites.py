"""What a model answers at the end of a text of which a part was taken out, cut off or written anew.

Always ids, never text that is encoded again: what stays is, token for token, what it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods import readout, steps
from fluoroscope.methods.effects import Question, Shift
from fluoroscope.progress import track

if TYPE_CHECKING:
    from fluoroscope.model import Model


@dataclass(frozen=True)
class Resampling:
    """What becomes of the answer when a step is written anew and the later steps are kept.

    Args:
        texts: the new steps.
        different: how many of them are not the step itself.
        shifts: what becomes of the answer with each.
        mean: the same for the mean of their distributions: how much the answer hangs on what the step says, as far
            as what stands before leaves that open.
        counterfactual: the same for those that are not the step itself; None where all are.
    """

    texts: tuple[str, ...]
    different: int
    shifts: tuple[Shift, ...]
    mean: Shift
    counterfactual: Shift | None


def answers(model: "Model", rows: Sequence[Sequence[int]], label: str) -> list[Float[Tensor, "d_vocab"]]:
    """Log-probabilities of what follows each row of ids; each is a forward pass of its own, so none is padded."""
    return [readout.log_probs(model.trace([list(ids)]).logits[0, -1].double()) for ids in track(rows, label)]


def removals(model: "Model", ids: Sequence[int], spans: Sequence[slice]) -> list[Float[Tensor, "d_vocab"]]:
    """Log-probabilities at the end of a text from which one span at a time is taken out; all behind it moves up."""
    return answers(model, [[*ids[: span.start], *ids[span.stop :]] for span in spans], "removal")


def resampled(
    model: "Model", ids: Sequence[int], span: slice, samples: int, seed: int, separator: str | None = None
) -> list[list[int]]:
    """Other ids for a step, drawn from the model's own continuations of all that stands before it.

    A continuation ends where its first step does, at an end-of-sequence token, or at twice the tokens of the span.

    Args:
        span: the step; something stands before it.
        separator: as for `steps.split`.

    Raises:
        UnavailableError: logits that hold NaN.
    """
    before = list(ids[: span.start])
    length = span.stop - span.start
    most = 2 * length if model.n_ctx is None else min(2 * length, model.n_ctx - len(ids) + length)
    drawn = model.generate([before] * samples, max_new_tokens=most, temperature=1.0, seed=seed)
    kept: list[list[int]] = []
    for new, stopped in zip(drawn.ids, drawn.stopped, strict=True):
        row = new[:-1] if stopped == "stop token" else new
        kept.append(row[: _first_step(model, before, row, separator)])
    return kept


def resampling(question: Question, ids: Sequence[int], span: slice, rows: Sequence[Sequence[int]]) -> Resampling:
    """Reads the answer behind each of the new steps that `resampled` has drawn.

    Bogdan et al. 2025 let the model write the rest anew as well, and count as counterfactual what differs in meaning;
    here the rest stays, so only what the answer takes from this step itself can move it, and other words count.
    """
    model, compare = question.model, question.shift
    before, after = list(ids[: span.start]), list(ids[span.stop :])
    found = answers(model, [[*before, *row, *after] for row in rows], "resampling")
    others = [answer for answer, row in zip(found, rows, strict=True) if list(row) != list(ids[span])]
    return Resampling(
        texts=tuple("".join(_pieces(model, before, row)) for row in rows),
        different=len(others),
        shifts=tuple(compare(row) for row in found),
        mean=compare(_mean(found)),
        counterfactual=compare(_mean(others)) if others else None,
    )


def _mean(log_p: Sequence[Float[Tensor, "d_vocab"]]) -> Float[Tensor, "d_vocab"]:
    return torch.stack(list(log_p)).exp().mean(0).log()


def _pieces(model: "Model", before: list[int], new: Sequence[int]) -> list[str]:
    return model.tokens([[*before, *new]]).pieces[0][len(before) :]


def _first_step(model: "Model", before: list[int], new: list[int], separator: str | None) -> int:
    """How many of the new ids belong to their first step."""
    pieces = _pieces(model, before, new)
    if not new or (separator is not None and separator not in "".join(pieces)):
        return len(new)
    return steps.split(pieces, separator)[0].last
