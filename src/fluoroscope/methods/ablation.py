"""What a model says without some of its parts: zero ablation, many variants in one batch.

Every variant is a row of the batch with its own edits, so a sweep costs a few wide passes; each row is what one
forward pass with only these edits would give.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.interventions import Intervention, Positions, at, zero
from fluoroscope.progress import track
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

_TOKENS_AT_ONCE = 4096


def without(
    model: "Model", ids: Sequence[int], variants: Sequence[Sequence[Site]], slot: int
) -> Float[Tensor, "variant d_vocab"]:
    """Logits at one position of a prompt, for each variant: the sites that are zero at every position.

    Args:
        ids: the prompt, as it is.
        variants: each a set of writable sites; an empty one is the model as it is.
        slot: the position that is read.
    """
    return torch.cat([trace.logits[:, slot] for trace in traces_without(model, ids, variants)])


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
