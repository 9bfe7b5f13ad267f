"""What a model says without some of its parts: zero ablation, many variants in one batch.

Every variant is a row of the batch with its own edits, so a sweep costs a few wide passes; each row is what one
forward pass with only these edits would give.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.interventions import Intervention, at, zero
from fluoroscope.progress import track
from fluoroscope.sites import Site

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
    rows = max(1, _TOKENS_AT_ONCE // len(ids))
    chunks = [variants[start : start + rows] for start in range(0, len(variants), rows)]
    found: list[Tensor] = []
    for chunk in track(chunks, "ablation"):
        rows_of: dict[Site, list[int]] = {}
        for row, sites in enumerate(chunk):
            for site in sites:
                rows_of.setdefault(site, []).append(row)
        edits: dict[str | Site, Intervention] = {site: at(zero(), rows=rows) for site, rows in rows_of.items()}
        found.append(model.trace([list(ids)] * len(chunk), edits=edits).logits[:, slot])
    return torch.cat(found)
