"""Many edited copies of one run at the price of what differs from it.

A copy that is first edited at layer L and slot p is computed again from there on only, on the base run's residual
stream, keys and values. Copies join the batch at their layer, so that a sweep reads each weight once, and the logits
are those of the positions and tokens that are asked for. Everything runs through Hugging Face's own blocks; a model
whose blocks cannot be resumed so (tried once per model, on padded prompts) runs whole, and `why_whole` says why.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fluoroscope import offer, portions, whole
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.interventions import at
from fluoroscope.products import widest
from fluoroscope.progress import track
from fluoroscope.resumed import Resumed
from fluoroscope.rows import Span
from fluoroscope.run import Run, Seen, active, flat, place, running
from fluoroscope.signature import Precision
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace
from fluoroscope.variants import Edits, Plan, Planner, Variant
from fluoroscope.verify import tolerance

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt

_WHY_WHOLE: "WeakKeyDictionary[Model, str | None]" = WeakKeyDictionary()


class Replay:
    """A base run, ready to be copied with edits.

    Args:
        model: whose run it is.
        prompt: one prompt or several, as `Model.trace` takes them.
        sites: what else the base run keeps: what is to be patched in, and what is to be edited, so that edits which
            change nothing are known to (they then have exactly no effect).
        edits: of each prompt, made to the base run itself and so to all of its copies; none for none.
        positions: of the tokens whose logits are read, in each prompt; negative counts from its end.
        budget: bytes that a sweep may hold beside the base run.
        precision: of the copies; "bfloat16" is faster on most processors, and moves logits by about 1e-2.

    Attributes:
        trace: the base run.
        read: Int64[Tensor, "prompt position"], the slots of `positions`.
        why_whole: why copies run whole, where this model's blocks cannot be resumed; None where they are.
    """

    def __init__(
        self,
        model: "Model",
        prompt: "Prompt",
        sites: Sequence[str | Site] = (),
        *,
        edits: Sequence[Edits] = (),
        positions: Sequence[int] = (-1,),
        budget: int = 1 << 30,
        precision: Precision = "float32",
    ) -> None:
        self.model, self.budget, self.precision = model, budget, precision
        self.why_whole = why_whole(model)
        if edits and len(edits) != len(model.tokens(prompt)):
            raise ArgumentError(f"{len(edits)} sets of edits for {len(model.tokens(prompt))} prompts", "Give one each.")
        self._edits = edits
        self._calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.trace = self._base(model.tokens(prompt), sites)
        self.read = _slots(self.trace.tokens, positions)
        self.copies = Resumed(model, self.trace, self.read, self._calls)
        last = self.read.max(1).values.tolist()
        self._planner = Planner(model, self.trace.tokens, self.trace.values, last, edits)

    def logits(
        self, variants: Sequence[Variant], tokens: Int64[Tensor, "prompt token"] | None = None
    ) -> Iterator[tuple[list[int], Float[Tensor, "variant position token"]]]:
        """Logits of the variants at the positions that are read, in portions, with the variants' indices.

        Args:
            tokens: the only ones whose logits are wanted, per prompt; None for the vocabulary.

        Raises:
            ArgumentError: one variant alone is beyond the budget; before anything runs.
            SiteError, UnavailableError, EditError, TokenError: as `Model.trace` does.
            Cancelled: between blocks.
        """
        plans = [self._planner.plan(index, variant) for index, variant in enumerate(variants)]
        changed = sorted((plan for plan in plans if plan.span is not None), key=lambda plan: plan.layer)
        together = self._portions(changed, tokens)
        same = [plan for plan in plans if plan.span is None]
        if same:
            yield [plan.index for plan in same], self.base_logits(tokens)[[plan.prompt for plan in same]]
        for portion in track(together, "sweep"):
            yield [plan.index for plan in portion], self._portion(portion, variants, tokens)

    @torch.no_grad()
    def values(
        self, variants: Sequence[Variant], sites: Sequence[Site]
    ) -> Iterator[tuple[list[int], dict[Site, Float[Tensor, "variant slot ..."]]]]:
        """Values of whole sites in the variants, in portions, with the variants' indices; no logits are made.

        Where blocks are resumed, tokens behind a variant's last edited one are not: there they are the base run's.

        Raises as `logits` does.
        """
        plans = [self._planner.plan(index, variant, ahead=False) for index, variant in enumerate(variants)]
        same = [plan for plan in plans if plan.span is None]
        changed = sorted((plan for plan in plans if plan.span is not None), key=lambda plan: plan.layer)
        for portion in [*([same] if same else []), *track(self._portions(changed, self.read), "sweep")]:
            indices = [plan.index for plan in portion]
            with widest(self.model.device, self.model.d_model):
                found = self._captured(portion, variants, sites)
            yield indices, found

    def _captured(
        self, portion: Sequence[Plan], variants: Sequence[Variant], sites: Sequence[Site]
    ) -> dict[Site, Float[Tensor, "variant slot ..."]]:
        if self.why_whole is None:
            return self.copies.captured(portion, sites)
        chosen = [variants[plan.index] for plan in portion]
        found = whole.trace(self.model, self.trace.tokens, chosen, sites, self._edits)
        return {site: found[site].movedim(site.kind.position_axis, 1) for site in sites}

    @torch.no_grad()
    def _portion(self, portion: Sequence[Plan], variants: Sequence[Variant], tokens: Tensor | None) -> Tensor:
        with self._computing():
            found = self._whole(portion, variants) if self.why_whole else self.copies.ends(portion)
        return self._logits(found, None if tokens is None else tokens[[plan.prompt for plan in portion]])

    @torch.no_grad()
    def base_logits(
        self, tokens: Int64[Tensor, "prompt token"] | None = None
    ) -> Float[Tensor, "prompt position token"]:
        """The base run's own, read out as the variants' are."""
        end = Site("logits") if self.why_whole else Site("resid_post", self.model.n_layers - 1)
        rows = torch.arange(len(self.read), device=self.read.device)[:, None]
        return self._logits(self.trace[end][rows, self.read], tokens)

    # ── the base run ─────────────────────────────────────────────────────────────────────────────────

    def _base(self, tokens: Tokens, sites: Sequence[str | Site]) -> Trace:
        model = self.model
        edits = self._placed()
        if self.why_whole:
            return model.trace(tokens, sites, edits)
        needed = ["resid_pre.*", "k.*", "v.*", f"resid_post.{model.n_layers - 1}"]
        needed += ["embed", "pos_embed"] if model.architecture.pos_embed is not None else []
        wanted = frozenset(site.whole for site in offer.expand(model, [*needed, *sites]))
        portions.check_room(model.dims, wanted, tokens.ids.shape, model.device)
        run = Run(model, wanted, place(model.placed(edits), tokens), brief=True, calls=self._calls)
        with torch.no_grad(), widest(model.device, model.d_model), running(run), suppress(Seen):
            model.hf(**model.inputs(tokens))
        run.check_complete()
        return Trace(tokens, run.values, model.recipe(tokens, edits=run), model.site)

    def _placed(self) -> dict[str | Site, list[Any]]:
        """The edits of the base run, each on its row."""
        found: dict[str | Site, list[Any]] = {}
        for row, edits in enumerate(self._edits):
            for site, functions in self.model.placed(edits).items():
                found.setdefault(site, []).extend(at(function, rows=row) for function in flat(functions))
        return found

    # ── portions ─────────────────────────────────────────────────────────────────────────────────────

    def _portions(self, plans: Sequence[Plan], tokens: Tensor | None) -> list[list[Plan]]:
        """Variants that run together."""
        slots, d_vocab = self.trace.tokens.ids.shape[1], self.model.d_vocab
        end = 4 * self.read.shape[1] * (d_vocab if tokens is None else tokens.shape[1])
        end += 4 * slots * d_vocab if self.why_whole else 0
        rows = [slots if self.why_whole or plan.span is None else len(plan.span) for plan in plans]
        sizes = portions.cut(rows, portions.row_bytes(self.model.dims, slots), end, self.budget)
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        return [list(plans[start : start + size]) for start, size in zip(starts, sizes, strict=True)]

    def _computing(self) -> AbstractContextManager[Any]:
        model, lower = self.model, self.precision == "bfloat16"
        device = model.device
        return torch.autocast(device.type, torch.bfloat16) if lower else widest(device, model.d_model)

    # ── copies that run whole ────────────────────────────────────────────────────────────────────────

    def _whole(self, portion: Sequence[Plan], variants: Sequence[Variant]) -> Float[Tensor, "variant position d_vocab"]:
        chosen = [variants[plan.index] for plan in portion]
        logits = whole.trace(self.model, self.trace.tokens, chosen, (), self._edits).logits
        rows = torch.arange(len(chosen), device=logits.device)[:, None]
        return logits[rows, self.read[[plan.prompt for plan in portion]]]

    def _logits(self, found: Tensor, tokens: Tensor | None) -> Float[Tensor, "variant position token"]:
        """Of the last residual, unless they are there already."""
        model = self.model
        if self.why_whole:
            return found if tokens is None else found.gather(-1, tokens[:, None].expand(-1, found.shape[1], -1))
        with widest(model.device, model.d_model):
            return model.unembed(found, tokens=None if tokens is None else tokens[:, None])


def why_whole(model: "Model") -> str | None:
    """Why copies of this model's runs must run whole; None where its blocks can be resumed, which is tried once."""
    if any(run.owner is model and run.lasting for run in active()):
        return "the edits of model.editing(…) are made to whole runs"
    if model not in _WHY_WHOLE:
        _WHY_WHOLE[model] = None  # what is tried next is a replay itself
        _WHY_WHOLE[model] = _tried(model)
    return _WHY_WHOLE[model]


def _tried(model: "Model") -> str | None:
    """Copies without edits, from several blocks and tokens on, against the run that they are copies of."""
    missing = [why for (name, _), why in model.unavailable.items() if name in ("unembed", "resid_pre", "k", "v")]
    if missing:
        return missing[0]
    length = min(12, model.n_ctx or 12)
    ids = [(7 * index + 1) % model.n_input for index in range(length)]
    try:
        replay = Replay(model, [ids, ids[: length - length // 3]])
        last = replay.read[:, 0].tolist()
        spans = [
            Span(prompt, layer, first, last[prompt])
            for layer in sorted({0, model.n_layers // 2, model.n_layers - 1})
            for prompt in (0, 1)
            for first in sorted({0, last[prompt] // 2, last[prompt]})
        ]
        with torch.no_grad():
            ends = replay.copies.ends([Plan(index, span.prompt, span) for index, span in enumerate(spans)])
    except Exception as error:  # the blocks are other people's code, which may fail in any way
        return f"its blocks cannot be called one by one: {error}"
    prompts = [span.prompt for span in spans]
    expected = replay.trace[f"resid_post.{model.n_layers - 1}"][prompts, [last[prompt] for prompt in prompts]]
    error = float((ends[:, 0] - expected).abs().max() / expected.abs().max())
    return None if error <= tolerance(model.dtype) else f"its blocks, resumed, miss its own run by {error:.1e}"


def _slots(tokens: Tokens, positions: Sequence[int]) -> Int64[Tensor, "prompt position"]:
    """The slots of token positions, the same ones in each prompt.

    Raises:
        TokenError: a prompt has no such token.
        ArgumentError: none is named.
    """
    if not positions:
        raise ArgumentError("no position is read", "positions=[-1] reads the last token of each prompt.")
    shortest = int(tokens.lengths.min())
    beyond = [position for position in positions if not -shortest <= position < shortest]
    if beyond:
        raise TokenError(f"the shortest prompt has {shortest} tokens, none at {beyond[0]}")
    ends = [(tokens.first if position >= 0 else tokens.last + 1) + position for position in positions]
    return torch.stack(ends, dim=1)
