"""How much each token of a prompt matters to a number that the model computes, by gradients at the token embeddings.

Input x gradient is the first-order effect of removing a token's embedding. Integrated gradients (Sundararajan et al.
2017, "Axiomatic Attribution for Deep Networks") follow the gradient from a baseline to the prompt; by completeness they
sum to the change of the number on the way, up to the error of the integral, which is measured. Both through Captum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope.errors import UnavailableError
from fluoroscope.interventions import replace
from fluoroscope.progress import report

if TYPE_CHECKING:
    from fluoroscope.model import Model

Baseline = Literal["mean", "zero"]
"""The mean of all token embeddings, or none at all."""

Metric = Callable[[Float[Tensor, "batch d_vocab"]], Float[Tensor, "batch"]]

MOST_STEPS = 1024
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class Integrated:
    """What the path from the baseline to the prompt adds.

    Args:
        by_token: per token of the prompt.
        start: the metric at the baseline.
        end: the metric at the prompt.
        steps: points of the Gauss-Legendre rule.
    """

    by_token: Float[Tensor, "pos"]
    start: float
    end: float
    steps: int

    @property
    def error(self) -> float:
        """What the tokens sum to beyond the change of the metric."""
        return float(self.by_token.sum()) - (self.end - self.start)


def input_times_gradient(model: "Model", ids: Int[Tensor, "pos"], slot: int, metric: Metric) -> Float[Tensor, "pos"]:
    """Embedding · gradient, summed over its entries, per token."""
    embeddings = model.trace(ids[None], sites=["embed"], logits=False)["embed"].detach()
    attribution = _captum().InputXGradient(_forward(model, ids, slot, metric))
    return attribution.attribute(embeddings.requires_grad_())[0].sum(-1).detach()


def integrated(
    model: "Model", ids: Int[Tensor, "pos"], slot: int, metric: Metric, baseline: Baseline, steps: int, within: float
) -> Integrated:
    """Integrated gradients; the steps double until the error is `within` a share of the change, up to 1024.

    Raises:
        UnavailableError: the mean embedding is asked for, of a model that norms or projects its embedding.
    """
    forward = _forward(model, ids, slot, metric)
    embeddings = model.trace(ids[None], sites=["embed"], logits=False)["embed"].detach()
    start = torch.zeros_like(embeddings)
    if baseline == "mean":
        start += _mean(model, ids, embeddings[0])
    with torch.no_grad():
        ends = [float(forward(value)) for value in (start, embeddings)]
    while True:
        report("integrated gradients", steps, None)
        found = _captum().IntegratedGradients(forward).attribute(
            embeddings, start, n_steps=steps, method="gausslegendre", internal_batch_size=ROWS_AT_ONCE
        )  # fmt: skip
        result = Integrated(found[0].sum(-1).detach(), ends[0], ends[1], steps)
        if abs(result.error) <= within * abs(ends[1] - ends[0]) or steps * 2 > MOST_STEPS:
            return result
        steps *= 2


def _forward(model: "Model", ids: Int[Tensor, "pos"], slot: int, metric: Metric) -> Callable[[Tensor], Tensor]:
    """The metric as a function of what the token embedding adds."""

    def forward(embeddings: Float[Tensor, "batch pos d_model"]) -> Float[Tensor, "batch"]:
        rows = ids.expand(len(embeddings), -1)
        grad = torch.is_grad_enabled()
        return metric(model.trace(rows, edits={"embed": replace(embeddings)}, grad=grad).logits[:, slot])

    return forward


def _mean(model: "Model", ids: Int[Tensor, "pos"], added: Float[Tensor, "pos d_model"]) -> Float[Tensor, "d_model"]:
    """The mean of what any token adds: of the embedding's rows, times the factor that the family puts on them.

    Raises:
        UnavailableError: what tokens add is not their row but for a factor.
    """
    table = model.weights["W_E"].to(added.dtype)
    rows = table[ids].double()
    factor = float((added.double() * rows).sum() / rows.square().sum())
    missed = (added.double() - factor * rows).norm() / added.double().norm()
    if not float(missed) < 64 * torch.finfo(added.dtype).eps:
        raise UnavailableError(
            f"what a token adds to the stream of {model.name} is not W_E but for a factor, so it has no mean",
            "Begin at baseline='zero'.",
        )
    return table.mean(0) * factor


def _captum() -> Any:
    try:
        import captum.attr
    except ImportError as error:
        raise UnavailableError("gradient attribution needs captum", "pip install fluoroscope[gradients]") from error
    return captum.attr
