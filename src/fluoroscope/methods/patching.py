"""Activation patching: a run in which some values are those of another run.

Every variant is a row of a batch that goes through the whole model, and is what one forward pass with only these edits
would give: slow and exact (Vig et al. 2020, "Investigating Gender Bias in Language Models Using Causal Mediation
Analysis"; Meng et al. 2022, "Locating and Editing Factual Associations in GPT").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, EditError
from fluoroscope.interventions import Intervention
from fluoroscope.methods import readout
from fluoroscope.progress import track
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Metric = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch"]]

_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Patch:
    """What a site becomes at one position of a prompt.

    Args:
        site: whole, or one unit of it.
        slot: the position.
        value: the site's value there, without the axes of batch and position.
    """

    site: Site
    slot: int
    value: Tensor


def patched(
    model: "Model", ids: Sequence[int], variants: Sequence[Sequence[Patch]], slot: int, keep: Sequence[Site] = ()
) -> tuple[Float[Tensor, "variant d_vocab"], dict[Site, Float[Tensor, "variant ..."]]]:
    """Logits at one position of a prompt for each variant, and the values of whole sites in it.

    Args:
        ids: the prompt, the same for all variants.
        variants: each a set of patches; an empty one is the model as it is.
        slot: the position that is read.
        keep: whole sites whose values are returned, edits of their own included.

    Raises:
        EditError: a value of another shape, or a site that cannot be written.
    """
    rows = max(1, _TOKENS_AT_ONCE // len(ids))
    logits: list[Tensor] = []
    values: dict[Site, list[Tensor]] = {site: [] for site in keep}
    chunks = [variants[start : start + rows] for start in range(0, len(variants), rows)]
    for chunk in track(chunks, "patching"):
        trace = model.trace([list(ids)] * len(chunk), sites=keep, edits=_edits(chunk))
        logits.append(trace.logits[:, slot].clone())
        for site, found in values.items():
            found.append(trace[site])
    empty = torch.empty(0, model.d_vocab, device=model.device)
    return torch.cat(logits) if logits else empty, {site: torch.cat(found) for site, found in values.items() if found}


def shares(
    logits: Float[Tensor, "row d_vocab"],
    base: Float[Tensor, "d_vocab"],
    donor: Float[Tensor, "d_vocab"],
    metric: Metric | None = None,
) -> Float[Tensor, "row"]:
    """How much of the way from `base` to `donor` rows of logits have gone: 0 none, 1 all of it.

    By a metric, whose score moves from the one's to the other's; without one by 1 - KL(donor ‖ row) / KL(donor ‖ base),
    which is below 0 for what is further from the donor than the base is.

    Raises:
        ArgumentError: both are the same in what is measured.
    """
    if metric is not None:
        start, end = (float(metric(each[None])[0]) for each in (base, donor))
        if start == end:
            raise ArgumentError(f"both prompts score {start:g}, so there is no way to go", "Give another metric.")
        return (metric(logits).double() - start) / (end - start)
    aim = readout.log_probs(donor.double())
    distance = float(readout.kl(aim, readout.log_probs(base.double())))
    if distance == 0:
        raise ArgumentError("both prompts end in the same prediction", "Give prompts that are answered differently.")
    return 1 - readout.kl(aim, readout.log_probs(logits.double())) / distance


def _edits(variants: Sequence[Sequence[Patch]]) -> dict[str | Site, list[Intervention]]:
    """One edit per site: all rows and positions of a site are written at once."""
    groups: dict[tuple[Site, bool], list[tuple[int, Patch]]] = {}
    for row, patches in enumerate(variants):
        for patch in patches:
            groups.setdefault((patch.site.whole, patch.site.unit is None), []).append((row, patch))
    edits: dict[str | Site, list[Intervention]] = {}
    for (site, _), placed in groups.items():
        edits.setdefault(site, []).append(_write(site, placed))
    return edits


def _write(site: Site, placed: Sequence[tuple[int, Patch]]) -> Intervention:
    axis = site.kind.position_axis
    units = [patch.site.unit for _, patch in placed]
    columns = [[row for row, _ in placed], [patch.slot for _, patch in placed]]
    columns += [] if units[0] is None else [[unit or 0 for unit in units]]

    def patch(value: Tensor) -> Tensor:
        by_position = value.movedim(axis, 1)  # a unit's axis, where there is one, comes next on every kind of site
        index = tuple(torch.tensor(column, device=value.device) for column in columns)
        new = [each.value.to(value) for _, each in placed]
        expected = by_position[index].shape[1:]
        wrong = next((each for each in new if each.shape != expected), None)
        if wrong is not None:
            raise EditError(f"a patch of {site} has the shape {tuple(wrong.shape)}", f"There it is {tuple(expected)}.")
        by_position[index] = torch.stack(new)
        return value

    return patch
