"""What a change of the model or of its input does to one prediction."""

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model


@dataclass(frozen=True)
class Shift:
    """What becomes of a target token; numbers that are not finite are None.

    Args:
        probability: after the change.
        effect: change of the log-probability, in nats; negative where what was changed had helped.
        difference: change of the logit of the target minus that of a foil; None without one.
        kl: from the distribution as it was to the one after, in nats.
        leads: the token that is likeliest now.
        leads_id: its id.
    """

    probability: float
    effect: float | None
    difference: float | None
    kl: float | None
    leads: str
    leads_id: int


@dataclass(frozen=True)
class Question:
    """The token after the end of a text, with the run that changes are compared with.

    Args:
        log_p: log-probabilities of the plain run at every position, in float64.
        target: the token that is watched.
        foil: one to compare it with.
    """

    model: "Model"
    log_p: Float[Tensor, "pos d_vocab"]
    target: int
    foil: int | None

    @property
    def leader(self) -> int:
        """The token that the plain run finds likeliest."""
        return int(self.log_p[-1].argmax())

    @property
    def probability(self) -> float:
        """Of the target in the plain run."""
        return float(self.log_p[-1, self.target].exp())

    def shift(self, after: Float[Tensor, "d_vocab"]) -> Shift:
        """Compares log-probabilities at the end after a change with those before it."""
        before = self.log_p[-1]
        change, leader = after - before, int(after.argmax())
        return Shift(
            probability=float(after[self.target].exp()),
            effect=_finite(change[self.target]),
            difference=None if self.foil is None else _finite(change[self.target] - change[self.foil]),
            kl=_finite(readout.kl(before, after)),
            leads=self.model.token_label(leader),
            leads_id=leader,
        )


def ask(model: "Model", trace: Trace, target: int | None, foil: int | None) -> Question:
    """A question about the end of the only row of a trace; without a target about the model's own prediction.

    Raises:
        ArgumentError: a batch of prompts, or a foil that is the target.
        UnavailableError: the logits hold NaN.
    """
    slot = readout.only_slot(trace.tokens, -1)
    log_p = readout.log_probs(trace.logits[0].double())
    chosen = int(log_p[slot].argmax()) if target is None else target
    if foil == chosen:
        raise ArgumentError(f"target and foil are both token {foil}", "Their difference is 0 everywhere.")
    return Question(model, log_p, chosen, foil)


def _finite(value: Tensor) -> float | None:
    return float(value) if isfinite(value) else None
