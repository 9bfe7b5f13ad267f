"""`workflows` of mlxterp under its names: several steps about one answer, with what they say together.

There, heads lost their layer and their number, the attribution was about another token than the patching, and layers
were called confirmed by a step that did nothing. Here what one step claims is checked by the next, with the number;
`workflows.localise` and `workflows.discover` look closer. With `resume` every finished step is kept in a folder, and a
run that was stopped goes on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from fluoroscope.analyses.attribution_patching import AttributionPatching
from fluoroscope.analyses.logit_attribution import LogitAttribution, logit_attribution
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interpretable import recoveries
from fluoroscope.interpretable.causal.attribution import estimates
from fluoroscope.interpretable.causal.circuits import CircuitResult, acdc
from fluoroscope.interpretable.causal.patching import activation_patching
from fluoroscope.interpretable.opened import xray
from fluoroscope.interpretable.patching_results import PatchingResult, both
from fluoroscope.interpretable.recoveries import Own
from fluoroscope.methods import contrast, readout, sweeps
from fluoroscope.methods.ranks import spearman
from fluoroscope.render.text import number, share
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.stepwise import Asks, Journal, Made, Steps, about, make
from fluoroscope.views import View

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model, Prompt

R = TypeVar("R", bound=Result)
W = TypeVar("W", bound="WorkflowResult")

_TOP = 3


class WorkflowResult(Steps):
    """Steps, each a result of its own, and what they say.

    Args:
        narrative: a sentence for each step, and what comes of them together.
        missing: how many steps a cancelled run had not come to.
    """

    narrative: str
    clean: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()
    missing: int = 0

    @property
    def result_type(self) -> str:
        return "workflow"

    @property
    def data(self) -> dict[str, Any]:
        """The results by step."""
        return dict(self.steps)

    @property
    def metadata(self) -> dict[str, Any]:
        """How they were made."""
        names = [name for name, _ in self.steps]
        return {"n_steps": len(names), "steps": names, "clean": self.clean, "corrupted": self.corrupted}

    def summary(self) -> str:
        return self.narrative

    def views(self) -> list[View]:
        """The prompts, then those of all steps, each titled with its step."""
        return both(self.clean, self.corrupted) + [
            view.model_copy(update={"title": f"{name}: {view.title}"})
            for name, step in self.steps
            for view in step.views()
        ]


class BehaviorLocalization(WorkflowResult):
    """Which MLPs, attentions and heads bring an answer back; None for steps that were not asked for."""

    dla: LogitAttribution | None = None
    patch_mlp: PatchingResult | None = None
    patch_attn: PatchingResult | None = None
    patch_heads: PatchingResult | None = None


class CircuitDiscovery(WorkflowResult):
    """Estimates of all heads and MLPs, every head patched, and the circuit; None for steps that were not asked for.

    Args:
        agreement: rank correlation of estimated and patched heads, over all of them; None without both.
    """

    attribution: AttributionPatching | None = None
    activation: PatchingResult | None = None
    acdc: CircuitResult | None = None
    agreement: float | None = None


def behavior_localization(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    metric: str | Own | None = "l2",
    metric_kwargs: Mapping[str, Any] | None = None,
    steps: Sequence[str] = ("dla", "patch_mlp", "patch_attn", "patch_heads"),
    top_k: int = 5,
    verbose: bool = True,
    *,
    resume: str | None = None,
) -> BehaviorLocalization:
    """Attributes the answer to its parts, then patches MLPs, attentions and heads of all layers, at all tokens.

    Args:
        clean: the prompt that is answered as it should be; `corrupted` one of as many tokens.
        metric: as for `activation_patching`, with `metric_kwargs`; the attribution is about the same tokens, or without
            names about the lead of the clean prediction over the corrupted one.
        steps: which of the four.
        top_k: how many parts of each step are named.
        verbose: whether each step's sentence is printed when it is done.
        resume: a folder that keeps each finished step; a run that was stopped goes on from what it holds.

    Raises:
        ArgumentError: an unknown step, `resume` with a metric without a name, and as `activation_patching`.
        ArtifactError: the folder holds something else, or the steps of another run.
    """
    model = xray(model)
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} names nothing", "Give at least 1.")
    work = _Work(model, clean, corrupted, metric, metric_kwargs, top_k)
    patched = partial(activation_patching, model, clean, corrupted, metric=metric, metric_kwargs=metric_kwargs)
    asks: Asks = {
        "dla": (LogitAttribution, work.attributed),
        "patch_mlp": (PatchingResult, partial(patched, component="mlp")),
        "patch_attn": (PatchingResult, partial(patched, component="attn")),
        "patch_heads": (PatchingResult, partial(patched, component="attn_head")),
    }
    journal = work.journal(resume, "behavior_localization", verbose=verbose, top_k=top_k)
    return work.done(BehaviorLocalization, _chosen(asks, steps), journal)


def circuit_discovery(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    metric: str | Own | None = "l2",
    metric_kwargs: Mapping[str, Any] | None = None,
    threshold: float = 0.01,
    steps: Sequence[str] = ("attribution", "activation", "acdc"),
    verbose: bool = True,
    *,
    resume: str | None = None,
) -> CircuitDiscovery:
    """Estimates all heads and MLPs, patches every head, and cuts edges one by one until the circuit is left.

    Args:
        clean: the prompt that is answered as it should be; `corrupted` one of as many tokens.
        metric: as for `activation_patching`, with `metric_kwargs`; attribution needs one with a name.
        threshold: of `acdc`, as a share of the way.
        steps: which of the three; edges of the circuit are paths already, so there is no step for these.
        verbose: whether each step's sentence is printed when it is done.
        resume: as for `behavior_localization`.

    Raises:
        ArgumentError: an unknown step, `resume` with a metric without a name, and as `activation_patching` and `acdc`.
        ArtifactError: as `behavior_localization`.
    """
    model = xray(model)
    work = _Work(model, clean, corrupted, metric, metric_kwargs, _TOP)
    given: dict[str, Any] = {"metric": metric, "metric_kwargs": metric_kwargs}
    heads = partial(activation_patching, model, clean, corrupted, component="attn_head", **given)
    asks: Asks = {
        "attribution": (AttributionPatching, partial(estimates, model, clean, corrupted, metric, metric_kwargs)),
        "activation": (PatchingResult, heads),
        "acdc": (CircuitResult, partial(acdc, model, clean, corrupted, threshold, **given)),
    }
    journal = work.journal(resume, "circuit_discovery", verbose=verbose, threshold=threshold)
    found = work.done(CircuitDiscovery, _chosen(asks, steps), journal)
    if found.attribution is None or found.activation is None:
        return found
    agreement, sentence = _confirmed(found.attribution, found.activation)
    if verbose:
        print(sentence)
    return found.model_copy(update={"agreement": agreement, "narrative": f"{found.narrative} {sentence}"})


class _Told(Journal):
    """A journal whose steps are told as they are there: printed, if that is asked for."""

    def __init__(self, folder: str | None, about: dict[str, Any], tell: Callable[[str, Result], str] | None) -> None:
        super().__init__(folder, about)
        self._tell = tell

    def step(self, name: str, kind: type[R], ask: Callable[[], R]) -> R:
        found = super().step(name, kind, ask)
        if self._tell is not None:
            print(self._tell(name, found))
        return found


@dataclass(frozen=True)
class _Work:
    """What all steps are about; `top` is how many parts a sentence names."""

    model: "Model"
    clean: Any
    corrupted: "Prompt"
    metric: str | Own | None
    words: Mapping[str, Any] | None
    top: int

    def journal(self, folder: str | None, workflow: str, *, verbose: bool, **given: object) -> Journal:
        """Where finished steps are kept, if they are."""
        if folder is not None and not (self.metric is None or isinstance(self.metric, str)):
            raise ArgumentError(
                "functions are not told from one another, so their steps are not kept", "Name a metric."
            )
        words = {name: str(value) for name, value in (self.words or {}).items()}
        said = about(self._recipe(), workflow, metric=self.metric, metric_kwargs=words, **given)
        return _Told(folder, said, self._sentence if verbose else None)

    def done(self, kind: type[W], asks: Asks, journal: Journal) -> W:
        """The steps, with a sentence for each; a cancelled run carries those that it had come to."""
        recipe, texts = self._recipe(), [self._texts(prompt) for prompt in (self.clean, self.corrupted)]

        def result(made: Made) -> W:
            found = {name: step for name, step in made.found.items() if step is not None}
            told = [*(self._sentence(name, step) for name, step in found.items()), *made.refused]
            fields: dict[str, Any] = {"clean": texts[0], "corrupted": texts[1], "missing": made.missing, **found}
            return kind(recipe=recipe, narrative=" ".join(told), **fields)

        causes = dict.fromkeys(asks, ())  # whatever a step cannot do ends the work
        return sweeps.told(lambda: make(journal, asks, "workflow", causes), result)

    def attributed(self) -> LogitAttribution:
        """About the tokens of the metric: those that were named, or what the model says after both prompts."""
        named = {} if recoveries.is_own(self.metric) else recoveries.tokens(dict(self.words or {}))
        ids = {word: readout.token_ids(self.model, token) for word, token in named.items()}
        ends = [int(side[0].argmax()) for side in recoveries.pairs(self.model, self.clean, self.corrupted).logits()]
        target = ids.get("answer", (ends[0],))
        foil = ids.get("foil", () if ends[1] in target else (ends[1],))
        against = contrast.spelled(foil) if foil else None
        return logit_attribution(self.model, self.clean, target=contrast.spelled(target), foil=against, top_k=self.top)

    def _sentence(self, name: str, step: Result) -> str:
        """What a step found: the largest by their names."""
        if not isinstance(step, PatchingResult):
            return f"{name}: {step.summary()}"
        told = share if step.normalised else number
        parts = ", ".join(f"{_label(step.site, key)} {told(value)}" for key, value in step.top_components(self.top))
        return f"{name}: clean values bring back most in {parts}, by {step.metric_name}."

    def _texts(self, prompt: "Prompt") -> tuple[str, ...]:
        return tuple("".join(row) for row in self.model.tokens(prompt).pieces)

    def _recipe(self) -> Any:
        rows = [*self.model.tokens(self.clean).rows, *self.model.tokens(self.corrupted).rows]
        return self.model.recipe(self.model.tokens(rows))


def _chosen(asks: Asks, steps: Sequence[str]) -> Asks:
    """The steps that were asked for."""
    for name in steps:
        if name not in asks:
            raise ArgumentError(f"there is no step {name!r}", nearest(name, asks))
    if not steps:
        raise ArgumentError("no step was asked for", f"Known: {', '.join(asks)}.")
    return {name: ask for name, ask in asks.items() if name in steps}


def _label(site: str, key: Any) -> str:
    return Site(site, *(key if isinstance(key, tuple) else (key,))).label


def _confirmed(estimates: AttributionPatching, patched: PatchingResult) -> tuple[float | None, str]:
    """How far patching confirms what was estimated of heads."""
    kind = next(kind for kind in estimates.kinds if kind.site == "z")
    guessed, exact = torch.tensor(kind.shares, dtype=torch.float64), torch.tensor(patched.effects, dtype=torch.float64)
    agreement = spearman(guessed.flatten(), exact.flatten())
    order = guessed.flatten().abs().argsort(descending=True)[:_TOP].tolist()
    heads = patched.heads or 1
    parts = ", ".join(
        f"{Site('z', *divmod(index, heads)).label} {share(float(guessed.flatten()[index]))} estimated, "
        f"{share(float(exact.flatten()[index]))} patched"
        for index in order
    )
    return (
        agreement,
        f"The heads with the largest estimates, checked: {parts}; over all {exact.numel()} heads the rank "
        + (f"correlation is {number(agreement)}."),
    )
