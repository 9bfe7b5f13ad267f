"""Two prompts and what patching values of the one into the other does: sites named first, run when it is read.

    ct = CausalTrace(model, clean, corrupted)
    ct.patch("L4H2", positions=-1).patch("mlp_out.0")
    ct.metric("logit_diff", answer=" Mary", foil=" John").share

All patches act together in one copy of a run, of which only what they change is computed again (`replay.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, EditError
from fluoroscope.interventions import Positions
from fluoroscope.methods import contrast, readout, sweeps
from fluoroscope.metrics import Metric, Named
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch
from fluoroscope.signature import Direction
from fluoroscope.sites import Site
from fluoroscope.variants import Variant, held

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt


@dataclass(frozen=True)
class Effect:
    """What the patches do to a metric.

    Args:
        score: the metric with the patches; `clean` and `corrupted` of the two prompts as they are.
        direction: "denoise": clean values in the corrupted prompt, "noise" the reverse.
    """

    score: float
    clean: float
    corrupted: float
    direction: Direction

    @property
    def share(self) -> float:
        """How much of the way to the other prompt's score the patches go: 0 none, 1 all of it.

        Raises:
            ArgumentError: both prompts score the same.
        """
        there = float(metrics.recovered(self.score, self.clean, self.corrupted))
        return there if self.direction == "denoise" else 1 - there


class CausalTrace:
    """A pair of prompts, ready to be patched.

    Args:
        model: what runs them.
        clean: the prompt that is answered as it should be, in any form that `Model.trace` takes.
        corrupted: one of as many tokens that is answered otherwise.
        direction: denoise puts clean values into the corrupted prompt (what is enough to bring the answer back), noise
            corrupted values into the clean one (what the answer cannot do without).
        budget: megabytes that the patched copy may hold beside the two runs.

    Raises:
        ArgumentError: several prompts, prompts of unequal length or of the same tokens, or no such direction.
    """

    def __init__(
        self,
        model: "Model",
        clean: "Prompt",
        corrupted: "Prompt",
        *,
        direction: Direction = "denoise",
        budget: int = 1024,
    ) -> None:
        if direction not in ("denoise", "noise"):
            raise ArgumentError(
                f"unknown direction {direction!r}", "denoise: clean into corrupted; noise: the reverse."
            )
        self.model, self._budget = model, budget
        self.direction: Direction = direction
        self._sides = model.tokens(clean), model.tokens(corrupted)
        for tokens in self._sides:
            readout.only_slot(tokens, -1)
        readout.parting(*self._sides)
        self._length = len(self._sides[0].rows[0])
        self._patches: list[tuple[Site, tuple[int, ...]]] = []

    def __repr__(self) -> str:
        what = ", ".join(f"{site.label} at {self._places(slots)}" for site, slots in self._patches) or "nothing yet"
        way = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        return f"CausalTrace({self.direction}: {way[0]} values of {what} into the {way[1]} prompt)"

    def patch(
        self, site: str | Site, positions: Positions = None, *, text: str | None = None, turn: int | None = None
    ) -> "CausalTrace":
        """Adds a site that shall have the other prompt's value, and returns this trace for the next one.

        Patches are made in the order of computation: what a later one overwrites is lost.

        Args:
            site: any writable one, whole or a unit, in any spelling.
            positions: the token indices at which; negative ones count from the end; None for all.
            text: instead of positions a piece of the clean prompt, which holds it once: at its tokens.
            turn: instead of positions the index of a message of two chats, negative from the end: at all its tokens,
                those of the template too.

        Raises:
            ArgumentError: more than one of positions, text and turn; or no chats, or turns at other tokens.
            EditError: the trace was read already, the site cannot be written, or is patched there already.
            SiteError, UnavailableError: no such site on this model.
            TokenError: the prompts have no such token.
        """
        if "_replay" in self.__dict__:
            raise EditError(
                "this trace was read already, so that its patches stay as they are", "Make another CausalTrace."
            )
        found = self.model.site(site)
        if not found.kind.writable:
            raise EditError(f"{found} is read-only", found.kind.why_not)
        if found.name in ("final_norm", "logits"):
            raise EditError(f"nothing is computed from {found} but the answer", "Patch resid_post of the last block.")
        slots = self._slots(self._named(positions, text, turn))
        if not slots:
            raise EditError(f"positions={positions!r} of {found} names no token", "Leave positions out for all tokens.")
        for other, taken in self._patches:
            both = sorted({*slots} & {*taken})
            if both and _overlap(_entry(found), _entry(other)):
                raise EditError(
                    f"{found} at token {both[0]} is patched already, as {other}", "Name each value once."
                )  # fmt: skip
        self._patches.append((found, slots))
        return self

    def value(self, site: str | Site) -> Tensor:
        """What a site holds in the run that values are taken from, with its axes: a batch of one.

        Raises:
            SiteError, UnavailableError: no such site on this model.
        """
        found = self.model.site(site)
        given = self._sides[0] if self.direction == "denoise" else self._sides[1]
        return self.model.trace(given, sites=[found], logits=found.name == "logits")[found]

    @cached_property
    def logits(self) -> Float[Tensor, "1 pos d_vocab"]:
        """Of the prompt with all patches; from here on nothing can be patched any more.

        Raises:
            EditError: nothing was patched.
            ArgumentError: beyond the budget.
        """
        if not self._patches:
            raise EditError("nothing was patched, so there are no logits of a patched run", "Call patch(…) first.")
        base, donor = (1, 0) if self.direction == "denoise" else (0, 1)
        trace = self._replay.trace
        patches = [Patch(site, slots, held(trace, site, donor, slots)) for site, slots in self._patches]
        return next(self._replay.logits([Variant(prompt=base, patches=patches)]))[1]

    @property
    def clean_logits(self) -> Float[Tensor, "1 pos d_vocab"]:
        """Of the clean prompt as it is; reading it ends the patching as well."""
        return self._plain[:1]

    @property
    def corrupted_logits(self) -> Float[Tensor, "1 pos d_vocab"]:
        """Of the corrupted prompt as it is; reading it ends the patching as well."""
        return self._plain[1:]

    def metric(
        self,
        metric: Named = "logit_diff",
        *,
        answer: str | int | None = None,
        foil: str | int | None = None,
        position: int = -1,
    ) -> Effect:
        """What the patches do to a metric.

        Args:
            metric: a name, as `metrics.make` knows it, or a function from logits [row, d_vocab] to scores [row].
            answer: the token that is right, as text or id, or several (" Mary| Anna"); without it the prediction
                after the clean prompt.
            foil: what it is held against; without it the prediction after the corrupted prompt.
            position: the token index after which it is measured.

        Raises:
            ArgumentError: unknown metric, both prompts are answered alike and no foil is named, tokens beside a
                function, or a function that gives no score for each row.
            TokenError: answer or foil is not one token or a set of them, or the prompts have no such token.
        """
        (slot,) = self._slots(position)
        rows = torch.cat([each[:, slot] for each in (self.logits, self.clean_logits, self.corrupted_logits)])
        score, clean, corrupted = self._made(metric, answer, foil, rows)(rows).tolist()
        return Effect(score, clean, corrupted, self.direction)

    def _made(
        self, metric: Named, answer: str | int | None, foil: str | int | None, rows: Tensor
    ) -> Callable[[Tensor], Tensor]:
        """The metric as a function of the three rows."""
        if isinstance(metric, str):
            named = [() if token is None else readout.token_ids(self.model, token) for token in (answer, foil)]
            asked = contrast.Contrast(*named)
            made, _, _ = sweeps.between(self.model, (rows[1], rows[2]), metric, asked.target, asked.foil)
            return made.at([0] * len(rows))
        if answer is not None or foil is not None:
            raise ArgumentError("a function of your own takes no answer and no foil", "Let it know its tokens itself.")
        if isinstance(metric, Metric):
            return metric.at([0] * len(rows))
        return metrics.make(metric)

    @cached_property
    def _replay(self) -> Replay:
        rows = [tokens.rows[0] for tokens in self._sides]
        sites = list(dict.fromkeys(site.whole for site, _ in self._patches))
        return Replay(self.model, rows, sites, positions=range(self._length), budget=self._budget << 20)

    @cached_property
    def _plain(self) -> Float[Tensor, "2 pos d_vocab"]:
        return self._replay.base_logits()

    def _named(self, positions: Positions, text: str | None, turn: int | None) -> Positions:
        """Token indices by whichever way they are named."""
        if sum(each is not None for each in (positions, text, turn)) > 1:
            raise ArgumentError("tokens are named in more than one way", "Give positions, text or turn.")
        if text is not None:
            return self._sides[0].span(text)
        return positions if turn is None else self._turn(turn)

    def _turn(self, index: int) -> slice:
        """The tokens of a message, which are the same ones in both chats."""
        sides = [tokens.turns for tokens in self._sides]
        if sides[0] is None or sides[1] is None:
            raise ArgumentError("these prompts are no chats, so they have no turns", "Give positions or text.")
        clean, corrupted = ([(turn.full_start, turn.full_end) for turn in side[0]] for side in (sides[0], sides[1]))
        if not -len(clean) <= index < len(clean):
            raise ArgumentError(f"there is no turn {index}", f"The clean chat has {len(clean)}, from 0.")
        if clean != corrupted:
            raise ArgumentError(
                "the turns of the two chats are not at the same tokens",
                "Give chats whose messages are of equal length.",
            )
        return slice(*clean[index])

    def _slots(self, positions: Positions) -> tuple[int, ...]:
        chosen = slice(None) if positions is None else positions
        given = chosen.tolist() if isinstance(chosen, Tensor) else chosen
        return tuple(dict.fromkeys(self._sides[0].slots(0, given)))

    def _places(self, slots: tuple[int, ...]) -> str:
        return "all tokens" if len(slots) == self._length else ", ".join(map(str, slots))


def _entry(site: Site) -> Site:
    """One name for what has two: the stream that leaves a block enters the next one."""
    return Site("resid_pre", (site.layer or 0) + 1) if site.name == "resid_post" else site


def _overlap(one: Site, other: Site) -> bool:
    return one.whole == other.whole and (None in (one.unit, other.unit) or one.unit == other.unit)
