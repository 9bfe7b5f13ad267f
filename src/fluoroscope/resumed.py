"""Copies of a base run on their way through Hugging Face's blocks, each from where it begins to differ.

They join the batch at their layer, so that each weight is read once for all of them, and leave it at the last block,
which only the tokens that are read go through.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fluoroscope.rows import Layout, Patch, attend, gathered, keep
from fluoroscope.run import Call, Run, Seen, running
from fluoroscope.sites import Site
from fluoroscope.trace import Trace
from fluoroscope.variants import Plan, ended, row_edits

if TYPE_CHECKING:
    from fluoroscope.model import Model


@dataclass(frozen=True, eq=False)
class Resumed:
    """A base run whose copies can be computed from any block on.

    Args:
        trace: the base run, with the stream that enters each block, keys, values and the last residual.
        read: the slots that are read.
        calls: the arguments of each block but the stream.
    """

    model: "Model"
    trace: Trace
    read: Int64[Tensor, "prompt position"]
    calls: Mapping[int, Call]

    @cached_property
    def _places(self) -> set[int | None]:
        """Layers at which rows are edited; embeddings are added outside of rows."""
        return {*range(self.model.n_layers), *([] if self.model.architecture.pos_embed else [None])}

    def ends(self, portion: Sequence[Plan]) -> Float[Tensor, "variant position d_model"]:
        """The last residual of variants, which are in the order of their layers."""
        layers = self.model.n_layers
        read = self.read.tolist()
        ends = [ended(plan, layers - 1, read[plan.prompt]) for plan in portion]
        run = Run(self.model, edits=row_edits(portion, self._layout(portion), self._places))
        with running(run):
            hidden, joined = self._swept_through(portion, run, ends)
        run.check_complete()
        hidden = torch.cat([hidden, *(self._entry(plan, layers) for plan in ends[joined:])])
        for edit in row_edits(ends, self._layout(ends), {layers}):
            hidden = edit.apply(hidden[:, None], 0)[:, 0]
        return self.read_of(ends, hidden)

    def _swept_through(
        self, portion: Sequence[Plan], run: Run, ends: Sequence[Plan] = ()
    ) -> tuple[Float[Tensor, "row d_model"], int]:
        """All blocks, which variants enter one after the other; and how many variants entered any.

        Args:
            ends: the variants as they leave the last block, if not as they enter it.
        """
        hidden = self.trace["resid_pre.0"].new_empty(0, self.model.d_model)
        layout, joined = self._layout([]), 0
        for layer in range(portion[0].layer, self.model.n_layers):
            count = sum(plan.layer <= layer for plan in portion)
            if count > joined:
                hidden = torch.cat([hidden, *(self._entry(plan, layer) for plan in portion[joined:count])])
                joined, layout = count, self._layout(portion[:count])
                run.shape, run.attend = (len(layout), 1), partial(attend, run, layout, self.trace.values)
            if ends and layer == self.model.n_layers - 1:
                return self._left(hidden, layout, ends[:count], run), joined
            hidden = self._block(layer, hidden, layout)
        return hidden, joined

    def _left(
        self, hidden: Float[Tensor, "row d_model"], entered: Layout, ends: Sequence[Plan], run: Run
    ) -> Float[Tensor, "row d_model"]:
        """The last block: all rows give it their keys and values, those that are wanted go through it."""
        layer = self.model.n_layers - 1
        layout = Layout([plan.span for plan in ends if plan.span is not None], entered.device, entered)
        if len(layout) == len(entered):
            return self._block(layer, hidden, entered)
        own: list[Tensor] = []
        run.attend = partial(keep, run, own)
        with suppress(Seen):
            self._block(layer, hidden, entered)
        run.inside.close()
        last = Run(self.model, edits=row_edits(ends, layout, {layer}), shape=(len(layout), 1))
        last.layers.add(layer)  # what occurs there counts for the edits of `run` as well
        last.attend = partial(attend, last, layout, self.trace.values, own=own)
        with running(last):
            hidden = self._block(layer, hidden[layout.within], layout)
        run.fired |= last.fired
        return hidden

    def captured(self, portion: Sequence[Plan], sites: Sequence[Site]) -> dict[Site, Float[Tensor, "variant slot ..."]]:
        """Values of whole sites at every slot: the base run's, and those that were computed again."""
        prompts = [plan.prompt for plan in portion]
        found = {site: self.trace[site][prompts].movedim(site.kind.position_axis, 1).clone() for site in sites}
        changed = [plan for plan in portion if plan.span is not None]
        if not changed:
            return found
        run = Run(self.model, frozenset(sites), row_edits(changed, self._layout(changed), self._places), brief=True)
        with running(run), suppress(Seen):
            self._swept_through(changed, run)
        for site, value in run.values.items():
            layout = self._layout([plan for plan in changed if plan.layer <= (site.layer or 0)])
            found[site][layout.variant, layout.slot] = value.squeeze(site.kind.position_axis)
        return found

    def _layout(self, portion: Sequence[Plan]) -> Layout:
        return Layout([plan.span for plan in portion if plan.span is not None], self.model.device)

    def _entry(self, plan: Plan, layer: int) -> Float[Tensor, "token d_model"]:
        """What enters a block: the base run's stream, or embeddings of which some are edited."""
        model, span = self.model, plan.span
        assert span is not None
        tokens = span.prompt, slice(span.first, span.last + 1)
        site = Site("resid_pre", layer) if layer < model.n_layers else Site("resid_post", layer - 1)
        stream = self.trace.values[site][tokens]
        embedded = [(edit, slots) for edit, slots in plan.edits if edit.site.layer is None]
        if not embedded or model.architecture.pos_embed is None:
            return stream
        parts = {name: self.trace[name][tokens][None] for name in ("embed", "pos_embed")}
        for edit, slots in embedded:
            name = edit.site.name
            if isinstance(edit, Patch):
                parts[name] = parts[name].index_copy(1, torch.tensor(slots) - span.first, edit.value[None].to(stream))
            else:
                parts[name] = edit.on(slots).apply(parts[name], span.first)
        return (parts["embed"] + parts["pos_embed"])[0]

    def _block(self, layer: int, hidden: Float[Tensor, "row d_model"], layout: Layout) -> Float[Tensor, "row d_model"]:
        """One of Hugging Face's blocks on rows."""
        ids = self.trace.tokens.ids
        args, named = gathered(self.calls[layer], (layout.prompt, layout.slot), (ids.shape[0], ids.shape[1]))
        output = self.model.blocks[layer](hidden[:, None], *args, **named)
        return (output if isinstance(output, Tensor) else output[0])[:, 0].to(hidden.dtype)

    def read_of(self, portion: Sequence[Plan], hidden: Float[Tensor, "row d_model"]) -> Tensor:
        """The rows that are read; a token before a variant's first one is the base run's."""
        prompts = torch.tensor([plan.prompt for plan in portion], device=hidden.device)
        layout, read = self._layout(portion), self.read[prompts]
        offset = read - torch.tensor([span.first for span in layout.spans], device=hidden.device)[:, None]
        rows = torch.tensor(layout.starts, device=hidden.device)[:, None] + offset.clamp_min(0)
        base = self.trace[f"resid_post.{self.model.n_layers - 1}"][prompts[:, None], read]
        return torch.where((offset >= 0)[..., None], hidden[rows], base)
