"""Attention and attribution between spans of tokens, such as the steps of a reasoning or the turns of a chat.

What a span gives is summed over its tokens, what it takes is averaged over them: so a long span does not look
unimportant, and the shares of one reader sum to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import shares
from fluoroscope.methods import decomposition
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model


@dataclass(frozen=True)
class Attribution:
    """A logit (minus that of a foil) as the exact sum of what heads read from each span, elsewhere, and nowhere.

    Args:
        logit: the model's own number, before any softcap.
        read: by span.
        elsewhere: read from tokens of no span.
        own: embeddings and MLPs of the position itself, and biases.
        error: what the sum misses the logit by.
    """

    logit: float
    read: tuple[float, ...]
    elsewhere: float
    own: float
    error: float


def attention(
    pattern: Float[Tensor, "*head query key"], readers: Sequence[slice], sources: Sequence[slice | list[int]]
) -> Float[Tensor, "*head reader source"]:
    """Share of the attention of each reader's tokens, on average, that falls on all tokens of each source.

    A reader without tokens is NaN.
    """
    summed = torch.stack([pattern[..., source].double().sum(-1) for source in sources], dim=-1)
    return torch.stack([summed[..., reader, :].mean(-2) for reader in readers], dim=-2)


def attribution(
    model: "Model", trace: Trace, spans: Sequence[slice], slot: int, weights: Float[Tensor, "d_vocab"]
) -> Attribution:
    """Splits a combination of logits by the span that was read.

    Args:
        trace: keeps `decomposition.sites_needed` for grain "source"; its first row is looked at.
        slot: the position after which to predict.
        weights: of the logits, as `decomposition.decompose` takes them.

    Raises:
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    of_token = {place: index for index, span in enumerate(spans) for place in range(span.start, span.stop)}
    read, elsewhere, own = [0.0] * len(spans), 0.0, 0.0
    for part in decomposition.decompose(model, trace, slot, weights, "source"):
        if part.source is None:
            own += part.value
        elif part.source in of_token:
            read[of_token[part.source]] += part.value
        else:
            elsewhere += part.value
    logit = decomposition.linear_logit(model, trace, slot, weights)
    return Attribution(logit, tuple(read), elsewhere, own, sum(read) + elsewhere + own - logit)


def flow(model: "Model", trace: Trace, spans: Sequence[slice], slot: int) -> list[float]:
    """Share of each span in what all heads at a slot write, by size: attention times the norm of what it moves.

    Summed over the heads of all blocks; all tokens together are 1. It is not followed back through the blocks, as
    attention rollout is: that leans to the first tokens of a text, whatever the answer hangs on.

    Args:
        trace: keeps `pattern.*` and `v.*`; its first row is looked at.

    Raises:
        UnavailableError: W_O of a layer cannot be read exactly.
    """
    written = torch.zeros(slot + 1, dtype=torch.float64, device=trace.logits.device)
    for layer in range(model.n_layers):
        pattern, v = trace[f"pattern.{layer}"][0, :, slot, : slot + 1], trace[f"v.{layer}"][0, :, : slot + 1]
        added, _ = shares.sources(model, layer, pattern.double(), v.double())
        written += added.norm(dim=-1).sum(0).to(written.device)
    return [float(written[span].sum() / written.sum()) for span in spans]
