"""What heads do on one text: attention to the token before, to earlier same tokens, and to what followed them.

The scores are those of the seed Circuit Trace, with the first token, where idle heads rest, counted by none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.methods import head_scores

ROLES = ("previous", "duplicate", "induction")


def masks(ids: Sequence[int]) -> Bool[Tensor, "role query key"]:
    """Which keys count for each role; never the first token, which is a sink, nor the query itself."""
    found = head_scores.masks(ids)[: len(ROLES)].clone()
    found[:, :, 0] = False
    return found


@dataclass(frozen=True)
class Roles:
    """Scores of the heads of one layer.

    Args:
        scores: mean over the queries that have such keys of the largest weight on one; NaN where no query has any.
        queries, keys: between which the largest weight runs that a score is made of; of no meaning where it is NaN.
        weights: how large it is.
    """

    scores: Float[Tensor, "role head"]
    queries: list[list[int]]
    keys: list[list[int]]
    weights: Float[Tensor, "role head"]


def roles(pattern: Float[Tensor, "head query key"], mask: Bool[Tensor, "role query key"]) -> Roles:
    """The scores of each role, and the pair of tokens that did most for it."""
    seen = pattern.double()[None] * mask[:, None]
    asked = mask.any(-1)
    scores = seen.amax(-1).sum(-1) / asked.sum(-1)[:, None]
    places = seen.flatten(2).argmax(-1)
    size = pattern.shape[-1]
    return Roles(scores, (places // size).tolist(), (places % size).tolist(), seen.flatten(2).amax(-1))


def pairs(pattern: Float[Tensor, "query key"], count: int) -> list[tuple[int, int, float]]:
    """Query, key and weight of the largest weights of a head, of those on neither the first token nor the query."""
    aside = pattern.double().tril(-1)
    aside[:, 0] = 0
    best = aside.flatten().topk(min(count, aside.numel()))
    size = aside.shape[1]
    found = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [(place // size, place % size, weight) for place, weight in found if weight > 0]
