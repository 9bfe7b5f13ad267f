"""What of an edited copy of a run has to be computed again: from which block, from which token, under which edits."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import EditError
from fluoroscope.interventions import Intervention
from fluoroscope.rows import Layout, Patch, RowEdit, Span
from fluoroscope.run import Edit, call, place
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model


Edits = Mapping[str | Site, Intervention | Sequence[Intervention]]
Change = TypeVar("Change", Edit, Patch)


@dataclass(frozen=True)
class Variant:
    """An edited copy of one prompt's run.

    Args:
        edits: as `Model.trace` takes them, positions included.
        prompt: row of the base run.
        patches: values at slots of that row, which are in place before any of `edits`; much faster than `replace`.
    """

    edits: Edits = field(default_factory=dict[str | Site, Intervention | Sequence[Intervention]])
    prompt: int = 0
    patches: Sequence[Patch] = ()


@dataclass(frozen=True)
class Plan:
    """A variant, placed.

    Args:
        index: of the variant.
        span: what is computed again; None where no edit changes anything that is read.
        edits: those that take effect, with their slots, in the order of computation.
        again: the base run's own edits that have to be made again, before the others.
    """

    index: int
    prompt: int
    span: Span | None
    edits: tuple[tuple[Edit | Patch, tuple[int, ...]], ...] = ()
    again: tuple[tuple[Edit, tuple[int, ...]], ...] = ()

    @property
    def layer(self) -> int:
        """The first block that runs."""
        return 0 if self.span is None else self.span.layer


@dataclass(frozen=True)
class Planner:
    """Places variants on the base run that they are copies of.

    Args:
        tokens: of the base run.
        held: its values; an edit that leaves the value as it is, where it is held, is as good as none.
        last: per prompt the last slot that is read.
        base: edits of each prompt that the base run itself made; empty for none.
    """

    model: "Model"
    tokens: Tokens
    held: Mapping[Site, Tensor]
    last: Sequence[int]
    base: Sequence[Edits] = ()

    def plan(self, index: int, variant: Variant, *, ahead: bool = True) -> Plan:
        """Up to the last slot that is read, or without `ahead` that is edited.

        Raises what `Model.trace` does for edits that cannot be, and EditError for what is behind the last block.
        """
        row, length = variant.prompt, self.tokens.ids.shape[1]
        placed: list[Edit | Patch] = [self._before_the_block(patch) for patch in variant.patches]
        placed += self._placed(variant.edits, row)
        placed.sort(key=lambda edit: edit.site.whole)
        effective = list(self._effective(placed, row, self.last[row] if ahead else length))
        if not effective:
            return Plan(index, row, None)
        layer = min(edit.site.layer or 0 for edit, _ in effective)
        again = tuple(self._again(row, layer))
        slots = [slot for _, own in (*again, *effective) for slot in own]
        names = {edit.site.name for edit, _ in (*again, *effective)}
        forward = not names.isdisjoint(("scores", "pattern"))  # they may look at what follows
        last = length - 1 if forward else max(self.last[row] if ahead else 0, *slots)
        return Plan(index, row, Span(row, layer, min(slots), last), tuple(effective), again)

    def _placed(self, edits: Edits, row: int) -> list[Edit]:
        if not edits:
            return []
        tokens = self.tokens
        alone = replace(tokens, ids=tokens.ids[row : row + 1], mask=tokens.mask[row : row + 1], chats=None)
        return [self._before_the_block(edit) for edit in place(self.model.placed(edits), alone)]

    def _again(self, row: int, layer: int) -> Iterator[tuple[Edit, tuple[int, ...]]]:
        """The base run's own edits behind the entry of a block, which a copy that enters there has to make as well."""
        for edit in self._placed(self.base[row], row) if self.base else []:
            entered = edit.site.layer is None or edit.site.layer < layer
            if not entered and edit.site.whole != Site("resid_pre", layer):
                yield edit, self._slots(edit, row)

    def _slots(self, edit: Edit | Patch, row: int) -> tuple[int, ...]:
        if edit.slots is None:
            first = int(self.tokens.first[row])
            return tuple(range(first, first + int(self.tokens.lengths[row])))
        return edit.slots if isinstance(edit, Patch) else edit.slots[0]

    def _before_the_block(self, edit: Change) -> Change:
        """What leaves a block enters the next one; behind the last it is the entry of a block that is not there."""
        if edit.site.name in ("final_norm", "logits"):
            raise EditError(f"{edit.site} is no place for a sweep", "Edit resid_post of the last block.")
        if edit.site.name != "resid_post":
            return edit
        return replace(edit, site=Site("resid_pre", (edit.site.layer or 0) + 1))

    def _effective(
        self, edits: Sequence[Edit | Patch], row: int, last: int
    ) -> Iterator[tuple[Edit | Patch, tuple[int, ...]]]:
        """The edits from the first one on that changes a value of the base run, and the slots at which they act."""
        base = True
        for edit in edits:
            slots = self._slots(edit, row)
            if not slots or min(slots) > last:
                continue
            held = self.held.get(self._same(edit.site.whole)) if base else None
            if held is None:
                found = edit, slots
            elif isinstance(edit, Patch):
                found = _differing(edit, held[row])
            else:
                found = _changed(edit, slots, held[row : row + 1])
            if found is not None:
                base = False
                yield found

    def _same(self, site: Site) -> Site:
        last = site.name == "resid_pre" and site.layer == self.model.n_layers
        return Site("resid_post", self.model.n_layers - 1) if last else site


def held(trace: Trace, site: Site, row: int, slots: Sequence[int]) -> Float[Tensor, "slot ..."]:
    """What a site, whole or a unit, holds at slots of one row: a patch's value."""
    value = trace.values[site.whole][row].movedim(site.kind.position_axis - 1, 0)[list(slots)]
    return value if site.unit is None else value[:, site.unit]


def _differing(patch: Patch, held: Tensor) -> tuple[Patch, tuple[int, ...]] | None:
    """The patch from the first slot on at which it is another value than the one that is held; None if at none."""
    by_slot = held.movedim(patch.site.kind.position_axis - 1, 0)
    slots = list(patch.slots)
    own = by_slot[slots] if patch.site.unit is None else by_slot[slots, patch.site.unit]
    if torch.equal(own, patch.value):
        return None
    if len(patch.slots) == 1:
        return patch, patch.slots
    differs = (own != patch.value).reshape(len(slots), -1).any(1).tolist()  # a neuron's value is one number
    first = min(slot for slot, other in zip(patch.slots, differs, strict=True) if other)
    return _from(patch, first)


def _changed(edit: Edit, slots: tuple[int, ...], held: Tensor) -> tuple[Edit, tuple[int, ...]] | None:
    """The edit from the first slot on at which it changes the value that is held; None if at none.

    The slots before keep that value, so the function is still shown it there.
    """
    axis, unit = edit.site.kind.position_axis, edit.site.kind.unit_axis
    differs = (edit.on(slots).apply(held, 0) != held).movedim(axis, 0).flatten(1).any(1).nonzero()[:, 0]
    if not len(differs):
        return None
    first = int(differs[0])
    kept = [place for place, slot in enumerate(slots) if slot >= first]
    if len(kept) == len(slots):
        return edit, slots
    before = held.index_select(axis, torch.tensor(slots, device=held.device))
    if edit.site.unit is not None and unit is not None:
        before, axis = before.select(unit, edit.site.unit), axis - (unit < axis)
    places = torch.tensor(kept, device=held.device)

    def function(value: Tensor) -> Tensor:
        whole = before.to(value.dtype).index_copy(axis, places, value)
        return call(edit.function, edit.site, whole).index_select(axis, places)

    return replace(edit, function=function), tuple(slots[place] for place in kept)


def ended(plan: Plan, layer: int, read: Sequence[int]) -> Plan:
    """The plan from the last block on, behind whose keys nothing is wanted of tokens before the first that is read.

    A function is shown all of its tokens, so where there is one the plan stays as it is.

    Args:
        layer: of the last block.
        read: slots whose end is wanted.
    """
    span = plan.span
    late = [(edit, slots) for edit, slots in (*plan.again, *plan.edits) if (edit.site.layer or 0) >= layer]
    if span is None or any(isinstance(edit, Edit) for edit, _ in late):
        return plan
    first = min(slot for slot in read if slot >= span.first)
    cut = [
        (edit, slots) for edit, slots in (_from(edit, first) for edit, _ in late if isinstance(edit, Patch)) if slots
    ]
    return Plan(plan.index, plan.prompt, replace(span, first=first), tuple(cut))


def _from(patch: Patch, first: int) -> tuple[Patch, tuple[int, ...]]:
    kept = [place for place, slot in enumerate(patch.slots) if slot >= first]
    slots = tuple(patch.slots[place] for place in kept)
    return replace(patch, slots=slots, value=patch.value[kept]), slots


def row_edits(portion: Sequence[Plan], layout: Layout, layers: Collection[int | None]) -> list[RowEdit]:
    """The edits of all variants on the rows of their tokens, one for each site of `layers`."""
    found: dict[Site, RowEdit] = {}

    def of(site: Site) -> RowEdit:
        return found.setdefault(site.whole, RowEdit(site.whole))

    for plan, row in zip(portion, layout.starts, strict=True):
        start = row - (plan.span.first if plan.span else 0)
        for edit, slots in plan.again:
            if edit.site.layer in layers:
                of(edit.site).base.append(([start + slot for slot in slots], edit))
        for edit, slots in plan.edits:
            if edit.site.layer not in layers:
                continue
            rows = [start + slot for slot in slots]
            if isinstance(edit, Patch):
                of(edit.site).patches.append((rows, edit))
            else:
                of(edit.site).parts.append((rows, edit))
    return list(found.values())
