"""Ablation of a direction: nothing that is written into the residual stream keeps its own part along it.

Arditi et al. 2024, "Refusal in Language Models Is Mediated by a Single Direction": the embedding and everything that a
block adds lose their part, so that the stream has none at any depth. Zero may be far from what texts without the
behaviour have there; their mean is neutral ground (Marshall et al. 2024, "Refusal in LLMs is an Affine Function").
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention
from fluoroscope.methods.directions import Reading, states
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model


def writers(model: "Model") -> list[Site]:
    """Every site that writes into the stream: the embedding, and what attention and MLP of each block add.

    Raises:
        ArgumentError: a part of this model cannot be edited.
    """
    layers = range(model.n_layers)
    found = [Site("resid_pre", 0), *(Site(name, layer) for layer in layers for name in ("attn_out", "mlp_out"))]
    missing = [str(site) for site in found if (site.name, site.layer) in model.unavailable]
    if missing:
        raise ArgumentError(
            f"{model.name} does not offer {', '.join(missing[:3])}: no direction can be taken out of all that writes",
            "Add it, or take it out of resid_post of one layer.",
        )
    return found


def levelled(unit: Float[Tensor, "d_model"], level: float = 0.0) -> Intervention:
    """Sets the part of a value along a direction of length 1 to `level`; 0 projects it out."""

    def function(value: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        axis = unit.to(value)
        return value + (level - value @ axis)[..., None] * axis

    function.__name__ = function.__qualname__ = f"levelled({list(unit.shape)}, {level:g})"
    return function


def ablated(
    model: "Model", unit: Float[Tensor, "d_model"], ground: Mapping[Site, Float[Tensor, "d_model"]] | None = None
) -> dict[str | Site, Intervention]:
    """The edits for `Model.trace` and `Model.generate` that take a direction out of all that writes into the stream.

    Args:
        unit: of length 1.
        ground: of each writer what it is to have along the direction, as `means` gives it; without it nothing.

    Raises:
        ArgumentError: as `writers`, or a direction of another length.
    """
    if abs(float(unit.double().norm()) - 1) > 1e-3:
        raise ArgumentError(
            f"a direction of length {float(unit.norm()):.4g} cannot be projected out", "Pass its .unit."
        )
    held = {} if ground is None else {site: float(mean @ unit.to(mean)) for site, mean in ground.items()}
    return {site: levelled(unit, held.get(site, 0.0)) for site in writers(model)}


def means(model: "Model", texts: Sequence[str], reading: Reading = "last") -> dict[Site, Float[Tensor, "d_model"]]:
    """What every writer adds on average over texts, in float64: neutral ground where these have not the behaviour."""
    sites = writers(model)
    found = states(model, texts, sites, reading).mean(1)
    return dict(zip(sites, found, strict=True))


@torch.no_grad()
def starts(
    model: "Model", texts: Sequence[str], edits: "Mapping[str | Site, Intervention] | None" = None
) -> Float[Tensor, "text d_vocab"]:
    """Logits of the token that follows each text, under edits; several texts share a pass."""
    rows = [model.tokens(text).rows[0] for text in texts]
    found: list[Tensor] = []
    for start in range(0, len(rows), _ROWS):
        trace = model.trace(rows[start : start + _ROWS], edits=edits)
        row = torch.arange(trace.tokens.batch, device=trace.logits.device)
        found.append(trace.logits[row, trace.tokens.last])
    return torch.cat(found)


_ROWS = 64
