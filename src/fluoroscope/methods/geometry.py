"""How alike two sets of vectors are, and how many dimensions one of them has: CKA, mean cosine, TwoNN."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

LEAST_DISTINCT = 20
"""Below so many distinct vectors no dimension is told."""

_KEPT, _SAME = 0.9, 1e-5
_ROWS = 512


def linear_cka(x: Float[Tensor, "sample a"], y: Float[Tensor, "sample b"]) -> float:
    """Linear CKA with the unbiased estimator of HSIC; NaN where a set does not vary.

    1 for the same geometry up to turning and scaling, 0 on average for independent ones however few samples there
    are (so it may be a little below 0), which the biased form is not (Kornblith et al. 2019, "Similarity of Neural
    Network Representations Revisited"; the estimator of Song et al. 2012, as in Nguyen et al. 2021). Needs 4 samples.
    """
    x, y = (each.double() - each.double().mean(0) for each in (x, y))
    both, own = _hsic(x, y), _hsic(x, x) * _hsic(y, y)
    return float(both / own.sqrt()) if float(own) > 0 else float("nan")


def _hsic(x: Tensor, y: Tensor) -> Tensor:
    """n (n - 3) times the unbiased HSIC of linear kernels, without building the kernels."""
    n = len(x)
    sizes = [each.square().sum(1) for each in (x, y)]
    rows = [each @ each.sum(0) - size for each, size in zip((x, y), sizes, strict=True)]
    together = (x.T @ y).square().sum() - sizes[0] @ sizes[1]
    return together + rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows[0] @ rows[1])


def mean_cosine(x: Float[Tensor, "sample d"], y: Float[Tensor, "sample d"]) -> float:
    """Mean over samples of the cosine between the two vectors of each."""
    return float(torch.nn.functional.cosine_similarity(x.double(), y.double(), dim=1).mean())


def two_nn(vectors: Float[Tensor, "sample d"]) -> tuple[float | None, int]:
    """The intrinsic dimension, and how many distinct vectors it was told from; None for fewer than 20.

    From the ratio of the distances to the second and to the first neighbour alone, whose distribution depends on the
    dimension only; the tenth of largest ratios is left out (Facco et al. 2017, "Estimating the intrinsic dimension of
    datasets by a minimal neighborhood information"). Few samples of many dimensions are told too low. Vectors nearer
    to each other than 1e-5 of their usual length are one, for rounding alone tells them apart.
    """
    wide = vectors.double()
    near = _SAME * float(wide.square().sum(1).mean().sqrt())
    distinct = wide[torch.cat([~(row <= near).tril(start - 1).any(1) for start, row in _distances(wide)])]
    n = len(distinct)
    if n < LEAST_DISTINCT:
        return None, n
    nearest = torch.cat([row.topk(3, largest=False).values for _, row in _distances(distinct)])
    ratios = (nearest[:, 2] / nearest[:, 1]).log().sort().values[: int(_KEPT * n)]
    rank = torch.arange(1, len(ratios) + 1, dtype=torch.float64, device=ratios.device)
    height = -(1 - rank / n).log()
    return float((ratios @ height) / (ratios @ ratios)), n


def _distances(vectors: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(first row, distances of some rows to all vectors), so that memory stays linear."""
    for start in range(0, len(vectors), _ROWS):
        part = vectors[start : start + _ROWS]
        yield start, torch.cdist(part, vectors, compute_mode="donot_use_mm_for_euclid_dist")
