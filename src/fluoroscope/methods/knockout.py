"""Attention knock-out: what a model says when some positions may not look at others.

In every layer and head the scores from these queries to the hidden keys become minus infinity, so that softmax hands
their share to what stays in sight (Geva et al. 2023, "Dissecting Recall of Factual Associations"). What the hidden
tokens say then reaches these queries by no way at all, while every position stays where it is.

The first token of a text is never hidden with its span: idle heads rest there, so hiding it throws them off course,
and it knows of nothing but itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention
from fluoroscope.methods import readout
from fluoroscope.progress import track
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Cut = tuple[slice, slice]
"""(queries, keys): token spans; the queries lie behind the keys, so that each still sees itself."""

_TOKENS_AT_ONCE = 1024


@dataclass(frozen=True)
class Influence:
    """What spans of a text do to one another and to its end, by knock-out.

    Args:
        direct: mean KL, in nats, of the predictions at the tokens of span j when these cannot look at span i; NaN
            where i is not before j.
        total: the same when no token behind span i can look at it, so that nothing can pass it on either.
        ends: log-probabilities at the end of the text, each span hidden from all behind it; None for a span that ends
            the text, or that is its first token alone.
    """

    direct: Float[Tensor, "span span"]
    total: Float[Tensor, "span span"]
    ends: list[Float[Tensor, "d_vocab"] | None]


def suppressed(
    model: "Model", ids: Sequence[int], cuts: Sequence[Cut], label: str = "knock-out"
) -> Iterator[Float[Tensor, "pos d_vocab"]]:
    """Logits of a prompt under each cut, one after the other; several run as rows of one batch.

    Raises:
        ArgumentError: queries that do not lie behind their keys, inside of the prompt.
        UnavailableError: a layer whose scores cannot be written, so that information could pass through it.
    """
    layers = range(model.n_layers)
    for layer in layers:
        model.site(Site("scores", layer))
    masks = [_hidden(len(ids), *cut) for cut in cuts]
    rows = max(1, _TOKENS_AT_ONCE // len(ids))
    for start in track(range(0, len(masks), rows), label):
        chunk = torch.stack(masks[start : start + rows]).to(model.device)
        edits: dict[str | Site, Intervention] = {f"scores.{layer}": _hiding(chunk) for layer in layers}
        yield from model.trace([list(ids)] * len(chunk), edits=edits).logits


def _hidden(length: int, queries: slice, keys: slice) -> Bool[Tensor, "query key"]:
    if not 0 <= keys.start < keys.stop <= queries.start < queries.stop <= length:
        raise ArgumentError(
            f"queries {queries.start}..{queries.stop} do not lie behind keys {keys.start}..{keys.stop} of {length}",
            "Only later tokens look at earlier ones.",
        )
    hidden = torch.zeros(length, length, dtype=torch.bool)
    hidden[queries, keys] = True
    return hidden


def _hiding(hidden: Bool[Tensor, "row query key"]) -> Intervention:
    def knock_out(scores: Float[Tensor, "row head query key"]) -> Tensor:
        return scores.masked_fill(hidden[:, None], -torch.inf)

    return knock_out


def influence(
    model: "Model", ids: Sequence[int], spans: Sequence[slice], log_p: Float[Tensor, "pos d_vocab"]
) -> Influence:
    """Hides each span from each later one, and from all that follows (Bogdan et al. 2025, "Thought Anchors", suppress
    the latter).

    Args:
        ids: the prompt.
        spans: in order, without overlap; tokens between them are behind the ones and before the others.
        log_p: log-probabilities of the plain run at every position.

    Raises:
        UnavailableError: a layer whose scores cannot be written.
    """
    count, length = len(spans), len(ids)
    direct, total = (torch.full((count, count), torch.nan, dtype=torch.float64) for _ in range(2))
    ends: list[Tensor | None] = [None] * count
    keys = {i: slice(max(1, span.start), span.stop) for i, span in enumerate(spans) if 1 < span.stop < length}
    cuts = [(slice(span.stop, length), span) for span in keys.values()]
    for i, logits in zip(keys, suppressed(model, ids, cuts), strict=True):
        changed = readout.log_probs(logits.double())
        ends[i] = changed[-1]
        for j in range(i + 1, count):
            total[j, i] = readout.kl(log_p[spans[j]], changed[spans[j]]).mean()
    for j in track(range(1, count), "knock-out between spans"):  # what comes behind a span cannot change it
        before = [i for i in keys if i < j]
        cuts = [(spans[j], keys[i]) for i in before]
        rows = suppressed(model, ids[: spans[j].stop], cuts, f"knock-out from span {j}")
        for i, logits in zip(before, rows, strict=True):
            direct[j, i] = readout.kl(log_p[spans[j]], readout.log_probs(logits[spans[j]].double())).mean()
    return Influence(direct, total, ends)
