"""A logit and its exact parts: what every analysis that splits one measures, and what their results have in common."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fluoroscope.contrasted import Contrasted, named
from fluoroscope.methods import contrast, decomposition, readout
from fluoroscope.signature import AnyPrompt, AnyToken

if TYPE_CHECKING:
    from fluoroscope.methods.decomposition import Grain, Part
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace


class Attributed(Contrasted):
    """One logit, or the difference of two, that was split into exact parts.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token after which the prediction is made.
        logit: the model's own number, before any softcap; of sets the mean logit, less that of the foil.
        total: the sum of all parts; `error` is total - logit.
        softcap: the cap that the model applies afterwards, if any.
    """

    tokens: tuple[str, ...]
    position: int
    logit: float
    total: float
    error: float
    softcap: float | None


@dataclass(frozen=True)
class Split:
    """The parts of a logit, the run that they are of, and the fields of an `Attributed`.

    Args:
        parts: in the order of computation.
        size: the sum of the sizes of all parts.
    """

    trace: "Trace"
    parts: "list[Part]"
    size: float
    fields: dict[str, Any]

    def share(self, *parts: "Part") -> float:
        """The sizes of these parts over that of all, so that the shares of all sum to 1."""
        return sum(abs(part.value) for part in parts) / self.size if self.size else 0.0


def split(
    model: "Model", prompt: AnyPrompt, about: tuple[AnyToken | None, AnyToken | None], position: int, grain: "Grain"
) -> Split:
    """Splits the logit that a target and a foil ask about, after one position of a prompt.

    Args:
        about: target, by default the model's own prediction, and foil, by default none; as parameters name them.

    Raises:
        ArgumentError: a batch of prompts, or a token that is in target and foil.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    asked = contrast.asked(model, *about)
    trace = model.trace(prompt, sites=decomposition.sites_needed(model, grain))
    slot = readout.only_slot(trace.tokens, position)
    asked = asked.at(trace.logits[0, slot])
    weights = asked.weights(model.d_vocab)
    parts = decomposition.decompose(model, trace, slot, weights, grain)
    logit = decomposition.linear_logit(model, trace, slot, weights)
    total = sum(part.value for part in parts)
    fields = {
        "recipe": trace.recipe,
        **named(model, asked),
        "tokens": tuple(trace.tokens.labels[0]),
        "position": slot,
        "logit": logit,
        "total": total,
        "error": total - logit,
        "softcap": model.architecture.softcap,
    }
    return Split(trace, parts, sum(abs(part.value) for part in parts), fields)
