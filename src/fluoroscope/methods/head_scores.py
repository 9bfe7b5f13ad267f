"""What attention heads attend to, on tokens without meaning: the field's scores, each beside its control.

A head may look like an induction head because it looks back by a fixed distance. So what compares tokens is measured
with several periods, and once more, at the same places, on tokens that never repeat: only the difference is due to what
the tokens are (Olsson et al. 2022, "In-context Learning and Induction Heads").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import confidence
from fluoroscope.progress import track
from fluoroscope.prompts import lead

if TYPE_CHECKING:
    from fluoroscope.model import Model

KINDS = ("previous", "duplicate", "induction", "first", "current")
"""Attention to the token before; to earlier occurrences of the same token; to the tokens after these; to the first
token; to the token itself. A query without such a key, or without any other, does not count."""

COMPARING = ("duplicate", "induction")
"""The kinds that depend on which tokens are the same."""

PERIODS = (12, 19, 27, 34, 41)
ROWS = 8
LEAD = 8


def masks(ids: Sequence[int]) -> Bool[Tensor, "kind query key"]:
    """Which keys each kind of head looks at."""
    places = torch.arange(len(ids))
    query, key = places[:, None], places[None, :]
    token = torch.tensor(ids)
    earlier = key < query
    same = (token[:, None] == token[None, :]) & earlier
    after = torch.zeros_like(same)
    after[:, 1:] = same[:, :-1]
    return torch.stack(
        [
            (key == query - 1) & (query > 1),
            same,
            after & earlier,
            (key == 0) & (query > 0),
            (key == query) & (query > 0),
        ]
    )


def scores(
    pattern: Float[Tensor, "*row head query key"], mask: Bool[Tensor, "kind query key"]
) -> Float[Tensor, "kind *row head"]:
    """The attention that falls on a mask, mean over the queries that have such keys; NaN where none has."""
    asked = mask.any(-1)
    share = mask.double() / asked.sum(-1)[:, None, None]
    return torch.einsum("...hqk,tqk->t...h", pattern.double(), share)


def battery(
    model: "Model", seeds: Sequence[int]
) -> tuple[Float[Tensor, "seed kind layer head"], Float[Tensor, "seed kind layer head"]]:
    """Scores of every head on random tokens, and their controls (NaN for kinds that compare no tokens).

    A seed sets tokens and period, and a lead-in that moves the repetition. Kinds that compare no tokens are read where
    none repeats. Layers without attention patterns are NaN.

    Raises:
        ArgumentError: no seed, or a vocabulary or context too small for a repetition.
        UnavailableError: this family's patterns cannot be read.
    """
    if not seeds:
        raise ArgumentError("no seed was given, so nothing is measured", "Name at least one.")
    shape = (len(seeds), len(KINDS), model.n_layers, model.n_heads)
    found, control = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
    comparing = torch.tensor([kind in COMPARING for kind in KINDS])
    for place, seed in enumerate(track(seeds, "head scores")):
        repeated, fresh = _rows(model, seed)
        mask = masks(repeated[0].tolist()).to(model.device)
        twice, once = (model.trace(ids, sites=["pattern.*"], logits=False) for ids in (repeated, fresh))
        for site in twice.sites:
            again, never = (scores(trace[site], mask).mean(1).cpu() for trace in (twice, once))
            found[place, :, site.layer] = torch.where(comparing[:, None], again, never)
            control[place, comparing, site.layer] = never[comparing]
    return found, control


def even(model: "Model", seeds: Sequence[int]) -> Float[Tensor, "kind"]:
    """What a head earns that looks at all tokens alike, mean over the seeds: 0 where a control is taken off."""
    found: list[Tensor] = []
    for seed in seeds:
        ids = _rows(model, seed)[0][0].tolist()
        seen = torch.ones(len(ids), len(ids), dtype=torch.float64).tril()
        found.append(scores((seen / seen.sum(-1, keepdim=True))[None], masks(ids))[:, 0])
    own = torch.tensor([kind not in COMPARING for kind in KINDS])
    return torch.stack(found).mean(0).where(own, 0.0)


@dataclass(frozen=True)
class Earned:
    """What a battery says of each head, the control taken off; NaN where nothing was measured.

    Args:
        mean: over the seeds.
        spread: standard deviation over the seeds; 0 for one.
        low, high: the 95 % interval of the mean, for other seeds; NaN for one.
    """

    mean: Float[Tensor, "kind layer head"]
    spread: Float[Tensor, "kind layer head"]
    low: Float[Tensor, "kind layer head"]
    high: Float[Tensor, "kind layer head"]

    def labels(self, layer: int, head: int, threshold: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The kinds of a head whose mean reaches the threshold, and those whose interval holds it."""
        figures = zip(KINDS, *(each[:, layer, head].tolist() for each in (self.mean, self.low, self.high)), strict=True)
        told = [(kind, mean >= threshold, low < threshold <= high) for kind, mean, low, high in figures]
        return tuple(kind for kind, yes, _ in told if yes), tuple(kind for kind, _, unsure in told if unsure)


def earned(found: Float[Tensor, "seed kind layer head"], control: Float[Tensor, "seed kind layer head"]) -> Earned:
    """The scores of a battery over its seeds; intervals end where shares do, at 0 (less the control, at -1) and 1."""
    content = found - control.nan_to_num(0.0)
    low, high = confidence.interval(content)
    least = torch.tensor([-1.0 if kind in COMPARING else 0.0 for kind in KINDS], dtype=low.dtype)[:, None, None]
    spread = content.std(0, correction=min(1, len(content) - 1))
    return Earned(content.mean(0), spread, low.maximum(least), high.clamp_max(1.0))


def repetition(model: "Model", period: int, repeats: int, seed: int) -> tuple[Int[Tensor, "row pos"], int]:
    """Random tokens that occur once in a round, said several times behind what begins every text, and where it begins.

    Raises:
        ArgumentError: one round, a round of fewer than two tokens, or more than vocabulary or context hold.
    """
    begin, ordinary = lead(model.tokenizer), _ordinary(model)
    length = len(begin) + period * repeats
    if min(period, repeats) < 2 or period > len(ordinary) or length > (model.n_ctx or length):
        raise ArgumentError(
            f"{period} tokens cannot be said {repeats} times",
            f"Give two or more of each; there are {len(ordinary)} ordinary tokens and a context of {model.n_ctx}.",
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randperm(len(ordinary), generator=generator)[:period] for _ in range(ROWS)])
    start = torch.tensor(begin, dtype=torch.long).expand(ROWS, -1)
    return torch.cat((start, ordinary[drawn].repeat(1, repeats)), 1), len(begin)


def behind(pattern: Float[Tensor, "row head query key"], period: int) -> Float[Tensor, "head"]:
    """Attention to the token behind the last occurrence of one's own, `period` tokens ago; mean over rows and queries.

    The token at `period` is the first that occurs again.
    """
    return pattern.double().diagonal(1 - period, -2, -1)[..., 1:].mean((0, -1))


def _ordinary(model: "Model") -> Int[Tensor, "token"]:
    """The tokens that are no special ones."""
    special: set[int] = set() if model.tokenizer is None else set(model.tokenizer.all_special_ids)
    return torch.tensor([token for token in range(min(model.n_input, model.d_vocab)) if token not in special])


def _rows(model: "Model", seed: int) -> tuple[Int[Tensor, "row pos"], Int[Tensor, "row pos"]]:
    """Tokens said twice behind a lead-in, and as many that never repeat, each behind what begins every text."""
    begin, ordinary = lead(model.tokenizer), _ordinary(model)
    room = min(len(ordinary), model.n_ctx or len(ordinary)) - LEAD - len(begin)
    if room < 2 * min(PERIODS):
        raise ArgumentError(
            f"{len(ordinary)} ordinary tokens in a context of {model.n_ctx} cannot repeat {min(PERIODS)} of them",
            "Head scores need a larger model; look at the attention of a prompt instead.",
        )
    period = min(PERIODS[seed % len(PERIODS)], room // 2)
    generator = torch.Generator().manual_seed(seed)
    ahead = int(torch.randint(0, LEAD + 1, (), generator=generator))
    drawn = [torch.randperm(len(ordinary), generator=generator)[: ahead + 2 * period] for _ in range(ROWS)]
    fresh = ordinary[torch.stack(drawn)]
    repeated = torch.cat((fresh[:, : ahead + period], fresh[:, ahead : ahead + period]), dim=1)
    start = torch.tensor(begin, dtype=torch.long).expand(ROWS, -1)
    return torch.cat((start, repeated), 1), torch.cat((start, fresh), 1)
