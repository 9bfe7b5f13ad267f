"""Activation patching: which parts, given the values that they have in another prompt, move the answer there.

To denoise is to put values of the clean run into the corrupted one, and shows what is enough to bring the answer back;
to noise is the reverse, and shows what the answer cannot do without (Heimersheim & Nanda 2024, "How to use and
interpret activation patching"). Every part is patched in a run of its own, all of them as copies in one sweep.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import readout
from fluoroscope.metrics import Metric, Named
from fluoroscope.progress import telling
from fluoroscope.replay import Replay, why_whole
from fluoroscope.signature import Direction, Precision
from fluoroscope.sites import WITH_KV_HEADS, Site
from fluoroscope.together import Loan
from fluoroscope.tokens import Tokens
from fluoroscope.variants import Variant, held

if TYPE_CHECKING:
    from fluoroscope.model import Model

Found = TypeVar("Found")
Told = TypeVar("Told")


@dataclass(frozen=True)
class Part:
    """What is patched at once.

    Args:
        sites: whole, or a unit each.
        positions: the token indices at which; None for all.
    """

    sites: tuple[Site, ...]
    positions: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Effects:
    """What patching did.

    Args:
        scores: the metric with each part patched; NaN where a sweep that was cancelled had not come to it.
        clean: the metric of the clean runs; `corrupted` that of the others.
    """

    scores: Float[Tensor, "part pair"]
    clean: Float[Tensor, "pair"]
    corrupted: Float[Tensor, "pair"]
    direction: Direction

    @property
    def shares(self) -> Float[Tensor, "part pair"]:
        """How much of the way to the other prompt's score a part goes: 0 none, 1 all of it.

        Raises:
            ArgumentError: a pair whose prompts score the same.
        """
        there = metrics.recovered(self.scores, self.clean, self.corrupted)
        return there if self.direction == "denoise" else 1 - there


class Sweep:
    """Pairs of prompts whose runs are held, ready to be patched.

    Args:
        model: whose runs they are.
        pairs: of clean and corrupted prompts, each pair of equal length.
        names: the kinds of sites that are patched.
        direction: which of the two is patched, and with the other's values.
        budget: bytes that a sweep may hold beside the runs.
        precision: see `Replay`.

    Attributes:
        tokens: of all prompts, the clean ones first.

    Raises:
        ArgumentError: a pair of unequal length, or of the same tokens.
    """

    def __init__(
        self,
        model: "Model",
        pairs: Sequence[tuple[Any, Any]],
        names: Sequence[str],
        direction: Direction = "denoise",
        budget: int = 1 << 30,
        precision: Precision = "float32",
    ) -> None:
        sides = [[model.tokens(prompt) for prompt in side] for side in zip(*pairs, strict=True)]
        self.changed = tuple(_changed(*pair) for pair in zip(*sides, strict=True))
        self.sides: tuple[list[Tokens], list[Tokens]] = (sides[0], sides[1])
        self.direction: Direction = direction
        self._own, self._other = (len(pairs), 0) if direction == "denoise" else (0, len(pairs))
        self.tokens = model.tokens([tokens.rows[0] for side in sides for tokens in side])
        self._resumed = why_whole(model) is None  # so that nothing looks ahead
        self._parts: tuple[Part, ...] = ()
        self._sites = [site for name in names for site in model.sites(name)]
        self._model, self._budget = model, budget
        self._precision: Precision = precision

    @cached_property
    def replay(self) -> Replay:
        """The runs, which are made when they are first asked for."""
        loans = [self._loan(part, pair) for part in self._parts for pair in range(len(self.changed))]
        return Replay(
            self._model, self.tokens, self._sites, budget=self._budget, precision=self._precision, loans=loans
        )

    def expect(self, parts: Sequence[Part]) -> None:
        """Says before the runs are made whose effects will be asked for: a few cost less in the runs' own pass."""
        self._parts = tuple(parts)

    @property
    def length(self) -> int:
        """How many tokens the prompts of the first pair have."""
        return len(self.sides[0][0].rows[0])

    def position(self, position: int) -> int:
        """A token index of the first pair, from 0.

        Raises:
            TokenError: there is no such token.
        """
        return self.sides[0][0].slots(0, position)[0]

    def positions(self, positions: Sequence[int] | None) -> tuple[int, ...] | None:
        """Several token indices, from 0 and each once; None for all tokens together.

        Raises:
            ArgumentError: the list is empty.
            TokenError: there is no such token.
        """
        if positions is not None and not len(positions):
            raise ArgumentError("positions=[] names no token", "Leave positions out, or name one at least.")
        return None if positions is None else tuple(dict.fromkeys(map(self.position, positions)))

    def base(self, pair: int) -> int:
        """The row of the prompt that is patched."""
        return self._own + pair

    def logits(self) -> tuple[Float[Tensor, "pair d_vocab"], Float[Tensor, "pair d_vocab"]]:
        """Of the clean and of the corrupted prompts, at their ends."""
        both = self.replay.base_logits()[:, 0]
        clean, corrupted = both.split(len(self.changed))
        return clean, corrupted

    def effects(self, parts: Sequence[Part], metric: Metric) -> Effects:
        """The metric of every pair with each part patched, and without.

        Raises:
            Cancelled: between blocks.
            ArgumentError: beyond the budget, before anything runs.
            UnavailableError, TokenError, EditError: a part that is not there.
        """
        if self.replay.lent is None or tuple(parts) != self._parts:
            pairs = range(len(self.changed))
            return self.measured([self.patched(part, pair) for part in parts for pair in pairs], metric)
        count = len(parts) * len(self.changed)

        def together(reads: Tensor | None) -> Iterator[tuple[list[int], Tensor]]:
            logits = self.replay.lent_logits(reads)
            assert logits is not None
            yield [*range(count)], logits

        return self._measured(count, metric, together)

    def measured(self, variants: Sequence[Variant], metric: Metric) -> Effects:
        """The same for variants, as many of each pair in turn.

        Raises:
            Cancelled: with the effects so far, if there are any, in which NaN is what is missing.
        """
        return self._measured(len(variants), metric, lambda reads: self.replay.logits(variants, reads))

    def _measured(
        self, variants: int, metric: Metric, swept: Callable[[Tensor | None], Iterable[tuple[list[int], Tensor]]]
    ) -> Effects:
        count = len(self.changed)
        scores = torch.full((variants,), torch.nan, dtype=torch.float64)
        reads = None if metric.weights is None or metric.reads is None else metric.reads.repeat(2, 1)
        ends = self.replay.base_logits(reads)[:, 0]
        clean, corrupted = (metric(side) if reads is None else metric.of_read(side) for side in ends.split(count))
        if count == 1:
            _check_gap(metric, ends, torch.cat([clean, corrupted]))
        effects = Effects(scores.view(-1, count), clean.to(scores), corrupted.to(scores), self.direction)
        with telling(lambda _: None if bool(scores.isnan().all()) else effects):
            for indices, logits in swept(reads):
                own = metric.at([index % count for index in indices])
                found = own(logits[:, 0]) if reads is None else own.of_read(logits[:, 0])
                scores[indices] = found.to(scores)
        return effects

    def patched(
        self, part: Part, pair: int, only: int | None = None, donor: int | None = None, *, same: bool = False
    ) -> Variant:
        """The one prompt with a part of the other, perhaps at a single slot.

        Before the first token that differs both are the same.

        Args:
            donor: the pair that gives the values, whose prompts are as long; None for the pair itself.
            same: whether a donor gives those of its prompt of the kind that is patched, not those of its other one.

        Raises:
            ArgumentError: a donor of another length.
        """
        return self.replay.variant(self._loan(part, pair, only, donor, same=same))

    def _loan(
        self, part: Part, pair: int, only: int | None = None, donor: int | None = None, *, same: bool = False
    ) -> Loan:
        tokens, own = self.tokens, self._own + pair
        row = (self._own if same else self._other) + (pair if donor is None else donor)
        if len(tokens.rows[row]) != len(tokens.rows[own]):
            raise ArgumentError(f"pairs {pair} and {donor} differ in length", "Take values of one of as many tokens.")
        places = range(len(tokens.rows[row])) if part.positions is None else part.positions
        first = self.changed[pair][0] if self._resumed and donor is None else 0
        chosen = [place for place in places if place % len(tokens.rows[row]) >= first]
        slots = tuple(slot for slot in (tokens.slots(row, chosen) if chosen else ()) if only in (None, slot))
        return Loan(own, row, part.sites, slots)

    def value(self, site: Site, row: int, slots: tuple[int, ...]) -> Float[Tensor, "slot ..."]:
        """What a site holds at slots of one of the runs."""
        return held(self.replay.trace, site, row, slots)


def told(measure: Callable[[], Found], tell: Callable[[Found], Told]) -> Told:
    """What is told of what is measured, and meanwhile of what there is of it.

    Raises:
        Cancelled: while it was measured; it carries what is told of what there is.
    """
    with telling(lambda found: None if found is None else tell(found)):
        found = measure()
    return tell(found)


def units(model: "Model", name: str) -> list[Site]:
    """Every unit of every layer of a kind of site, or every whole site where there are none."""
    counts = {"head": model.n_kv_heads if name in WITH_KV_HEADS else model.n_heads}
    found: list[Site] = []
    for site in model.sites(name):
        count = counts.get(site.kind.unit or "", model.d_mlp_of(site.layer) if site.kind.unit == "neuron" else 0)
        found += [Site(name, site.layer, unit) for unit in range(count)] if count else [site]
    return found


def offered(model: "Model", name: str, *, whole: bool = False) -> list[Site]:
    """What `units` gives, or the sites as they are.

    Raises:
        UnavailableError: that is nothing.
    """
    found = list(model.sites(name)) if whole else units(model, name)
    if not found:
        raise UnavailableError(f"{model.name} offers {name} on no block", f"{model.unavailable.get((name, 0), '')}")
    return found


def measure(
    model: "Model", sweep: Sweep, metric: Named, answer: tuple[int, ...], foil: tuple[int, ...]
) -> tuple[Metric, tuple[int, ...], tuple[int, ...]]:
    """The metric of one pair, and the tokens that it is about: without names, what the two runs say themselves.

    Raises:
        ArgumentError: unknown metric, or both prompts are answered alike and no foil is named.
    """
    clean, corrupted = (side[0] for side in sweep.logits())
    return between(model, (clean, corrupted), metric, answer, foil)


def between(
    model: "Model",
    ends: tuple[Float[Tensor, "d_vocab"], Float[Tensor, "d_vocab"]],
    metric: Named,
    answer: tuple[int, ...],
    foil: tuple[int, ...],
) -> tuple[Metric, tuple[int, ...], tuple[int, ...]]:
    """The same from the logits of the clean and of the corrupted run; raises as `measure` does."""
    clean, corrupted = ends
    needs = metrics.needs(metric)
    if not isinstance(metric, str) and (answer or foil):
        raise ArgumentError("a function of your own takes no answer and no foil", "Let it know its tokens itself.")
    if "answer" in needs and not answer:
        answer = (int(clean.argmax()),)
    if "foil" in needs and not foil:
        foil = (int(corrupted.argmax()),)
        if foil[0] in answer:
            raise ArgumentError(
                f"the corrupted prompt is answered by {model.token_label(foil[0])!r} as well, so there is no foil",
                "Name a foil, corrupt what the answer depends on, or take metric='logit'.",
            )
    answer, foil = (ids if name in needs else () for name, ids in (("answer", answer), ("foil", foil)))
    of_pair = {name: [list(ids)] for name, ids in (("answer", answer), ("foil", foil)) if ids}
    return metrics.make(metric, reference=clean[None], **of_pair), answer, foil


def _check_gap(metric: Metric, logits: Float[Tensor, "2 token"], ends: Float[Tensor, "2"]) -> None:
    """Refuses a pair between whose scores lies nothing but rounding."""
    clean, corrupted = ends.tolist()
    if not abs(clean - corrupted) > metrics.rounding(metric, logits, ends):
        raise ArgumentError(
            f"clean and corrupted score the same, up to rounding: {clean:.6g} and {corrupted:.6g} in {metric.name}",
            "Nothing can be recovered: take another metric, or corrupt what the answer depends on.",
        )


def _changed(clean: Tokens, corrupted: Tokens) -> tuple[int, ...]:
    """The token indices at which a pair differs."""
    for tokens in (clean, corrupted):
        readout.only_slot(tokens, -1)
    readout.parting(clean, corrupted)
    rows = zip(clean.rows[0], corrupted.rows[0], strict=True)
    return tuple(index for index, (mine, other) in enumerate(rows) if mine != other)
