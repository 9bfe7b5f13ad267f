"""What a model says without some of its parts: zero, at their mean, or with values of other texts.

Every variant is a copy of the one run with its own edits, computed again from where it differs (`replay.py`); each is
what one forward pass with only these edits would give. Zero is far from what some parts write on average; the mean over
a text, and other texts' values at the same places (resampling, Chan et al. 2022, "Causal Scrubbing"), are not.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, EditError
from fluoroscope.interventions import Intervention, Positions, at, zero
from fluoroscope.progress import telling, track
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch
from fluoroscope.sites import Site
from fluoroscope.trace import Trace
from fluoroscope.variants import Variant

if TYPE_CHECKING:
    from fluoroscope.model import Model

_TOKENS_AT_ONCE = 4096
_BUDGET = 1 << 40  # how many run at once is bounded by their tokens

StandIn = Mapping[Site, Float[Tensor, "token ..."]]
"""What whole sites hold instead, at each token behind the lead of a prompt."""


@dataclass(frozen=True)
class Reference:
    """Other texts, from which values come.

    Args:
        rows: their ids.
        lead: how many of them the tokenizer puts before every text; these keep their values.
    """

    rows: Sequence[Sequence[int]]
    lead: int

    @property
    def tokens(self) -> int:
        """How many tokens there are behind the leads."""
        return sum(len(row) - self.lead for row in self.rows)


def without(
    model: "Model",
    ids: Sequence[int],
    groups: Sequence[Sequence[Site]],
    slot: int,
    values: Sequence[StandIn | None] = (None,),
) -> Float[Tensor, "group sample d_vocab"]:
    """Logits at one position of a prompt, for each group of sites that are gone.

    Args:
        ids: the prompt, as it is.
        groups: each a set of writable sites; an empty one is the model as it is.
        slot: the position that is read.
        values: what they hold instead, in one sample after the other; None for zero at every position.

    Raises:
        EditError: a site that is read-only, or behind the last block.
        Cancelled: between blocks; with the logits of what was done, NaN elsewhere, if there are any.
    """
    variants = [_variant(group, each, len(ids)) for group in groups for each in values]
    found = torch.full((len(variants), model.d_vocab), torch.nan)

    def so_far(_: object) -> Tensor | None:
        return None if bool(found[:, 0].isnan().all()) else found.view(len(groups), len(values), -1)

    with telling(so_far):
        for indices, logits in Replay(model, [list(ids)], positions=(slot,), budget=_BUDGET).logits(variants):
            found = found.to(logits)
            found[indices] = logits[:, 0]
    return found.view(len(groups), len(values), -1)


def _variant(group: Sequence[Site], values: StandIn | None, length: int) -> Variant:
    if values is None:
        return Variant({site: zero() for site in group})
    return Variant(patches=[_patch(site, values, length) for site in group])


def _patch(site: Site, values: StandIn, length: int) -> Patch:
    value = values[site.whole]
    return Patch(site, tuple(range(length - len(value), length)), value if site.unit is None else value[:, site.unit])


def means(model: "Model", reference: Reference, sites: Sequence[Site], length: int) -> StandIn:
    """The mean of each site over all tokens of the reference, at every token of a prompt behind its lead.

    Args:
        length: of the prompt.

    Raises:
        EditError: a site without a mean: what it holds of a token is as long as the prompt.
    """
    whole = _meant(sites)
    sums: dict[Site, Tensor] = {}
    rows = sorted(reference.rows, key=len)
    for start in range(0, len(rows), 16):
        tokens = model.tokens([list(row) for row in rows[start : start + 16]])
        slots = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
        counted = tokens.mask & (slots >= tokens.first[:, None] + reference.lead)
        trace = model.trace(tokens, sites=whole, logits=False)
        for site in whole:
            held = trace[site].movedim(site.kind.position_axis, 1)[counted].double().sum(0)
            sums[site] = sums.get(site, torch.zeros_like(held)) + held
    shape = length - reference.lead, *[-1] * 8
    return {site: (total / reference.tokens).float().expand(*shape[: total.ndim + 1]) for site, total in sums.items()}


def resampled(
    model: "Model", reference: Reference, sites: Sequence[Site], length: int, samples: int, seed: int
) -> Iterator[StandIn]:
    """What the sites hold at the same places of other texts, one text a sample, drawn without putting back.

    Raises:
        ArgumentError: fewer texts than samples have as many tokens as the prompt.
        EditError: as `means`.
    """
    whole = _meant(sites)
    long = [row for row in reference.rows if len(row) >= length]
    if not 1 <= samples <= len(long):
        raise ArgumentError(
            f"samples={samples}, and {len(long)} of {len(reference.rows)} other texts are as long as the prompt",
            f"Ask for 1 to {len(long)}." if long else "Name longer texts, or a shorter prompt.",
        )
    for row in random.Random(seed).sample(long, samples):  # noqa: S311 — drawing texts needs no secret
        trace = model.trace([list(row[:length])], sites=whole, logits=False)
        yield {site: trace[site].movedim(site.kind.position_axis, 1)[0, reference.lead :] for site in whole}


def _meant(sites: Sequence[Site]) -> list[Site]:
    for site in sites:
        if "key" in site.kind.axes or not site.kind.writable or site.name == "logits":
            raise EditError(f"{site} has no value of another text that would fit here", "Set it to zero, or leave it.")
    return list(dict.fromkeys(site.whole for site in sites))


def traces_without(
    model: "Model",
    ids: Sequence[int],
    variants: Sequence[Sequence[Site]],
    sites: Sequence[Site] = (),
    positions: Positions = None,
) -> Iterator[Trace]:
    """Traces of a prompt whose rows are the variants, in order, as many at once as fit.

    Args:
        ids: the prompt, as it is.
        variants: each a set of writable sites.
        sites: what the traces keep.
        positions: where the sites of a variant are zero; None is everywhere.
    """
    rows = max(1, _TOKENS_AT_ONCE // len(ids))
    chunks = [variants[start : start + rows] for start in range(0, len(variants), rows)]
    for chunk in track(chunks, "ablation"):
        rows_of: dict[Site, list[int]] = {}
        for row, removed in enumerate(chunk):
            for site in removed:
                rows_of.setdefault(site, []).append(row)
        edits: dict[str | Site, Intervention] = {
            site: at(zero(), positions=positions, rows=rows) for site, rows in rows_of.items()
        }
        yield model.trace([list(ids)] * len(chunk), sites=sites, edits=edits)
