"""What the prediction loses without a part: heads and MLPs zero, at their mean or resampled.

Unlike direct attribution this is causal: it counts what later parts do with a part's output, and what they do to make
up for its absence (McGrath et al. 2023, "The Hydra Effect"). Zero is far from what some parts write on average, so a
large effect may also mean that the model was thrown off course; their mean over other texts, or what they hold at the
same places of other texts (resampling, Chan et al. 2022, "Causal Scrubbing"), throws it off less.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fluoroscope import contrasted, offer, tasks
from fluoroscope.arguments import checked
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, effects, readout
from fluoroscope.methods.ablation import Reference, means, resampled, without
from fluoroscope.methods.contrast import Contrast
from fluoroscope.methods.passages import passages
from fluoroscope.methods.sweeps import told
from fluoroscope.progress import telling
from fluoroscope.prompts import lead as before
from fluoroscope.render.text import counted, number, percent, prose, quoted
from fluoroscope.result import Record
from fluoroscope.signature import AnyPrompt, AnyToken, InputFile
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bar, Bars, HeadGrid, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.methods.ablation import StandIn
    from fluoroscope.model import Model

THEME = "Causes"


By = Literal["zero", "mean", "resample"]
_PASSAGES, _PAIRS = 64, 64
_TOLD = {"zero": "without {}", "mean": "with {} averaged", "resample": "with {} resampled"}
_MADE = {
    "zero": "set to zero at every position",
    "mean": "set to its mean over {tokens} tokens of {reference} at every position",
    "resample": "given what it holds at the same places of other texts of {reference}, {samples} of them one after the "
    "other",
}


class Removal(Record):
    """What is left without some sites.

    Args:
        sites: canonical names of what was set to zero at every position.
        label: their names for people.
        probability: of the target, without them; of a set, that one of its tokens comes.
        effect: change of its logarithm, in nats; negative where the parts had helped.
        difference: change of the lead, in logits; None without a foil.
        leads: the token that is likeliest without them.
        error: standard error of the change over samples; None for a single one.
    """

    sites: tuple[str, ...]
    label: str
    probability: float
    effect: float
    difference: float | None
    leads: str
    leads_id: int
    error: float | None = None

    @property
    def change(self) -> float:
        """The difference where there is a foil, else the effect."""
        return self.effect if self.difference is None else self.difference


class Ablation(Contrasted):
    """The effect of removing parts on one prediction.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token after which the prediction is made.
        probability: of the target, with everything in place.
        lead: its mean logit minus that of the foil, behind any softcap; None without a foil.
        removals: one per part, in the order asked for.
        joint: all of the `top_k` parts that help by more than nothing, removed at once; None if none does.
        top_k: how many parts the bars name.
        by: what parts became: zero, their mean, or what they hold in other texts (the mean effect over these).
        reference: the file or task that these come from, of so many tokens in all; None for zero.
        samples: how many other texts; None where parts were not resampled.
        missing: how many removals a cancelled run had not come to, that of all together counted too.
    """

    tokens: tuple[str, ...]
    position: int
    probability: float
    lead: float | None
    removals: tuple[Removal, ...]
    joint: Removal | None
    top_k: int
    by: By = "zero"
    reference: str | None = None
    reference_tokens: int | None = None
    samples: int | None = None
    missing: int = 0

    def top(self) -> list[Removal]:
        """The `top_k` removals of largest absolute change, largest first."""
        return _largest(self.removals, self.top_k)

    def least(self) -> float:
        """The change that is worth a word, in nats, or of a lead in logits."""
        return effects.NOTHING if self.lead is None else effects.worth(self.lead)

    def summary(self) -> str:
        after = quoted(self.tokens[self.position])
        missing = f"Partial, {counted(self.missing, 'removal')} not measured. " if self.missing else ""
        kept = missing + (
            f"{quoted(self.target)} has {percent(self.probability)} after {after}"
            if self.lead is None
            else f"The {self.asked()} after {after} is {number(self.lead)} logits"
        )
        first = min(self.removals, key=lambda removal: removal.change)
        alone = f"{self._gone(first.label)} {self._left(first)}"
        if self.joint is None:
            return f"{kept}; {alone if self.missing else self._unharmed()}."
        if len(self.joint.sites) == 1:
            return f"{kept}; {alone}, where {quoted(first.leads)} leads."
        together = f"{self._gone(f'the {len(self.joint.sites)} that help most')} together {self._left(self.joint)}"
        return f"{kept}; {alone}, {together}, where {quoted(self.joint.leads)} leads."

    def _gone(self, label: str) -> str:
        return _TOLD[self.by].format(label)

    def _unharmed(self) -> str:
        """What is said where no part that was removed had helped."""
        most = max(self.removals, key=lambda removal: removal.change)
        if most.change >= self.least():
            return (
                f"no part that was removed had helped it, and {self._gone(most.label)} it rises to {self._left(most)}"
            )
        parts = most.label if len(self.removals) == 1 else f"any one of {len(self.removals)} parts"
        return f"removing {parts} changes next to nothing"

    def views(self) -> list[View]:
        bars = [self._bar(removal, removal.label) for removal in self.top()]
        if self.joint is not None and len(self.joint.sites) > 1:
            bars.append(self._bar(self.joint, f"{len(self.joint.sites)} together"))
        measured = (
            "log-probability: -0.69 halves the probability. Then what is left of it"
            if self.lead is None
            else f"lead, one logit minus the other, from {number(self.lead)}. Then the probability that is left of "
            f"{quoted(self.target)}"
        )
        chart = Bars(
            title=f"What the {self.asked()} loses without each part"
            if self.foil
            else f"What {quoted(self.target)} loses without each part",
            caption=f"A causal check: the part is {self._made()}, and the model runs on. Change of the {measured}, and "
            f"who leads instead.{' ± is the standard error over these texts.' if (self.samples or 1) > 1 else ''}",
            unit="nats" if self.lead is None else "logits",
            signed=True,
            reach=effects.REACH * self.least(),
            items=tuple(bars),
        )
        grid = self._grid()
        return [chart, *([] if grid is None else [grid])]

    def _made(self) -> str:
        return _MADE[self.by].format(
            tokens=self.reference_tokens, reference=prose(self.reference or ""), samples=self.samples
        )

    def _left(self, removal: Removal) -> str:
        """What is left of the probability, or of the lead."""
        return percent(removal.probability) if self.lead is None else number(self.lead + removal.change)

    def _bar(self, removal: Removal, label: str) -> Bar:
        instead = "" if removal.leads_id in self.target_ids else f", {quoted(removal.leads)}"
        site = removal.sites[0] if len(removal.sites) == 1 else None
        error = "" if removal.error is None else f"± {number(removal.error)}; "
        remark = f"{error}{percent(removal.probability)}{instead}"
        return Bar(label=label, value=removal.change, remark=remark, site=site)

    def _grid(self) -> HeadGrid | None:
        """All heads, if all were removed."""
        heads = {each.sites[0]: each.change for each in self.removals if Site.parse(each.sites[0]).name == "z"}
        rows = by_layer(heads)
        if not heads or sum(map(len, rows)) != len(heads):
            return None
        return HeadGrid(
            title="Without each head", caption="A row is a block, a column a head in it.", values=rows,
            unit="nats" if self.lead is None else "logits", reach=effects.REACH * self.least(),
        )  # fmt: skip


@checked
def ablation(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    sites: list[str] | None = None,
    position: int = -1,
    top_k: int = 10,
    by: Literal["zero", "mean", "resample"] | None = None,
    text: InputFile | None = None,
    task: str | None = None,
    samples: int = 8,
    seed: int = 0,
) -> Ablation:
    """Removes parts of the model and measures what that does to a prediction.

    Args:
        prompt: the text whose next token is looked at.
        target: the token to watch, as text or id (#338), or several (" Mary| Anna"), of which one is to come; without
            it the model's own prediction.
        foil: a token, or several, whose mean logit is taken off: what the parts do for the target rather than for this.
        sites: what to remove, in any spelling, such as L3H1 or mlp_out.*; without it every head and every MLP.
        position: index of the token after which to predict; negative counts from the end.
        top_k: how many parts to name, and at most to remove together.
        by: what a part becomes: zero, its mean over other texts, or what it holds at the same places of one of them,
            several times (resample); without it zero, and the mean where other texts are named.
        text: text file of other texts, UTF-8 with blank lines between paragraphs, for mean and resample.
        task: or a task such as ioi, whose clean prompts are the other texts.
        samples: how many other texts to resample from.
        seed: of the draw of other texts.

    Raises:
        ArgumentError: `top_k` below 1, no site, a token that is in target and foil, or other texts that are missing,
            too short, or not asked for.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        SiteError, UnavailableError, EditError: a site that does not exist here, or cannot be written.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    chosen = _every_part(model) if sites is None else list(dict.fromkeys(offer.expand(model, sites)))
    if not chosen:
        raise ArgumentError("no site was given, so nothing is removed", "Name sites, or leave them out for all.")
    asked = contrast.asked(model, target, foil)
    trace = model.trace(prompt)
    slot = readout.only_slot(trace.tokens, position)
    whole = readout.log_probs(trace.logits[0, slot].double())
    about, ids = asked.at(whole), trace.tokens.ids[0].tolist()
    how: By = by or ("mean" if text or task else "zero")
    others = _reference(model, how, text, task, seed)
    values = _stand_ins(model, how, others, chosen, len(ids), samples, seed)
    said = contrasted.named(model, about) | _source(how, others, Path(text).name if text else task, samples)

    def result(found: _Found) -> Ablation:
        tokens, kept = tuple(trace.tokens.labels[0]), _kept(about, whole)
        return Ablation(recipe=trace.recipe, tokens=tokens, position=slot, **said, **kept, **vars(found), top_k=top_k)

    return told(lambda: _removed(_Runs(model, ids, slot, whole, about, values), chosen, top_k), result)


def _kept(about: Contrast, whole: "Tensor") -> dict[str, Any]:
    """What there is with everything in place."""
    probability = float(about.log_probability(whole).exp())
    return {"probability": probability, "lead": float(about.score(whole)) if about.foil else None}


@dataclass(frozen=True)
class _Found:
    """What was removed: each part alone, all at once that help, and how many of these runs are missing."""

    removals: tuple[Removal, ...]
    joint: Removal | None = None
    missing: int = 0


@dataclass(frozen=True)
class _Runs:
    """A prompt that is read at one slot, with what parts of it become."""

    model: "Model"
    ids: list[int]
    slot: int
    whole: "Tensor"
    about: Contrast
    values: "list[StandIn | None]"

    def removals(self, groups: list[list[Site]]) -> tuple[Removal, ...]:
        """Of each group; while they are measured, of those that were."""

        def so_far(logits: "Tensor | None") -> tuple[Removal, ...] | None:
            if logits is None:
                return None
            there = ~logits[:, :, 0].isnan().any(1)
            return self._told(
                [group for group, known in zip(groups, there.tolist(), strict=True) if known], logits[there]
            )

        with telling(so_far):
            found = without(self.model, self.ids, groups, self.slot, self.values)
        return self._told(groups, found)

    def _told(self, groups: list[list[Site]], logits: "Tensor") -> tuple[Removal, ...]:
        log_p = readout.log_probs(logits.double())
        return tuple(
            _removal(self.model, sites, self.about, self.whole, after)
            for sites, after in zip(groups, log_p, strict=True)
        )


def _removed(runs: _Runs, sites: list[Site], top_k: int) -> _Found:
    """Each part alone, and all at once that help."""

    def so_far(alone: tuple[Removal, ...] | None) -> _Found | None:
        return _Found(alone, missing=len(sites) - len(alone) + 1) if alone else None

    with telling(so_far):
        alone = runs.removals([[site] for site in sites])
    least = effects.NOTHING if not runs.about.foil else effects.worth(float(runs.about.score(runs.whole)))
    helpers = [Site.parse(each.sites[0]) for each in _largest(alone, top_k) if each.change <= -least]
    with telling(lambda _: _Found(alone, missing=1)):
        return _Found(alone, runs.removals([helpers])[0] if helpers else None)


def _reference(model: "Model", by: By, text: str | None, task: str | None, seed: int) -> Reference | None:
    """The texts that are named."""
    named = [each for each in (text, task) if each is not None]
    if len(named) != (by != "zero"):
        raise ArgumentError(
            f"by={by!r} with {' and '.join(map(repr, named)) or 'neither text nor task'}",
            "mean and resample need a text or a task, one of them; zero needs neither.",
        )
    if by == "zero":
        return None
    if text is not None:
        rows = [each.ids for each in islice(passages(model, text), _PASSAGES)]
    else:
        rows = [model.tokens(pair.clean).rows[0] for pair in tasks.make(task or "", model, _PAIRS, seed)]
    return Reference(rows, len(before(model.tokenizer)))


def _source(by: By, others: Reference | None, name: str | None, samples: int) -> dict[str, Any]:
    tokens = None if others is None else others.tokens
    return {"by": by, "reference": name, "reference_tokens": tokens, "samples": samples if by == "resample" else None}


def _stand_ins(
    model: "Model", by: By, others: Reference | None, sites: list[Site], length: int, samples: int, seed: int
) -> "list[StandIn | None]":
    """What the parts become, once or for every sample."""
    if others is None:
        return [None]
    if by == "mean":
        return [means(model, others, sites, length)]
    return [*resampled(model, others, sites, length, samples, seed)]


def _removal(model: "Model", sites: list[Site], about: Contrast, before: "Tensor", after: "Tensor") -> Removal:
    """Compares the log-probabilities without some sites, [sample, d_vocab], with those of the plain run."""
    leader = int(after.logsumexp(0).argmax())
    effects = about.log_probability(after) - about.log_probability(before)
    differences = about.score(after) - about.score(before) if about.foil else None
    changes = effects if differences is None else differences
    return Removal(
        sites=tuple(str(site) for site in sites),
        label=", ".join(site.label for site in sites),
        probability=float(about.log_probability(after).exp().mean()),
        effect=float(effects.mean()),
        difference=None if differences is None else float(differences.mean()),
        leads=model.token_label(leader),
        leads_id=leader,
        error=float(changes.std() / len(changes) ** 0.5) if len(changes) > 1 else None,
    )


def _every_part(model: "Model") -> list[Site]:
    heads = [Site(site.name, site.layer, unit) for site in model.sites("z") for unit in range(model.n_heads)]
    return [*heads, *model.sites("mlp_out")]


def _largest(removals: tuple[Removal, ...], top_k: int) -> list[Removal]:
    return sorted(removals, key=lambda removal: -abs(removal.change))[:top_k]
