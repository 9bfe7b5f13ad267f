"""The averaged Jacobian from a depth of the stream to its end: what a direction will have become, to first order.

weight[depth] = E[∂ final stream / ∂ stream at the depth], over the tokens of a text: of the token itself, or of it and
every later one of its row, which asks what a stream disposes the model to say now or later. Unlike a tuned lens it is
fitted to no prediction, so it cannot learn what the model does not compute.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.methods import corpus
from fluoroscope.methods.translators import Translators, depth_sites
from fluoroscope.progress import report

if TYPE_CHECKING:
    from fluoroscope.model import Model

KIND = "jacobian"
TOKENS_AT_ONCE = 1024

Reach = Literal["same", "later"]
"""`same`: each row gives one token, chosen by the seed. `later`: each row gives every pair of a token and a later one,
itself included."""


def fit(
    model: "Model", rows: list[list[int]], meta: dict[str, Any], reach: Reach, seed: int
) -> tuple[Translators, list[float]]:
    """The lens, and per depth the cosine between the Jacobians of the even and of the odd batches of rows.

    One backward pass per entry of the stream and batch; all depths share it. Where there is one batch only, it is cut
    in two. The cosine is 1 where the average no longer depends on the text.
    """
    sites = depth_sites(model.n_layers)
    groups = list(corpus.batches(rows, min(TOKENS_AT_ONCE, max(1, sum(map(len, rows)) // 2))))
    halves = torch.zeros(2, model.n_layers, model.d_model, model.d_model, dtype=torch.float64)
    counts = [0, 0]
    generator = torch.Generator().manual_seed(seed)
    for number, group in enumerate(groups):
        report("jacobian lens", number, len(groups))
        found, count = _sums(model, group, sites, reach, generator)
        halves[number % 2] += found
        counts[number % 2] += count
    report("jacobian lens", len(groups), len(groups))
    weight = halves.sum(0) / sum(counts)
    shape = (model.n_layers, model.d_model)
    lens = Translators(weight.float(), torch.zeros(shape), meta | {"kind": KIND, "reach": reach})
    agreement = torch.nn.functional.cosine_similarity(*halves.flatten(2), dim=-1)
    return lens, agreement.tolist()


def _sums(
    model: "Model", group: list[list[int]], sites: list[str], reach: Reach, generator: torch.Generator
) -> tuple[Float[Tensor, "depth d_model d_model"], int]:
    """Sums of the Jacobians [in, out] over the pairs of tokens of some rows, and how many pairs these are."""
    trace = model.trace(group, sites=sites, logits=False, grad=True)
    streams, final = [trace[site] for site in sites[:-1]], trace[sites[-1]]
    chosen, pairs = _chosen(trace.tokens.mask, reach, generator)
    found = torch.zeros(len(streams), model.d_model, model.d_model, dtype=torch.float64)
    for entry in range(model.d_model):
        last = entry == model.d_model - 1
        gradients = torch.autograd.grad(final[..., entry][chosen].sum(), streams, retain_graph=not last)
        for depth, gradient in enumerate(gradients):
            found[depth, :, entry] = gradient[chosen].double().sum(0).cpu()
    return found, pairs


def _chosen(
    mask: Bool[Tensor, "batch pos"], reach: Reach, generator: torch.Generator
) -> tuple[Bool[Tensor, "batch pos"], int]:
    """The tokens to read from and at, and the number of pairs; a token never depends on a later one."""
    lengths = mask.sum(-1).tolist()
    if reach == "later":
        return mask, sum(length * (length + 1) // 2 for length in lengths)
    chosen = torch.zeros_like(mask)
    for row, length in enumerate(lengths):
        place = int(torch.randint(length, (), generator=generator))
        chosen[row, mask[row].nonzero()[place]] = True
    return chosen, len(lengths)
