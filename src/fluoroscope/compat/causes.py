"""Which layers, heads, MLPs and neurons a prediction hangs on: the values of one prompt put into the run of another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from fluoroscope.compat import model_loader
from fluoroscope.compat.model_loader import ModelInspector, layer_site, opened
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interventions import at, replace
from fluoroscope.methods import ablation, patching, readout
from fluoroscope.methods.patching import Metric
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch
from fluoroscope.sites import Site
from fluoroscope.variants import Variant, held

if TYPE_CHECKING:
    from fluoroscope.model import Model

Direction = Literal["corrupted_into_clean", "clean_into_corrupted"]

_CANDIDATES = 4


def activation_patch_experiment(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    clean_prompt: str,
    corrupted_prompt: str,
    layer_name: str | int,
    position: int = -1,
    direction: Direction = "corrupted_into_clean",
) -> dict[str, Any]:
    """One layer's value at one token of one prompt, put into the run of the other.

    Returns:
        `clean_logits`, `corrupted_logits`, `patched_logits` [1, pos, d_vocab], `effect` as `layer_patching` measures
        it, and what was asked for.

    Raises:
        ArgumentError: another direction, or prompts that end in the same prediction.
        SiteError: there is no such layer.
        TokenError: a prompt has no such token.
    """
    with opened(model, tokenizer) as found:
        site = layer_site(found, layer_name)
        if site.unit is not None or site.kind.position_axis != 1:
            raise ArgumentError(
                f"{layer_name!r} is no vector per token", "Name a layer, or what is added to the stream."
            )
        traces = {
            name: found.trace(text, sites=[site])
            for name, text in (("clean", clean_prompt), ("corrupted", corrupted_prompt))
        }
        base, donor = (traces[name] for name in _order(direction))
        slot = readout.only_slot(donor.tokens, position)
        patch = at(replace(donor[site][0, slot]), readout.only_slot(base.tokens, position))
        logits = found.trace(base.tokens, edits={site: patch}).logits
        share = float(patching.shares(logits[:, -1], base.logits[0, -1], donor.logits[0, -1])[0])
    return {
        "clean_logits": traces["clean"].logits,
        "corrupted_logits": traces["corrupted"].logits,
        "patched_logits": logits,
        "effect": share,
        "clean_prompt": clean_prompt,
        "corrupted_prompt": corrupted_prompt,
        "layer": layer_name,
        "position": position,
        "direction": direction,
    }


def layer_patching(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    clean_prompt: str,
    corrupted_prompt: str,
    layers_to_test: Sequence[int] | None = None,
    direction: Direction = "corrupted_into_clean",
) -> dict[int, float]:
    """How far the last token's stream behind each layer, put into the other run, moves the prediction at the end.

    1 - KL(donor ‖ patched) / KL(donor ‖ base): 0 is nothing, 1 is all the way to the prompt that it came from, as the
    last layer always goes; below 0 is away from both. Prompts may differ in length, for only their ends are used.

    Raises:
        ArgumentError: another direction, or prompts that end in the same prediction.
        SiteError: there is no such layer.
    """
    with opened(model, tokenizer) as found:
        layers = model_loader.layer_numbers(found, layers_to_test)
        sites = [Site("resid_post", layer) for layer in layers]
        return dict(zip(layers, _effects(found, clean_prompt, corrupted_prompt, sites, direction, True), strict=True))


path_patching = layer_patching
"""The original's name for `layer_patching`; paths between nodes are in `methods.path_patching`."""


class CausalTracer:
    """Which heads and MLPs carry what two prompts of equal length differ in."""

    def __init__(self, model: "nn.Module | Model | ModelInspector", tokenizer: Any = None) -> None:
        self.model = model
        self.tokenizer = tokenizer

    def trace_attention_heads(
        self,
        clean_prompt: str,
        corrupted_prompt: str,
        metric_fn: Metric | None = None,
        direction: Direction = "corrupted_into_clean",
    ) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The effect of each head, [layer, head], its output at every token put into the other run.

        Args:
            metric_fn: logits at the end [batch, d_vocab] to one score per row; the effect is then the share of the
                way from the one prompt's score to the other's. Without it as `layer_patching` measures.

        Raises:
            ArgumentError: prompts of unequal length, or that do not differ in what is measured.
            UnavailableError: the heads of this model cannot be read.
        """
        with opened(self.model, self.tokenizer) as model:
            layers = range(model.n_layers)
            sites = [model.site(Site("z", layer, head)) for layer in layers for head in range(model.n_heads)]
            found = _effects(model, clean_prompt, corrupted_prompt, sites, direction, False, metric_fn)
            return np.array(found).reshape(model.n_layers, model.n_heads)

    def trace_mlp_layers(
        self,
        clean_prompt: str,
        corrupted_prompt: str,
        metric_fn: Metric | None = None,
        direction: Direction = "corrupted_into_clean",
    ) -> dict[int, float]:
        """The effect of what each MLP adds, at every token; as for heads."""
        with opened(self.model, self.tokenizer) as model:
            sites = model.sites("mlp_out")
            found = _effects(model, clean_prompt, corrupted_prompt, sites, direction, False, metric_fn)
            return {site.layer or 0: effect for site, effect in zip(sites, found, strict=True)}


def compute_feature_attribution(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    prompt: str,
    layer_name: str | int,
    position: int = -1,
    n_features: int = 10,
) -> list[tuple[int, float]]:
    """The MLP neurons of a layer whose zero at one token costs the prediction there most, with the logits it costs.

    Candidates are chosen by activation x gradient, the first order of it; the cost of each is then measured.

    Raises:
        ArgumentError: `n_features` below 1.
        UnavailableError: the layer has no neurons that can be read.
    """
    if n_features < 1:
        raise ArgumentError(f"n_features={n_features} names nothing", "Give at least 1.")
    with opened(model, tokenizer) as found:
        site = found.site(Site("neurons", layer_site(found, layer_name).layer))
        trace = found.trace(prompt, sites=[site], grad=True)
        slot = readout.only_slot(trace.tokens, position)
        token = int(trace.logits[0, slot].argmax())
        logit = trace.logits[0, slot, token]
        gradient = torch.autograd.grad(logit, trace[site])[0][0, slot]
        first = (gradient * trace[site][0, slot]).detach().abs()
        units = first.topk(min(_CANDIDATES * n_features, len(first))).indices.tolist()
        variants = [[Site("neurons", site.layer, unit)] for unit in units]
        index = trace.tokens.rows[0]
        with torch.no_grad():
            traces = ablation.traces_without(found, index, variants, positions=slot)
            costs = torch.cat([float(logit) - each.logits[:, slot, token] for each in traces]).tolist()
    found_costs: list[tuple[int, float]] = list(zip(units, costs, strict=True))
    return sorted(found_costs, key=lambda pair: -abs(pair[1]))[:n_features]


def _order(direction: str) -> tuple[str, str]:
    """(the prompt that is run, the one whose values are put into it)."""
    known = {"corrupted_into_clean": ("clean", "corrupted"), "clean_into_corrupted": ("corrupted", "clean")}
    if direction not in known:
        raise ArgumentError(f"unknown direction {direction!r}", nearest(direction, known))
    return known[direction]


def _effects(
    model: "Model",
    clean: str,
    corrupted: str,
    sites: Sequence[Site],
    direction: Direction,
    last: bool,
    metric: Metric | None = None,
) -> list[float]:
    """The effect of each site of one run put into the other, at the last token or at all."""
    texts = {"clean": clean, "corrupted": corrupted}
    ids = [model.tokens(texts[name]).rows[0] for name in _order(direction)]
    here, there = map(len, ids)
    if not last and here != there:
        raise ArgumentError(f"the prompts have {here} and {there} tokens", "Give prompts of equal length.")
    replay = Replay(model, ids, sorted({site.whole for site in sites}))
    slots = ((here - 1,), (there - 1,)) if last else (tuple(range(here)),) * 2
    variants = [Variant(patches=[Patch(s, slots[0], held(replay.trace, s, 1, slots[1]))]) for s in sites]
    base, donor = replay.base_logits()[:, 0]
    found = base.repeat(len(sites), 1)
    for indices, logits in replay.logits(variants):
        found[indices] = logits[:, 0]
    return patching.shares(found, base, donor, metric).tolist()
