"""What a position already says about tokens further ahead: linear maps to the final streams of later positions.

Pal et al. 2023, "Future Lens: Anticipating Subsequent Tokens from a Single Hidden State": for every depth and distance
the affine map that brings the stream at t nearest to the final stream at t + distance, by least squares, read by the
model's own output head. At distance 0 it is a linear lens on the next token. The maps are found in closed form, with a
ridge that is a share of the mean variance.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods import corpus, readout
from fluoroscope.methods.translators import TOKENS_AT_ONCE, depth_sites
from fluoroscope.progress import report

if TYPE_CHECKING:
    from fluoroscope.model import Model

KIND = "future"
RIDGE = 1e-3


@torch.no_grad()
def fit(
    model: "Model", rows: list[list[int]], distances: int
) -> tuple[Float[Tensor, "distance depth d_model d_model"], Float[Tensor, "distance depth d_model"]]:
    """Weights and biases for the distances 0 … distances - 1 and every depth, the last one included."""
    size, depths = model.d_model + 1, model.n_layers + 1
    squares = torch.zeros(distances, depths, size, size, dtype=torch.float64)
    products = torch.zeros(distances, depths, size, model.d_model, dtype=torch.float64)
    total, done = sum(map(len, rows)), 0
    for group in corpus.batches(rows, TOKENS_AT_ONCE):
        report("future lens", done, total)
        for distance, depth, x, final, _ in _pairs(model, group, distances):
            wide = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
            squares[distance, depth] += (wide.T @ wide).double().cpu()
            products[distance, depth] += (wide.T @ final).double().cpu()
        done += sum(map(len, group))
    report("future lens", total, total)
    ridge = torch.eye(size, dtype=torch.float64)
    ridge[-1, -1] = 0
    variance = squares.diagonal(dim1=-2, dim2=-1)[..., :-1].mean(-1)
    found = torch.linalg.solve(squares + RIDGE * variance[..., None, None] * ridge, products)
    return found[..., :-1, :].float(), found[..., -1, :].float()


@dataclass(frozen=True)
class Foresight:
    """How well a depth foresees at a distance, on rows that the fit did not see.

    Args:
        predicted: share of positions where its likeliest token is the model's own, at the later position.
        surprisal: its cross-entropy on the token that really stands there, in nats.
    """

    site: str
    distance: int
    predicted: float
    surprisal: float


@torch.no_grad()
def judge(model: "Model", weight: Tensor, bias: Tensor, rows: list[list[int]]) -> list[Foresight]:
    """Every depth and distance on rows of their own; distances without a single pair are left out."""
    sites, distances = depth_sites(model.n_layers), len(weight)
    sums = torch.zeros(4, distances, len(sites), dtype=torch.float64)
    for group in corpus.batches(rows, TOKENS_AT_ONCE):
        for distance, depth, x, final, ids in _pairs(model, group, distances):
            log_p = readout.log_probs(model.unembed(apply(weight[distance, depth], bias[distance, depth], x)))
            agrees = (log_p.argmax(-1) == model.unembed(final).argmax(-1)).sum().item()
            known = ids >= 0
            loss = -log_p[known].gather(-1, ids[known][:, None]).sum().item()
            sums[:, distance, depth] += torch.tensor([agrees, len(x), loss, known.sum().item()], dtype=torch.float64)
    predicted, surprisal = sums[0] / sums[1], sums[2] / sums[3]
    return [
        Foresight(site, distance, float(predicted[distance, depth]), float(surprisal[distance, depth]))
        for distance in range(distances)
        for depth, site in enumerate(sites)
        if sums[3, distance, depth] > 0
    ]


def apply(
    weight: Float[Tensor, "d_model d_model"], bias: Float[Tensor, "d_model"], stream: Float[Tensor, "... d_model"]
) -> Float[Tensor, "... d_model"]:
    """The final stream that a stream announces."""
    return (stream.float() @ weight.to(stream.device) + bias.to(stream.device)).to(stream.dtype)


def _pairs(model: "Model", group: list[list[int]], distances: int) -> Iterator[tuple[int, int, Tensor, Tensor, Tensor]]:
    """(distance, depth, streams at t, final streams at t + distance, the token behind these or -1) of some rows."""
    sites = depth_sites(model.n_layers)
    trace = model.trace(group, sites=sites, logits=False)
    mask, ids = trace.tokens.mask, trace.tokens.ids
    after = torch.cat([ids[:, 1:].masked_fill(~mask[:, 1:], -1), torch.full_like(ids[:, :1], -1)], dim=1)
    for distance in range(min(distances, mask.shape[1])):
        end = mask.shape[1] - distance
        both = mask[:, :end] & mask[:, distance:]
        if not bool(both.any()):
            continue
        final, later = trace[sites[-1]][:, distance:][both], after[:, distance:][both]
        for depth, site in enumerate(sites):
            yield distance, depth, trace[site][:, :end][both], final, later
