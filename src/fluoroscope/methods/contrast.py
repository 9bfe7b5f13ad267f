"""What an analysis is about: the logit of a target, perhaps less that of a foil, each one token or a set of them.

The logit of a set is the mean of its tokens' logits, so that a set against a set is a difference of means; its
probability is that one of its tokens comes, their sum.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.signature import AnyToken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluoroscope.model import Model


@dataclass(frozen=True)
class Contrast:
    """Target and foil, by ids.

    Args:
        target: empty for the model's own prediction, until `at` a row of logits.
        foil: empty for none.

    Raises:
        ArgumentError: a token that is in both.
    """

    target: tuple[int, ...] = ()
    foil: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        both = [token for token in self.target if token in self.foil]
        if both and len(self.target) == len(self.foil) == 1:
            raise ArgumentError(f"target and foil are both token {both[0]}", "Their difference is 0 everywhere.")
        if both:
            raise ArgumentError(f"target and foil share token {both[0]}", "It would cancel: name it in one of them.")

    def at(self, logits: Float[Tensor, "d_vocab"]) -> "Contrast":
        """The same with a target, the likeliest token where none was named."""
        return self if self.target else replace(self, target=(int(logits.argmax()),))

    def against_likeliest(self, logits: Float[Tensor, "d_vocab"]) -> "Contrast":
        """The target held against the likeliest token that is none of it.

        Raises:
            ArgumentError: the target is the whole vocabulary.
        """
        others = logits.clone()
        others[list(self.target)] = -torch.inf
        token = int(others.argmax())
        if token in self.target:
            raise ArgumentError("the target is all tokens, so none is left to hold it against", "Name fewer.")
        return replace(self, foil=(token,))

    def weights(self, d_vocab: int) -> Float[Tensor, "d_vocab"]:
        """What each logit counts: the target's share 1, the foil's -1, all others nothing."""
        weights = torch.zeros(d_vocab, dtype=torch.float64)
        for tokens, whole in ((self.target, 1), (self.foil, -1)):
            weights[list(tokens)] = whole / max(1, len(tokens))
        return weights

    def score(self, logits: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
        """The mean logit of the target, less that of the foil; with a foil, log-probabilities give the same."""
        own = logits[..., list(self.target)].mean(-1)
        return own - logits[..., list(self.foil)].mean(-1) if self.foil else own

    def log_probability(self, log_p: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
        """That one of the target's tokens comes, in nats."""
        return log_p[..., list(self.target)].logsumexp(-1).clamp_max(0)


def asked(model: "Model", target: AnyToken | None, foil: AnyToken | None) -> Contrast:
    """What the parameters of an analysis name.

    Raises:
        ArgumentError: a token that is in both.
        TokenError: a part of a set that is empty or not exactly one token, or a token named twice.
    """
    return Contrast(*(() if text is None else readout.token_ids(model, text) for text in (target, foil)))


def label(model: "Model", tokens: "Sequence[int]") -> str:
    """A token or a set as a parameter names it: ` Mary| Anna`."""
    return "|".join(map(model.token_label, tokens))


def spelled(tokens: "Sequence[int]") -> str:
    """A token or a set by ids, which any model reads back: `#5|#7`."""
    return "|".join(f"#{token}" for token in tokens)
