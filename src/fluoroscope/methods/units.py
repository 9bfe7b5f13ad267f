"""One number per token for every unit of a site (a neuron's activation, a head's size), surveyed over a text file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods.passages import Passage, batches, counted, passages, size
from fluoroscope.methods.running import Largest, Moments, Quantiles
from fluoroscope.progress import report
from fluoroscope.sites import SITES, Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

KNOWN = tuple(name for name, kind in SITES.items() if kind.unit is not None and "key" not in kind.axes)
"""Sites with units that have a value at every token; a head's is a vector, and counts by its L2 norm."""


@dataclass
class Survey:
    """What is left of all activations: statistics, the largest, the passages that those are in, of how many."""

    moments: Moments
    quantiles: Quantiles
    largest: Largest
    passages: dict[int, Passage]
    count: int


def check(site: Site) -> None:
    """Refuses a site whose units have no number per token.

    Raises:
        ArgumentError: it has no units, or looks from token to token.
    """
    if site.name not in KNOWN:
        why = "has a value for every pair of tokens" if site.kind.unit else f"has no units, only {site.kind.axes[-1]}"
        raise ArgumentError(f"{site} {why}", f"Sites with units at every token: {', '.join(KNOWN)}.")


def values(trace: Trace, site: Site) -> Float[Tensor, "row pos unit"]:
    """The numbers of all units of a site, or of the one that it names."""
    found = trace.positions_first(site.whole)
    found = found.norm(dim=-1) if found.dim() == 4 else found
    return found if site.unit is None else found[..., site.unit : site.unit + 1]


def survey(
    model: "Model", site: Site, path: str, k: int, window: int, context: int | None = None, at_once: int | None = None
) -> Survey:
    """Reads a text file once and keeps per unit its statistics and the `k` passages in which it is largest.

    Memory does not grow with the file, but with units, `k`, `window` and the longest paragraph.

    Args:
        context: see `passages.passages`.
        at_once: see `passages.batches`; no result depends on it, but for the rounding of the forward passes, by
            which passages that are alike may differ in different batches.

    Raises:
        ArgumentError, TokenError: see `passages.passages`.
        UnavailableError: a value is NaN.
    """
    found: Survey | None = None
    label, done, end = f"reading {Path(path).name}", 0, size(path)
    report(label, 0, end)
    for batch in batches(passages(model, path, context), at_once):
        tokens = model.tokens([list(passage.ids) for passage in batch])
        here, mask = values(model.trace(tokens, sites=[site.whole], logits=False), site), counted(batch, tokens)
        sample = here[mask]
        if bool(sample.isnan().any()):
            raise UnavailableError(f"{site} is NaN in this text", "Load with dtype='float32'.")
        if found is None:
            form = (sample.shape[1], sample.device)
            found = Survey(Moments(*form), Quantiles(*form), Largest(k, window), {}, 0)
        found.moments.update(sample)
        found.quantiles.update(sample)
        found.largest.update(here, mask, [passage.index for passage in batch])
        known = found.passages | {passage.index: passage for passage in batch}
        wanted = set(found.largest.passage.unique().tolist())
        found.passages = {index: passage for index, passage in known.items() if index in wanted}
        found.count += len(batch)
        done = max([done, *(passage.end for passage in batch)])
        report(label, done, end)
    assert found is not None, "passages() refuses a file without text"
    return found
