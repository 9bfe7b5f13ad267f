"""One patch, exactly: chosen values of one prompt put into the other, and what comes then.

Sweeps patch every part alone and tell one number each; here any sites, at any tokens, are patched together in one run,
and the answer is told before and after. Heimersheim & Nanda 2024, "How to use and interpret activation patching".
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope import metrics, offer, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, readout, sweeps
from fluoroscope.patched import UNITS, Patched
from fluoroscope.render.text import counted, number, percent, quoted, share
from fluoroscope.result import Record
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Column, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Causes"

_NAMED = 4


class Told(Record):
    """A token, and its probability before the patch, after it, and in the prompt that the values are from."""

    id: int
    piece: str
    before: float
    after: float
    source: float


class PatchedRun(Patched):
    """What one patch of any sites does.

    Args:
        sites: what was patched, all at once.
        positions: indices of the tokens at which; None for all.
        before: the metric of the prompt as it is; `after` with the patch.
        effect: share of the way to the other prompt's score.
        tokens: those that are likeliest before, after or in the other prompt; the likeliest after the patch first.
    """

    sites: tuple[str, ...]
    positions: tuple[int, ...] | None
    before: float
    after: float
    effect: float
    tokens: tuple[Told, ...]

    def summary(self) -> str:
        unit = UNITS.get(self.metric, "")
        first = max(self.tokens, key=lambda token: token.before)
        then = self.tokens[0]
        leads = f"{quoted(then.piece)} leads still" if then.id == first.id else (
            f"{quoted(then.piece)} leads instead of {quoted(first.piece)}"
        )  # fmt: skip
        return (
            f"{self._named()}{self._where()} {self._does()} {share(self.effect)} of the {self.asked()}: from "
            f"{number(self.before)} to {number(self.after)}{f' {unit}' if unit else ''}, where the other prompt has "
            f"{number(self._end())}; {leads}, with {percent(then.after)}.{self.doubts()}"
        )

    def _does(self) -> str:
        return self.verb().removesuffix("s") if len(self.sites) > 1 else self.verb()

    def _end(self) -> float:
        return self.clean_score if self.direction == "denoise" else self.corrupted_score

    def _named(self) -> str:
        labels = [Site.parse(site).label for site in self.sites]
        return ", ".join(labels[:3]) + (f" and {counted(len(labels) - 3, 'other')}" if len(labels) > 3 else "")

    def _where(self) -> str:
        if self.positions is None:
            return ""
        return " at " + ", ".join(f"{quoted(self.clean[place])} {place}" for place in self.positions)

    def views(self) -> list[View]:
        ends = ("corrupted", "clean") if self.direction == "denoise" else ("clean", "corrupted")
        scores = Bars(
            title=f"The {self.asked()}",
            caption=f"After the {ends[0]} prompt as it is, with the patch, and after the {ends[1]} prompt.",
            unit=UNITS.get(self.metric, ""),
            signed=True,
            items=(
                Bar(label=ends[0], value=self.before),
                Bar(label="patched", value=self.after, remark=f"{share(self.effect)} of the way"),
                Bar(label=ends[1], value=self._end()),
            ),
        )
        table = Table(
            title="What comes next",
            caption="Probability of the likeliest tokens, without the patch, with it, and after the other prompt.",
            columns=(Column(name="token", token=True), *(Column(name=name) for name in (ends[0], "patched", ends[1]))),
            rows=tuple(Row(cells=(each.piece, each.before, each.after, each.source)) for each in self.tokens),
        )
        return [scores, table]


@checked
def patched_run(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    sites: list[str],
    positions: list[int] | None = None,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    budget: int = 1024,
) -> PatchedRun:
    """Puts values of one prompt into the other, all of them at once, and tells the answer before and after.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        sites: what to patch: heads (L4H2), streams (resid_pre.3), what blocks add (attn_out.3, mlp_out.3), and so on.
        positions: indices of the tokens at which; negative counts from the end; without them all.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt, noise the reverse.
        budget: megabytes that the patched run may hold beside the model and the two runs.

    Raises:
        ArgumentError: nothing to patch, prompts of unequal length or the same tokens, or both scored alike.
        TokenError: answer or foil is not one token or a set of them, or a prompt has no such position.
        SiteError, UnavailableError: a site that is not there, or cannot be written.
    """
    chosen = _writable(model, sites)
    names = list(dict.fromkeys(site.name for site in chosen))
    sweep = sweeps.Sweep(model, [(clean, corrupted)], names, direction, budget << 20)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    places = sweep.positions(positions)
    variant = sweep.patched(sweeps.Part(tuple(chosen), places), 0)
    found = sweep.measured([variant], measured)
    logits = next(sweep.replay.logits([variant]))[1][0, 0]
    ends = [side[0] for side in sweep.logits()]
    base, donor = reversed(ends) if direction == "denoise" else ends
    return PatchedRun(
        **patched.fields(model, sweep, found, told, against),
        metric=metrics.resolve(metric),
        sites=tuple(map(str, chosen)),
        positions=places,
        before=float((found.corrupted if direction == "denoise" else found.clean)[0]),
        after=float(found.scores[0, 0]),
        effect=float(found.shares[0, 0]),
        tokens=_told(model, base, logits, donor),
    )


def _writable(model: "Model", names: list[str]) -> list[Site]:
    """The sites that are named, each once.

    Raises:
        ArgumentError: none, or one that cannot be patched.
    """
    found = list(dict.fromkeys(offer.expand(model, names)))
    if not found:
        raise ArgumentError("no site was given, so nothing is patched", "Name heads (L4H2) or streams (resid_pre.3).")
    for site in found:
        if not site.kind.writable or (site.layer is None and site.name != "embed"):
            raise ArgumentError(
                f"{site} cannot be patched",
                site.kind.why_not or "Name a value inside the blocks, such as resid_post.3.",
            )
    return found


def _told(model: "Model", base: "Tensor", patched: "Tensor", donor: "Tensor") -> tuple[Told, ...]:
    rows = readout.log_probs(torch.stack([each.double() for each in (base, patched, donor)])).exp()
    ids = dict.fromkeys(rows.topk(min(_NAMED, rows.shape[-1])).indices.flatten().tolist())
    found = [Told(id=token, piece=model.token_label(token), **_shares(rows[:, token].tolist())) for token in ids]
    return tuple(sorted(found, key=lambda token: -token.after))


def _shares(values: list[float]) -> dict[str, float]:
    return dict(zip(("before", "after", "source"), values, strict=True))
