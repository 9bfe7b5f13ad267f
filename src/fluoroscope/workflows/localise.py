"""Where an answer comes about: estimates of all parts, exact patching, direct paths.

One backward pass estimates every head and MLP; the stream at every block and token, every head and every MLP are then
patched in truth; and what the largest parts do by themselves is told apart from what they do through others. Answer,
foil and metric are the same in all steps. With `resume` every finished step is kept in a folder, and a run that was
stopped goes on from there.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from fluoroscope import patched
from fluoroscope.analyses.activation_patching import ActivationPatching, activation_patching
from fluoroscope.analyses.attribution_patching import AttributionPatching, attribution_patching
from fluoroscope.analyses.head_patching import HeadPatching, head_patching
from fluoroscope.analyses.path_patching import PathPatching, path_patching
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import contrast, sweeps
from fluoroscope.methods.ranks import spearman
from fluoroscope.patched import Patched
from fluoroscope.render.text import counted, number, quoted, share
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt, AnyToken, Direction, MetricName, OutputFile
from fluoroscope.sites import Site
from fluoroscope.stepwise import Asks, Journal, Made, Stepwise, about, make
from fluoroscope.views import Column, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

_TITLES = {
    "stream": "The stream entering every block, at every token", "heads": "Every head",
    "mlps": "Every MLP, at every token", "direct": "By the direct path to the logits alone",
    "estimates": "What one backward pass estimates",
}  # fmt: skip
"""The steps in the order in which they are shown, and what their first pictures are called."""
_CAUSES = {"estimates": (UnavailableError, ArgumentError)}
"""A metric without a slope costs the estimates alone."""
_HALF = 0.5  # of its effect: from there on a part counts as acting by itself


class Part(Record):
    """A head at all tokens, or an MLP at one.

    Args:
        position: index of the token of an MLP; None for heads.
        estimate: its share of the way to the other prompt's score by one backward pass; None if that was refused.
        exact: the same, patched.
        direct: what it does by the direct path to the logits, all other heads and MLPs as they were; None if refused.
    """

    site: str
    position: int | None
    estimate: float | None
    exact: float
    direct: float | None


class Localisation(Stepwise, Patched):
    """The steps, and what the largest parts do in all of them.

    Args:
        estimates: of every head and MLP, from one backward pass.
        stream: the residual stream of every block and token, patched.
        heads: every head, patched; `mlps` every MLP at every token.
        direct: what every head and MLP does by the direct path to the logits.
        parts: the largest heads and MLPs by their exact effects.
        compared: how many parts have an estimate and an effect that are not both 0.
        agreement: rank correlation of these; None if there are fewer than three.
        furthest: the one whose estimate is furthest off.
    """

    estimates: AttributionPatching | None
    stream: ActivationPatching | None
    heads: HeadPatching | None
    mlps: ActivationPatching | None
    direct: PathPatching | None
    parts: tuple[Part, ...]
    compared: int
    agreement: float | None
    furthest: Part | None

    def summary(self) -> str:
        partial = f"Partial, {counted(self.missing, 'step')} of {len(_TITLES)} not made. " if self.missing else ""
        of = f"{partial}Of the {self.asked()} ({self.gap()})"
        if self.missing and self.heads is None and self.mlps is None:
            return f"{of}, only {', '.join(name for name, _ in self.steps)} was come to.{self.doubts()}"
        if not self.parts:
            return f"{of}, no head and no MLP {self.verb()} anything by itself.{self.doubts()}"
        told = ", ".join(f"{self._label(part)} {share(part.exact)}{_alone(part)}" for part in self.parts[:3])
        meaning = "" if self.direct is None else "; directly is by the path to the logits alone"
        return f"{of}, the parts that {self._do()} most are {told}{meaning}.{self.doubts()}"

    def views(self) -> list[View]:
        sentences, steps = dict(zip(("", *dict(self.steps)), self.narrative, strict=True)), dict(self.steps)
        pages: list[View] = [self._table(sentences[""])] if self.parts else []
        for name in filter(steps.__contains__, _TITLES):
            first, *others = _shown(steps[name])
            about_it = {"title": _TITLES[name], "caption": f"{sentences[name]} {first.caption}".strip()}
            pages += [first.model_copy(update=about_it), *others]
        return pages

    def told(self) -> tuple[str, ...]:
        """What was found: how the prompts differ, then one sentence for each step, each with its numbers."""
        kind, into = ("clean", "corrupted") if self.direction == "denoise" else ("corrupted", "clean")
        opening = (
            f"The {self.asked()} is {self._score(self.clean_score)} after the clean prompt, "
            f"{self._score(self.corrupted_score)} after the corrupted one; {kind} values are put into the {into} "
            "prompt."
        )
        own = {"estimates": self._agreement, "direct": self._directly}
        return (opening, *(own.get(name, step.summary)().removesuffix(self.doubts()) for name, step in self.steps))

    def _agreement(self) -> str:
        """What the estimates are worth."""
        if self.furthest is None or self.furthest.estimate is None or self.agreement is None:
            return "" if self.estimates is None else self.estimates.summary()
        off = f"{share(self.furthest.estimate)} estimated, {share(self.furthest.exact)} exactly"
        return (
            f"Estimates from one backward pass and exact effects of the {self.compared} heads and MLPs that change "
            f"anything have a rank correlation of {number(self.agreement)}; furthest off is "
            f"{self._label(self.furthest)}: {off}."
        )

    def _directly(self) -> str:
        """Which of the largest parts act by themselves."""
        sides: dict[bool, list[str]] = {True: [], False: []}
        for part in self.parts:
            if part.direct is not None and part.exact:
                told = f"{self._label(part)} ({share(part.direct)} of {share(part.exact)})"
                sides[part.direct / part.exact >= _HALF].append(told)
        own, through = (", ".join(sides[side]) or "none" for side in (True, False))
        return (
            f"Of the {counted(len(self.parts), 'largest part')}, those with at least half of their effect by the "
            f"direct path to the logits: {own}; those that act through others: {through}."
        )

    def _table(self, sentence: str) -> Table:
        names = ("part", "estimate", "exact", "direct path")
        return Table(
            title=f"The parts that {self._do()} most",
            caption=" ".join([
                sentence,
                "Shares of the way between the two scores: estimated from one backward pass, patched in truth, and by "
                "the direct path to the logits alone, all other heads and MLPs as they were. A head is patched at all "
                "tokens, an MLP at one.",
                *self.refused,
            ]),
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(
                Row(cells=(self._label(part), part.estimate, part.exact, part.direct), site=part.site)
                for part in self.parts
            ),
        )  # fmt: skip

    def _label(self, part: Part) -> str:
        """L4H2, or MLP 0 at ‘·John’ 10."""
        site = Site.parse(part.site)
        if part.position is None:
            return site.label
        mine, other = self.clean[part.position], self.corrupted[part.position]
        token = quoted(mine) if mine == other else f"{quoted(mine)}/{quoted(other)}"
        return f"MLP {site.layer} at {token} {part.position}"

    def _do(self) -> str:
        return self.verb().removesuffix("s")

    def _score(self, value: float) -> str:
        return f"{number(value)} {patched.UNITS[self.metric]}".strip()


@checked
def localise(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    top_k: int = 8,
    metric: MetricName = "logit_diff",
    direction: Direction = "denoise",
    resume: OutputFile | None = None,
    budget: int = 1024,
) -> Localisation:
    """Estimates every part, patches the stream, heads and MLPs, and tells direct effects from those through others.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        top_k: how many of the largest parts to list, at most.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        resume: a folder that keeps each finished step; a run that was stopped goes on from what it holds.
        budget: megabytes that a step may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length or the same tokens, both scored alike, or `top_k` below 1.
        TokenError: answer or foil is not one token or a set of them.
        ArtifactError: the folder holds something else, or the steps of another run.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    sweep = sweeps.Sweep(model, [(clean, corrupted)], [], direction, budget << 20)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    ends = sweep.effects([], measured)
    _ = ends.shares  # refuses prompts that score alike before any step
    fields: dict[str, Any] = {**patched.fields(model, sweep, ends, told, against), "metric": metric}
    shared: dict[str, Any] = {"metric": metric, "direction": direction, "budget": budget}
    shared |= {name: contrast.spelled(ids) for name, ids in (("answer", told), ("foil", against)) if ids}
    journal = Journal(resume, about(fields["recipe"], "localise", top_k=top_k, **shared))

    def result(made: Made) -> Localisation:
        about_it = {**fields, "missing": made.missing, "refused": made.refused, "narrative": ()}
        result = Localisation(**about_it, **made.found, **_compared(made.found, top_k))
        return result.model_copy(update={"narrative": result.told()})

    asks = _asks(partial(_given, model, clean, corrupted, shared), top_k)
    return sweeps.told(lambda: make(journal, asks, "localise", _CAUSES), result)


Ask = Callable[[], Result]


def _given(model: "Model", clean: str, corrupted: str, shared: Mapping[str, Any], ask: Any, **own: Any) -> Ask:
    """A step that is yet to be made, about the same as all others."""
    return partial(ask, model, clean, corrupted, **shared, **own)


def _asks(given: Callable[..., Ask], top_k: int) -> Asks:
    return {
        "estimates": (AttributionPatching, given(attribution_patching, top_k=top_k)),
        "stream": (ActivationPatching, given(activation_patching, site="resid_pre")),
        "heads": (HeadPatching, given(head_patching)),
        "mlps": (ActivationPatching, given(activation_patching, site="mlp_out")),
        "direct": (PathPatching, given(path_patching, receivers=["logits"], hold_mlps=True)),
    }


def _compared(found: Mapping[str, Any], top_k: int) -> dict[str, Any]:
    """The fields about parts in all steps."""
    parts = sorted(_parts(found), key=lambda part: -abs(part.exact))
    pairs = [(part, part.estimate) for part in parts if part.estimate is not None and (part.estimate or part.exact)]
    sides = torch.tensor([(guess, part.exact) for part, guess in pairs], dtype=torch.float64)
    return {
        "parts": tuple(part for part in parts[:top_k] if part.exact),
        "compared": len(pairs),
        "agreement": spearman(sides[:, 0], sides[:, 1]) if len(pairs) > 2 else None,
        "furthest": max(pairs, key=lambda pair: abs(pair[1] - pair[0].exact))[0] if pairs else None,
    }


def _parts(found: Mapping[str, Any]) -> list[Part]:
    """Every head, and every MLP at every token."""
    estimates, heads, mlps, direct = (found[name] for name in ("estimates", "heads", "mlps", "direct"))
    guesses: dict[tuple[str, int | None], float] = {}
    for kind in estimates.kinds if estimates else ():
        for layer, row in zip(kind.layers, kind.shares, strict=True):
            for index, value in enumerate(row):
                site, place = (Site(kind.site, layer, index), None) if kind.units else (Site(kind.site, layer), index)
                guesses[str(site), place] = value
    alone = {sender.site: sender.effect for sender in direct.senders} if direct else {}
    exact = [(str(site), None, value) for site, _, value in heads.heads()] if heads else []
    exact += [(f"mlp_out.{layer}", place, value) for layer, place, value in mlps.cells()] if mlps else []
    end = mlps.positions[-1] if mlps else None
    return [
        Part(
            site=site,
            position=place,
            estimate=guesses.get((site, place)),
            exact=value,
            direct=alone.get(site) if place in (None, end) else (0.0 if direct else None),
        )
        for site, place, value in exact
    ]


def _shown(step: Result) -> list[View]:
    """Its pictures, without those whose numbers are all in another one."""
    views = step.views()
    if isinstance(step, PathPatching):
        return [views[0], views[1].model_copy(update={"title": "Every head, by the direct path alone"})]
    if isinstance(step, HeadPatching):
        return views[1:]
    return views[:1] if isinstance(step, ActivationPatching) else views


def _alone(part: Part) -> str:
    return "" if part.direct is None else f" (directly {share(part.direct)})"
