"""`workflows` of mlxterp under its names: several steps about one answer, with what they say together.

There, heads lost their layer and their number, the attribution was about another token than the patching, and layers
were called confirmed by a step that did nothing. Here what one step claims is checked by the next, with the number;
`workflows.localise` and `workflows.discover` look closer.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from fluoroscope.analyses.attribution_patching import AttributionPatching
from fluoroscope.analyses.logit_attribution import LogitAttribution, logit_attribution
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interpretable import recoveries
from fluoroscope.interpretable.causal.attribution import estimates
from fluoroscope.interpretable.causal.circuits import CircuitResult, acdc
from fluoroscope.interpretable.causal.patching import activation_patching
from fluoroscope.interpretable.opened import xray
from fluoroscope.interpretable.patching_results import PatchingResult
from fluoroscope.interpretable.recoveries import Own
from fluoroscope.methods import contrast, readout
from fluoroscope.methods.ranks import spearman
from fluoroscope.render.text import number, share
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.stepwise import Steps
from fluoroscope.views import View

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model, Prompt

Asks = Mapping[str, Callable[[], Result]]

_TOP = 3


class WorkflowResult(Steps):
    """Steps, each a result of its own, and what they say.

    Args:
        narrative: a sentence for each step, and what comes of them together.
    """

    narrative: str

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
        return {"n_steps": len(self.steps), "steps": [name for name, _ in self.steps]}

    def summary(self) -> str:
        return self.narrative

    def views(self) -> list[View]:
        """Those of all steps, each titled with its step."""
        return [
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
) -> BehaviorLocalization:
    """Attributes the answer to its parts, then patches MLPs, attentions and heads of all layers, at all tokens.

    Args:
        clean: the prompt that is answered as it should be; `corrupted` one of as many tokens.
        metric: as for `activation_patching`, with `metric_kwargs`; the attribution is about the same tokens, or without
            names about the lead of the clean prediction over the corrupted one.
        steps: which of the four.
        top_k: how many parts of each step are named.
        verbose: whether each step's sentence is printed when it is done.

    Raises:
        ArgumentError: an unknown step, and as `activation_patching`.
    """
    model = xray(model)
    patched = partial(activation_patching, model, clean, corrupted, metric=metric, metric_kwargs=metric_kwargs)
    asks: Asks = {
        "dla": lambda: _attributed(model, clean, corrupted, metric, metric_kwargs, top_k),
        "patch_mlp": partial(patched, component="mlp"),
        "patch_attn": partial(patched, component="attn"),
        "patch_heads": partial(patched, component="attn_head"),
    }
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} names nothing", "Give at least 1.")
    found, told = _made(asks, steps, top_k, verbose=verbose)
    return BehaviorLocalization(recipe=_recipe(model, clean, corrupted), narrative=" ".join(told), **found)


def circuit_discovery(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    metric: str | Own | None = "l2",
    metric_kwargs: Mapping[str, Any] | None = None,
    threshold: float = 0.01,
    steps: Sequence[str] = ("attribution", "activation", "acdc"),
    verbose: bool = True,
) -> CircuitDiscovery:
    """Estimates all heads and MLPs, patches every head, and cuts edges one by one until the circuit is left.

    Args:
        clean: the prompt that is answered as it should be; `corrupted` one of as many tokens.
        metric: as for `activation_patching`, with `metric_kwargs`; attribution needs one with a name.
        threshold: of `acdc`, as a share of the way.
        steps: which of the three; edges of the circuit are paths already, so there is no step for these.
        verbose: whether each step's sentence is printed when it is done.

    Raises:
        ArgumentError: an unknown step, and as `activation_patching` and `acdc`.
    """
    model = xray(model)
    given: dict[str, Any] = {"metric": metric, "metric_kwargs": metric_kwargs}
    asks: Asks = {
        "attribution": partial(estimates, model, clean, corrupted, metric, metric_kwargs),
        "activation": partial(activation_patching, model, clean, corrupted, component="attn_head", **given),
        "acdc": partial(acdc, model, clean, corrupted, threshold, **given),
    }
    found, told = _made(asks, steps, _TOP, verbose=verbose)
    agreement = None
    if found.get("attribution") and found.get("activation"):
        agreement, sentence = _confirmed(found["attribution"], found["activation"])
        told.append(sentence)
        if verbose:
            print(sentence)
    recipe = _recipe(model, clean, corrupted)
    return CircuitDiscovery(recipe=recipe, narrative=" ".join(told), agreement=agreement, **found)


def _made(asks: Asks, steps: Sequence[str], top: int, *, verbose: bool) -> tuple[dict[str, Any], list[str]]:
    """The steps that were asked for, and a sentence for each."""
    for name in steps:
        if name not in asks:
            raise ArgumentError(f"there is no step {name!r}", nearest(name, asks))
    if not steps:
        raise ArgumentError("no step was asked for", f"Known: {', '.join(asks)}.")
    found: dict[str, Any] = {}
    told: list[str] = []
    for name in filter(steps.__contains__, asks):
        found[name] = asks[name]()
        told.append(_sentence(name, found[name], top))
        if verbose:
            print(told[-1])
    return found, told


def _sentence(name: str, step: Result, top: int) -> str:
    """What a step found: the largest by their names."""
    if not isinstance(step, PatchingResult):
        return f"{name}: {step.summary()}"
    told = share if step.normalised else number
    parts = ", ".join(f"{_label(step.site, key)} {told(value)}" for key, value in step.top_components(top))
    return f"{name}: clean values bring back most in {parts}, by {step.metric_name}."


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


def _attributed(
    model: "Model",
    clean: Any,
    corrupted: "Prompt",
    metric: str | Own | None,
    words: Mapping[str, Any] | None,
    top_k: int,
) -> LogitAttribution:
    """About the tokens of the metric: those that were named, or what the model says after both prompts."""
    named = {} if recoveries.is_own(metric) else recoveries.tokens(dict(words or {}))
    ids = {word: readout.token_ids(model, token) for word, token in named.items()}
    ends = [int(side[0].argmax()) for side in recoveries.pairs(model, clean, corrupted).logits()]
    target = ids.get("answer", (ends[0],))
    foil = ids.get("foil", () if ends[1] in target else (ends[1],))
    against = contrast.spelled(foil) if foil else None
    return logit_attribution(model, clean, target=contrast.spelled(target), foil=against, top_k=top_k)


def _recipe(model: "Model", clean: "Prompt", corrupted: "Prompt") -> Any:
    return model.recipe(model.tokens([*model.tokens(clean).rows, *model.tokens(corrupted).rows]))
