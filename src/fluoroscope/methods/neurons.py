"""What a neuron writes, read as tokens: its row of W_out through the gains of the norms behind it and the unembedding.

The "logit lens" of a neuron (nostalgebraist 2020; Geva et al. 2022, "Transformer Feed-Forward Layers Build Predictions
by Promoting Concepts in the Vocabulary Space"). The scale of the norms is that of no particular run, so it is ignored:
the numbers compare tokens and neurons, they are no logits.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import shares
from fluoroscope.errors import UnavailableError
from fluoroscope.norms import FrozenNorm, frozen

if TYPE_CHECKING:
    from fluoroscope.model import Model


def lens(model: "Model", layer: int, units: Sequence[int]) -> Float[Tensor, "unit d_vocab"]:
    """What one unit of activation of each neuron adds to every logit, were every norm's scale 1; float32 or better.

    Means are taken off where the norms take them off; an own norm of the MLP gives its gain as well.

    Raises:
        UnavailableError: a weight cannot be read exactly, or the final norm is of another kind.
    """
    for key in ("frozen_norm", "unembed"):
        if (key, None) in model.unavailable:
            raise UnavailableError(f"neurons cannot be read as tokens: {model.unavailable[key, None]}")
    arch, unembedding = model.architecture, model.weights["W_U"]
    rows = model.weights[f"W_out.{layer}"][list(units)]
    wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
    rows = rows.to(wide)
    own = shares.post_norm(model, layer, "mlp")
    if own is not None:
        rows = _gain_alone(frozen(arch, own, rows)).scaled(rows)
    rows = _gain_alone(model.final_norm(rows)).scaled(rows * arch.residual_multiplier)
    return rows @ unembedding.to(wide) * arch.logit_multiplier


def _gain_alone(norm: FrozenNorm) -> FrozenNorm:
    return replace(norm, inverse=torch.ones_like(norm.inverse))
