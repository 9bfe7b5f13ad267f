"""The logit as an exact sum over embeddings, heads (or what each reads where), MLPs (or neurons), and biases.

This is direct logit attribution. The final norm is frozen at the statistics of the actual run, its gain and bias are
folded, and every bias has a name, so the parts sum to the logit (Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"). Softcapped models: the sum is the logit before the cap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import shares
from fluoroscope.errors import UnavailableError
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

Grain = Literal["head", "layer", "neuron", "source"]
"""Attention by layer, by head, or by head and source token; the MLP by layer, or by head and neuron where the block has
them (experts stay whole)."""

Name = tuple[str, Site | None, int | None]
"""Name, site and source of a part, as in `Part`."""


@dataclass(frozen=True)
class Part:
    """One addend of a logit.

    Args:
        name: canonical site, or the name of a bias (`b_O.3`, `b_norm`, `b_U`); `z.3.1@4` is what a head read at slot 4.
        site: None for a bias.
        layer: block that adds it; -1 for embeddings, n_layers for the final norm's and unembedding's biases.
        value: in logits.
        source: the slot that a head read this from; None for whole parts.
    """

    name: str
    site: Site | None
    layer: int
    value: float
    source: int | None = None

    @property
    def label(self) -> str:
        """Its name for people."""
        where = "" if self.source is None else f"@{self.source}"
        return self.site.label + where if self.site else self.name


def sites_needed(model: "Model", grain: Grain) -> list[str]:
    """What a trace must keep to be decomposed."""
    embeddings = ["embed", *(["pos_embed"] if model.architecture.pos_embed else [])]
    # z, though unused, is refused where it is not pattern @ v.
    attention = {"layer": ["attn_out.*"], "source": ["pattern.*", "v.*", "z.*"]}.get(grain, ["z.*"])
    split = {site.layer for site in model.sites("neurons")} if grain == "neuron" else set[int | None]()
    mlps = [f"{'neurons' if layer in split else 'mlp_out'}.{layer}" for layer in range(model.n_layers)]
    normed = [] if model.architecture.softcap is None else ["final_norm"]
    return [*embeddings, *attention, *mlps, f"resid_post.{model.n_layers - 1}", *normed]


def decompose(
    model: "Model", trace: Trace, slot: int, weights: Float[Tensor, "d_vocab"], grain: Grain = "head", row: int = 0
) -> list[Part]:
    """Parts of sum_t weights[t] * logit[t] (before any softcap) at one position, in the order of computation.

    Args:
        trace: keeps `sites_needed`.
        slot: position along the padded sequence.
        weights: +1 at a target and -1 at a foil, say; any linear combination of logits.

    Raises:
        UnavailableError: a norm or weight whose formula does not reproduce the module, so no exact sum exists.
    """
    _check(model)
    unembedding = model.weights["W_U"]
    chosen = weights.to(unembedding.device).nonzero()[:, 0]
    coefficients = weights.to(unembedding.device)[chosen].double() * model.architecture.logit_multiplier
    direction = unembedding[:, chosen].double() @ coefficients
    parts = [
        Part(name, site, layer, number, source)
        for names, layer, vectors in normed(model, trace, slot, grain, row)
        for (name, site, source), number in zip(names, (vectors @ direction).tolist(), strict=True)
    ]
    bias = model.weights.get("b_U")
    if bias is not None:
        parts.append(Part("b_U", None, model.n_layers, float(bias[chosen].double() @ coefficients)))
    return parts


def normed(
    model: "Model", trace: Trace, slot: int, grain: Grain = "head", row: int = 0
) -> Iterator[tuple[list[Name], int, Float[Tensor, "vector d_model"]]]:
    """What the final norm, frozen as it was, makes of each addend: (name, site, source) of vectors, and their layer.

    In float64 and in the order of computation; all of them sum to `final_norm`, what the unembedding reads.

    Raises:
        UnavailableError: a norm or weight whose formula does not reproduce the module, so no exact sum exists.
    """
    _check(model)
    last = Site("resid_post", model.n_layers - 1)
    norm = model.final_norm(trace[last][row, slot].double())
    for bias, whole, layer, value in _addends(model, trace, slot, grain, row):
        yield _units(bias, whole, value), layer, norm.scaled(value.double()).reshape(-1, value.shape[-1])
    if norm.bias is not None:
        yield [("b_norm", None, None)], model.n_layers, norm.bias.double()[None]


def _check(model: "Model") -> None:
    for key in ("frozen_norm", "unembed"):
        if (key, None) in model.unavailable:
            raise UnavailableError(f"no exact decomposition: {model.unavailable[key, None]}")


def _units(bias: str, site: Site | None, value: Tensor) -> list[Name]:
    """Name, site and source of each vector, in the order in which `value` holds them."""
    if site is None or value.dim() == 1:
        return [(str(site or bias), site, None)]
    units = [Site(site.name, site.layer, unit) for unit in range(len(value))]
    if value.dim() == 2:
        return [(str(unit), unit, None) for unit in units]
    return [(f"{unit}@{source}", unit, source) for unit in units for source in range(value.shape[1])]


def _addends(
    model: "Model", trace: Trace, slot: int, grain: Grain, row: int
) -> Iterator[tuple[str, Site | None, int, Tensor]]:
    """(name of a bias, site, layer, vector, or one per unit, or per unit and source) of all that the stream sums."""
    for name in ("embed", "pos_embed"):
        if Site(name) in trace.values:
            yield name, Site(name), -1, trace[name][row, slot]
    for layer in range(model.n_layers):
        if grain == "layer":
            yield "", Site("attn_out", layer), layer, trace[f"attn_out.{layer}"][row, slot]
        else:
            split, bias = _attention(model, trace, layer, slot, grain, row)
            yield "", Site("z", layer), layer, split
            if bias is not None:
                yield f"b_O.{layer}", None, layer, bias
        if grain == "neuron" and Site("neurons", layer) in trace.values:
            split, bias = shares.neurons(model, layer, trace[f"neurons.{layer}"][row, slot].double())
            yield "", Site("neurons", layer), layer, split
            if bias is not None:
                yield f"b_out.{layer}", None, layer, bias
        else:
            yield "", Site("mlp_out", layer), layer, trace[f"mlp_out.{layer}"][row, slot]


def _attention(
    model: "Model", trace: Trace, layer: int, slot: int, grain: Grain, row: int
) -> tuple[Tensor, Tensor | None]:
    """Shares of the heads, or of the heads by the slots that they can read, padding left out; and that of no head."""
    if grain != "source":
        return shares.heads(model, layer, trace[f"z.{layer}"][row, slot].double())
    pattern, v = trace[f"pattern.{layer}"][row, :, slot, : slot + 1], trace[f"v.{layer}"][row, :, : slot + 1]
    return shares.sources(model, layer, pattern.double(), v.double())


def linear_logit(model: "Model", trace: Trace, slot: int, weights: Float[Tensor, "d_vocab"], row: int = 0) -> float:
    """The model's own sum_t weights[t] * logit[t] at a position, before any softcap."""
    head = model.hf.get_submodule(model.architecture.lm_head)
    chosen = weights.nonzero()[:, 0]
    if model.architecture.softcap is None:
        return float(trace.logits[row, slot, chosen].double() @ weights[chosen].double().to(trace.logits.device))
    with torch.no_grad():
        logits = head(trace["final_norm"][row, slot]) * model.architecture.logit_multiplier
    return float(logits[chosen].double() @ weights[chosen].double().to(logits.device))
