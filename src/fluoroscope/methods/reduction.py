"""Vectors as points of two or three dimensions: PCA exactly, t-SNE by scikit-learn, UMAP by umap-learn.

PCA keeps as much variance as a flat picture can. The other two keep who is near whom, and nothing else: sizes of
clusters and distances between them mean nothing in their pictures (Wattenberg et al. 2016, "How to Use t-SNE
Effectively").
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, UnavailableError

PERPLEXITY, NEIGHBORS = 30, 15
"""The usual number of neighbours of t-SNE (its perplexity) and of UMAP."""

ITERATIONS, DISTANCE = 1000, 0.1
"""The usual number of steps of t-SNE, and the usual distance that UMAP keeps between points."""


@dataclass(frozen=True)
class Reduction:
    """Points, and how they came about.

    Args:
        points: centred for PCA, whose signs are such that the largest weight of each axis is positive.
        explained: share of the variance along each axis, for PCA.
        notes: what was changed for so few points, and what the library warned of.
    """

    points: Float[Tensor, "point dimension"]
    explained: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def pca(vectors: Float[Tensor, "point d_model"], dimensions: int) -> Reduction:
    """The axes of largest variance, in float64.

    Raises:
        ArgumentError: too few points, or all at one place.
    """
    _enough(vectors, dimensions, dimensions + 1, "PCA")
    wide = vectors.double().cpu()
    left, sizes, axes = torch.linalg.svd(wide - wide.mean(0), full_matrices=False)
    left, sizes, axes = left[:, :dimensions], sizes.square(), axes[:dimensions]
    sign = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()[:, 0]
    points = left * sizes[:dimensions].sqrt() * sign
    return Reduction(points, tuple((sizes[:dimensions] / sizes.sum()).tolist()))


def tsne(
    vectors: Float[Tensor, "point d_model"],
    dimensions: int,
    neighbors: float | None,
    seed: int,
    iterations: int = ITERATIONS,
) -> Reduction:
    """t-SNE (van der Maaten & Hinton 2008), begun from PCA; at most a third of the points count as neighbours.

    Raises:
        ArgumentError: too few points, or all at one place; more than three dimensions, or fewer than 250 iterations.
        UnavailableError: scikit-learn is not installed.
    """
    _enough(vectors, dimensions, 4, "t-SNE")
    if dimensions > 3 or iterations < 250:
        raise ArgumentError(
            f"t-SNE cannot give {dimensions} dimensions in {iterations} iterations", "At most 3, and at least 250."
        )
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise _missing("t-SNE", "scikit-learn") from error
    perplexity, notes = _clamped(neighbors or PERPLEXITY, (len(vectors) - 1) / 3, "t-SNE's perplexity", len(vectors))
    method = TSNE(dimensions, perplexity=perplexity, init="pca", max_iter=iterations, random_state=seed)
    return _fitted(method.fit_transform, vectors, notes)


def umap(
    vectors: Float[Tensor, "point d_model"],
    dimensions: int,
    neighbors: float | None,
    seed: int,
    distance: float = DISTANCE,
) -> Reduction:
    """UMAP (McInnes et al. 2018).

    Raises:
        ArgumentError: too few points, or all at one place.
        UnavailableError: umap-learn is not installed.
    """
    _enough(vectors, dimensions, dimensions + 2, "UMAP")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of its parametric form, which needs tensorflow
            from umap import UMAP
    except ImportError as error:
        raise _missing("UMAP", "umap-learn") from error
    count, notes = _clamped(neighbors or NEIGHBORS, len(vectors) - 1, "UMAP's n_neighbors", len(vectors))
    method: Any = UMAP(n_components=dimensions, n_neighbors=int(count), min_dist=distance, random_state=seed, n_jobs=1)
    return _fitted(method.fit_transform, vectors, notes)


def _enough(vectors: Tensor, dimensions: int, least: int, name: str) -> None:
    if len(vectors) < max(least, dimensions + 1):
        raise ArgumentError(
            f"{name} needs {max(least, dimensions + 1)} points for {dimensions} dimensions, and there are "
            f"{len(vectors)}",
            "Give a longer prompt, or more prompts.",
        )
    if bool((vectors == vectors[0]).all()):
        raise ArgumentError(f"{name} has nothing to spread: all {len(vectors)} vectors are equal")


def _clamped(asked: float, most: float, what: str, points: int) -> tuple[float, tuple[str, ...]]:
    if asked <= most:
        return asked, ()
    return most, (f"{what} is {most:.3g}, not {asked:g}: there are only {points} points.",)


def _fitted(fit: Callable[[Any], Any], vectors: Tensor, notes: tuple[str, ...]) -> Reduction:
    """The points that a library found, with all that it warned of."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        points = torch.as_tensor(fit(vectors.double().cpu().numpy())).double()
    told = dict.fromkeys(f"{type(each.message).__name__}: {each.message}" for each in heard)
    return Reduction(points, None, (*notes, *told))


def _missing(name: str, package: str) -> UnavailableError:
    return UnavailableError(
        f"{name} needs {package}, which is not installed", 'pip install "fluoroscope[embeddings]", or use PCA.'
    )


def neighbors_kept(vectors: Float[Tensor, "point d_model"], points: Float[Tensor, "point dimension"], k: int) -> float:
    """Share of each vector's `k` nearest others that are among the `k` nearest of its point, mean over all points."""
    found = [_nearest(each.double().cpu(), k) for each in (vectors, points)]
    both = (found[0][:, :, None] == found[1][:, None, :]).any(-1)
    return float(both.double().mean())


def _nearest(vectors: Tensor, k: int) -> Tensor:
    distances = torch.cdist(vectors, vectors).fill_diagonal_(torch.inf)
    return torch.sort(distances, dim=1, stable=True).indices[:, :k]
