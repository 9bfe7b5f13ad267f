"""Many edited copies of one run at the price of what differs from it.

A copy that is first edited at layer L and slot p is computed again from there on only, on the base run's residual
stream, keys and values. Copies join the batch at their layer, so that a sweep reads each weight once, and the logits
are those of the positions and tokens that are asked for. Everything runs through Hugging Face's own blocks; a model
whose blocks cannot be resumed so (tried once per model, on padded prompts) runs whole, and `why_whole` says why.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fluoroscope import offer, portions, together, whole
from fluoroscope.errors import ArgumentError, Cancelled, TokenError
from fluoroscope.interventions import at
from fluoroscope.products import widest
from fluoroscope.progress import track
from fluoroscope.resumed import Resumed
from fluoroscope.rows import Patch, Span
from fluoroscope.run import Call, Run, Seen, active, flat, place, running
from fluoroscope.signature import Precision
from fluoroscope.sites import Site
from fluoroscope.together import Loan, Together
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace
from fluoroscope.variants import Edits, Plan, Planner, Variant, held
from fluoroscope.verify import tolerance

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt

Told = TypeVar("Told", bool, str | None)
_WHY_WHOLE: "WeakKeyDictionary[Model, str | None]" = WeakKeyDictionary()
_JOINS: "WeakKeyDictionary[Model, bool]" = WeakKeyDictionary()
_TRYING = threading.RLock()
"""Held during a trial: to other threads nothing is known of the model before it has ended."""


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
        loans: copies to be made in the same pass, if that is quicker; their values must be among `sites`.

    Attributes:
        trace: the base run.
        lent: the last residual of each of `loans` at the slots that are read; None where they were not made.
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
        loans: Sequence[Loan] = (),
    ) -> None:
        if budget < 1:
            raise ArgumentError(f"a budget of {budget / portions.MEBIBYTE:.3g} MB holds nothing", "Give 1 MB or more.")
        self.model, self.budget, self.precision = model, budget, precision
        self.why_whole = why_whole(model)
        if edits and len(edits) != len(model.tokens(prompt)):
            raise ArgumentError(f"{len(edits)} sets of edits for {len(model.tokens(prompt))} prompts", "Give one each.")
        self._edits, self._loans = edits, loans
        self._calls: dict[int, Call] = {}
        tokens = model.tokens(prompt)
        self.read = _slots(tokens, positions)
        last = self.read.max(1).values.tolist()
        shared = self._together(tokens, loans, last)
        self.trace, run = self._base(tokens, sites, shared)
        self.copies = Resumed(model, self.trace, self.read, self._calls)
        self.lent = None if shared is None else self._lent(shared, run)
        self.planner = Planner(model, self.trace.tokens, self.trace.values, last, edits)

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
        plans = [self.planner.plan(index, variant) for index, variant in enumerate(variants)]
        changed = sorted((plan for plan in plans if plan.span is not None), key=lambda plan: plan.layer)
        portioned = self._portions(changed, tokens)
        same = [plan for plan in plans if plan.span is None]
        if same:
            yield [plan.index for plan in same], self.base_logits(tokens)[[plan.prompt for plan in same]]
        for portion in track(portioned, "sweep"):
            yield [plan.index for plan in portion], self._portion(portion, variants, tokens)

    @torch.no_grad()
    def values(
        self, variants: Sequence[Variant], sites: Sequence[Site]
    ) -> Iterator[tuple[list[int], dict[Site, Float[Tensor, "variant slot ..."]]]]:
        """Values of whole sites in the variants, in portions, with the variants' indices; no logits are made.

        Where blocks are resumed, tokens behind a variant's last edited one are not: there they are the base run's.

        Raises as `logits` does.
        """
        plans = [self.planner.plan(index, variant, ahead=False) for index, variant in enumerate(variants)]
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

    def variant(self, loan: Loan) -> Variant:
        """The same copy, made from values that are held."""
        patches = [Patch(site, loan.slots, held(self.trace, site, loan.lender, loan.slots)) for site in loan.sites]
        return Variant(prompt=loan.prompt, patches=patches if loan.slots else ())

    @torch.no_grad()
    def lent_logits(
        self, tokens: Int64[Tensor, "prompt token"] | None = None
    ) -> Float[Tensor, "loan position token"] | None:
        """Those of the loans, in their order; None where they were not made in the pass of the base run."""
        if self.lent is None:
            return None
        return self._logits(self.lent, None if tokens is None else tokens[[loan.prompt for loan in self._loans]])

    @torch.no_grad()
    def base_logits(
        self, tokens: Int64[Tensor, "prompt token"] | None = None
    ) -> Float[Tensor, "prompt position token"]:
        """The base run's own, read out as the variants' are."""
        end = Site("logits") if self.why_whole else Site("resid_post", self.model.n_layers - 1)
        rows = torch.arange(len(self.read), device=self.read.device)[:, None]
        return self._logits(self.trace[end][rows, self.read], tokens)

    # ── the base run ─────────────────────────────────────────────────────────────────────────────────

    def _base(self, tokens: Tokens, sites: Sequence[str | Site], shared: Together | None) -> tuple[Trace, Run]:
        model = self.model
        edits = self._placed()
        if self.why_whole:
            return model.trace(tokens, sites, edits), Run(model)
        needed = ["resid_pre.*", "k.*", "v.*", f"resid_post.{model.n_layers - 1}"]
        needed += ["embed", "pos_embed"] if model.architecture.pos_embed is not None else []
        wanted = frozenset(site.whole for site in offer.expand(model, [*needed, *sites]))
        portions.check_room(model.dims, wanted, tokens.ids.shape, model.device)
        if shared is None:
            run = Run(model, wanted, place(model.placed(edits), tokens), brief=True, calls=self._calls)
        else:
            run = shared.run(wanted, self._calls)
        with torch.no_grad(), widest(model.device, model.d_model), running(run), suppress(Seen):
            model.hf(**model.inputs(tokens))
        run.check_complete()
        values = run.values if shared is None else shared.kept(run)
        return Trace(tokens, values, model.recipe(tokens, edits=run if shared is None else None), model.site), run

    def _together(self, tokens: Tokens, loans: Sequence[Loan], last: Sequence[int]) -> Together | None:
        """The loans on the way through the base run's own pass, where that is quicker and can be."""
        model = self.model
        if self.why_whole or self._edits or self.precision != "float32" or not together.quicker(model, tokens, loans):
            return None
        found = Together(model, tokens, loans, last)
        needed = len(found) * portions.row_bytes(model.dims, tokens.ids.shape[1])
        return found if len(found) <= together.MOST and needed <= self.budget and _joins(model) else None

    def _lent(self, shared: Together, run: Run) -> Float[Tensor, "loan position d_model"]:
        prompts = torch.tensor([loan.prompt for loan in shared.loans], device=self.read.device)
        found = self.trace[f"resid_post.{self.model.n_layers - 1}"][prompts[:, None], self.read[prompts]]
        pairs = zip(shared.order, shared.spans, strict=True)
        ends = self.copies.read_of([Plan(index, span.prompt, span) for index, span in pairs], shared.ends(run))
        changed = shared.changed()
        found[changed] = ends[[shared.order.index(index) for index in changed]]
        return found

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
    return _once(_WHY_WHOLE, model, None, _tried)


def _once(
    known: "WeakKeyDictionary[Model, Told]", model: "Model", meanwhile: Told, tried: "Callable[[Model], Told]"
) -> Told:
    """What a trial tells of a model, made once; one that is called off tells nothing."""
    with _TRYING:
        if model not in known:
            known[model] = meanwhile  # what is tried is a replay itself
            try:
                known[model] = tried(model)
            except Cancelled:
                del known[model]
                raise
        return known[model]


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
    except Cancelled:
        raise
    except Exception as error:  # the blocks are other people's code, which may fail in any way
        return f"its blocks cannot be called one by one: {error}"
    prompts = [span.prompt for span in spans]
    expected = replay.trace[f"resid_post.{model.n_layers - 1}"][prompts, [last[prompt] for prompt in prompts]]
    error = float((ends[:, 0] - expected).abs().max() / expected.abs().max())
    return None if error <= tolerance(model.dtype) else f"its blocks, resumed, miss its own run by {error:.1e}"


def _joins(model: "Model") -> bool:
    """Whether copies can be made in the pass of their base run, which is tried once, on padded prompts."""
    return _once(_JOINS, model, True, _joined)


@torch.no_grad()
def _joined(model: "Model") -> bool:
    """Loans of every kind against the same patches on a run that is there."""
    lengths = [(length, step) for length in (6, 4) for step in (3, 7)]
    rows = [[(step * index + 1) % model.n_input for index in range(length)] for length, step in lengths]
    offered = [found for name in together.LENT if (found := model.sites(name))]
    sites = [found[index] for found in offered for index in (0, -1)]
    try:
        tokens = model.tokens(rows)
        places = [(row, tuple(tokens.slots(row, where))) for row, where in ((0, [-1]), (3, [1, 2]))]
        loans = [Loan(row, row ^ 1, (site,), slots) for site in sites for row, slots in places]
        one, two = Replay(model, rows, sites, loans=loans).lent, Replay(model, rows, sites)
        plans = [two.planner.plan(index, two.variant(loan)) for index, loan in enumerate(loans)]
        plans.sort(key=lambda plan: plan.layer)
        expected = two.copies.ends(plans)
        assert one is not None
        error = float((one[[plan.index for plan in plans]] - expected).abs().max() / expected.abs().max())
    except Cancelled:
        raise
    except Exception:  # the pass is other people's code, which may fail in any way
        return False
    return error <= tolerance(model.dtype)


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
