"""Which heads work together: patched alone, in pairs and all at once, against the sum.

Heads that need each other do nothing alone (an XOR of two is the extreme); a backup does something only once the head
that it stands in for is gone, so both together do less than the sum where each is enough, and more where both must go
(Wang et al. 2022, "Interpretability in the Wild"; McGrath et al. 2023, "The Hydra Effect").
"""

from typing import TYPE_CHECKING, Any, Literal

from fluoroscope import metrics, offer, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, interactions, sweeps
from fluoroscope.patched import Patched
from fluoroscope.render.text import counted
from fluoroscope.render.text import share as share_text
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Heatmap, Mark, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.methods.sweeps import Effects, Sweep
    from fluoroscope.metrics import Metric
    from fluoroscope.model import Model

THEME = "Causes"

Kind = Literal["both", "backup"]
Matrix = tuple[tuple[float | None, ...], ...]
_WORTH = 0.01  # of the way: what a sentence names
_MOST = 2
_SAID: dict[Kind, str] = {"both": "heads that need each other", "backup": "backups of each other"}


class HeadInteraction(Patched):
    """What a group of heads does, and what of it is not the sum of its heads.

    Args:
        heads: canonical names of their z, in the order of the rest.
        position: index of the token at which they were patched; None for all.
        alone: share of the way from one score to the other that each goes.
        pairs: share that every two go together, `[head][head]`; None on the diagonal.
        interactions: that less the share of each, likewise.
        together: share of all at once.
        scores: the metric itself with two patched, on the diagonal with one; `together_score` with all.
    """

    heads: tuple[str, ...]
    position: int | None
    alone: tuple[float | None, ...]
    pairs: Matrix
    interactions: Matrix
    together: float | None
    scores: Matrix
    together_score: float | None

    @property
    def labels(self) -> list[str]:
        """L4H2, …"""
        return [Site.parse(head).label for head in self.heads]

    def ranked(self) -> list[tuple[int, int, float]]:
        """Every pair that was measured, by index, with its interaction; the largest first."""
        rows = enumerate(self.interactions)
        found = [
            (one, two, each) for one, row in rows for two, each in enumerate(row) if one < two and each is not None
        ]
        return sorted(found, key=lambda pair: -abs(pair[2]))

    def kind(self, interaction: float) -> Kind:
        """What an interaction speaks for: more than the sum is needing each other where values are brought back."""
        return "both" if (interaction > 0) == (self.direction == "denoise") else "backup"

    def sums(self) -> tuple[float, float] | None:
        """What all would do if nothing interacted, and if nothing but pairs did; None where something is missing."""
        if self.missing:
            return None
        first = sum(each for each in self.alone if each is not None)
        return first, first + sum(each for _, _, each in self.ranked())

    def summary(self) -> str:
        sums, count = self.sums(), len(self.heads)
        verb = self.verb().removesuffix("s")
        whole = "" if sums is None or self.together is None else (
            f"{counted(count, 'head')} together {verb} {share_text(self.together)}, where one by one they sum to "
            f"{share_text(sums[0])}; "
        )  # fmt: skip
        told = [*self._told(1), *self._told(-1)]
        pairs = "; ".join(told) or f"no two differ from their sum by {share_text(_WORTH)}"
        return f"{self.partial()}Of the {self.asked()} ({self.gap()}), {whole}{pairs}.{self.doubts()}"

    def _told(self, sign: int) -> list[str]:
        """The pairs that do more, or less, than their sum, in words; nothing where none does."""
        labels, found = self.labels, [pair for pair in self.ranked() if sign * pair[2] >= _WORTH]
        named = ", ".join(f"{labels[one]} and {labels[two]} ({_signed(each)})" for one, two, each in found[:_MOST])
        more = f" and {counted(len(found) - _MOST, 'more pair', 'more pairs')}" if len(found) > _MOST else ""
        way = "more" if sign > 0 else "less"
        return [f"{way} than their sum do, as {_SAID[self.kind(sign)]}: {named}{more}"] if found else []

    def views(self) -> list[View]:
        return [self._heatmap(), self._alone()]

    def _heatmap(self) -> Heatmap:
        more, less = (_SAID[self.kind(sign)] for sign in (1, -1))
        marks = tuple(Mark(label=label, site=head) for label, head in zip(self.labels, self.heads, strict=True))
        return Heatmap(
            title="What two heads do beyond the sum of each",
            caption=f"The share of the way that two {self.verb().removesuffix('s')} together, less that of each alone: "
            f"0 where they work apart, above 0 as of {more}, below 0 as of {less}; where one head acts on what the "
            "other writes it is neither in itself. The final norm, and any metric but logits, bend sums a little too.",
            unit="share",
            signed=True,
            rows=marks,
            columns=marks,
            values=self.interactions,
        )

    def _alone(self) -> Bars:
        sums = self.sums()
        items = [
            Bar(label=label, value=each, site=head)
            for label, head, each in zip(self.labels, self.heads, self.alone, strict=True)
        ]
        if sums is not None:
            items += [
                Bar(label="their sum", value=sums[0]),
                *([Bar(label="with what pairs add", value=sums[1])] if len(self.heads) > 2 else []),
                Bar(label="all together", value=self.together),
            ]
        rest = " What pairs add: the sum of their interactions. What is missing from there takes three heads or more."
        return Bars(
            title=f"What each head {self.verb()} alone, and what all do together",
            caption=self.caption() + (rest if len(self.heads) > 2 else ""),
            unit="share",
            signed=True,
            items=tuple(items),
        )


@checked
def head_interaction(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    heads: list[str] | None = None,
    top_k: int = 8,
    position: int | None = None,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> HeadInteraction:
    """Patches heads alone, in pairs and all at once with their values in another prompt, and compares with the sum.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        heads: two heads or more, such as L4H2; without them those that do most alone, so that heads which do nothing
            alone have to be named.
        top_k: how many heads to take at most where none are named.
        position: index of the token at which heads are patched; negative counts from the end; without it at all.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: fewer than two heads, something that is none, prompts of unequal length or the same tokens, both
            scored alike, or a sweep beyond the budget.
        SiteError: a head that is not there.
        TokenError: answer or foil is not one token or a set of them, or a prompt has no such position.
        UnavailableError: this model's heads cannot be patched.
    """
    every = sweeps.offered(model, "z")
    chosen = None if heads is None else _heads(model, heads)
    if chosen is None and min(top_k, len(every)) < 2:
        raise ArgumentError(f"top_k={top_k} of {counted(len(every), 'head')} makes no pair", "It takes two heads.")
    sweep = sweeps.Sweep(model, [(clean, corrupted)], ["z"], direction, budget << 20, precision)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    places = None if position is None else (sweep.position(position),)
    group = _largest(sweep, every, places, measured, top_k) if chosen is None else chosen

    def result(found: "Effects") -> HeadInteraction:
        about = patched.fields(model, sweep, found, told, against)
        position = None if places is None else places[0]
        return HeadInteraction(**about, metric=metrics.resolve(metric), position=position, **_numbers(group, found))

    return sweeps.told(lambda: sweep.effects(interactions.parts(group, places), measured), result)


def _numbers(group: list[Site], found: "Effects") -> dict[str, Any]:
    joint = interactions.joint(found, len(group))
    return {
        "heads": tuple(map(str, group)),
        "alone": tuple(map(finite, joint.alone.tolist())),
        "pairs": _matrix(joint.shares, diagonal=False),
        "interactions": _matrix(joint.interactions, diagonal=False),
        "together": finite(joint.share),
        "scores": _matrix(joint.scores),
        "together_score": finite(joint.together),
    }


def _heads(model: "Model", names: list[str]) -> list[Site]:
    """The heads that are named, each once.

    Raises:
        ArgumentError: fewer than two, or something that is no head.
    """
    found = list(dict.fromkeys(offer.expand(model, names)))
    others = [str(site) for site in found if site.name != "z" or site.unit is None]
    if others:
        raise ArgumentError(f"{others[0]} is no single head", "Name heads as L4H2 or z.4.2.")
    if len(found) < 2:
        raise ArgumentError(f"{counted(len(found), 'head')} has nobody to work with", "Name two or more.")
    return found


def _largest(
    sweep: "Sweep", heads: list[Site], places: tuple[int, ...] | None, metric: "Metric", count: int
) -> list[Site]:
    """The heads that do most alone."""
    found = sweep.effects([sweeps.Part((head,), places) for head in heads], metric)
    order = found.shares[:, 0].abs().argsort(descending=True, stable=True)
    return [heads[index] for index in order[:count].tolist()]


def _matrix(values: "Tensor", *, diagonal: bool = True) -> Matrix:
    rows = enumerate(values.tolist())
    return tuple(tuple(finite(each) if diagonal or i != j else None for j, each in enumerate(row)) for i, row in rows)


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{share_text(value)}"
