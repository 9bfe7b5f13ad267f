"""PCA against scikit-learn's; the others by what they promise: neighbours kept, seeds obeyed, limits told."""

import builtins
import json
import os
import subprocess
import sys

import pytest
import torch
from sklearn.decomposition import PCA

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import reduction


def clusters(points=20, width=16, seed=0):
    """Two heaps far from each other."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(points, width, generator=generator) + 20.0 * (torch.arange(points) % 2)[:, None]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_pca_is_scikit_learns_up_to_signs(dimensions):
    vectors = torch.randn(30, 8, generator=torch.Generator().manual_seed(1)).double() * torch.arange(1, 9)
    found = reduction.pca(vectors, dimensions)
    exact = PCA(dimensions, svd_solver="full").fit(vectors.numpy())
    expected = torch.from_numpy(exact.transform(vectors.numpy()))
    torch.testing.assert_close(found.points.abs(), expected.abs(), rtol=1e-9, atol=1e-9)
    assert found.explained == pytest.approx(exact.explained_variance_ratio_.tolist())
    assert torch.equal(reduction.pca(vectors.flip(0), dimensions).points.sign(), found.points.flip(0).sign())


def test_as_many_axes_as_the_vectors_have_keep_every_distance():
    vectors = torch.randn(9, 2, generator=torch.Generator().manual_seed(2)).double()
    found = reduction.pca(vectors, 2)
    torch.testing.assert_close(torch.cdist(found.points, found.points), torch.cdist(vectors, vectors))
    assert sum(found.explained) == pytest.approx(1)
    assert reduction.neighbors_kept(vectors, found.points, 3) == 1


def test_tsne_keeps_heaps_apart_obeys_its_seed_and_tells_its_perplexity():
    vectors = clusters()
    found, again = (reduction.tsne(vectors, 2, None, seed=3) for _ in range(2))
    assert torch.equal(found.points, again.points)
    assert found.notes == ("t-SNE's perplexity is 6.33, not 30: there are only 20 points.",)
    assert reduction.tsne(vectors, 2, 5, seed=3).notes == ()
    own = torch.cdist(found.points, found.points).fill_diagonal_(torch.inf).argmin(1)
    assert bool((own % 2 == torch.arange(20) % 2).all())


UMAP = """
import json, sys, torch
from fluoroscope.methods import reduction
from methods.test_reduction import clusters
found = [reduction.umap(clusters(8), 2, None, seed) for seed in (3, 3)]
print(json.dumps([[each.points.tolist(), each.notes] for each in found]))
"""


def test_umap_keeps_heaps_apart_obeys_its_seed_and_tells_its_neighbours():
    """In a process where numba does not compile, which would take longer than the rest of the tests."""
    settings = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", UMAP], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (one, notes), (same, _) = json.loads(done.stdout)
    assert one == same
    assert notes == ["UMAP's n_neighbors is 7, not 15: there are only 8 points."]
    points = torch.tensor(one)
    own = torch.cdist(points, points).fill_diagonal_(torch.inf).argmin(1)
    assert bool((own % 2 == torch.arange(8) % 2).all())


def test_what_a_library_warns_of_is_told():
    def fit(vectors):
        import warnings

        warnings.warn("the graph is in pieces", UserWarning, stacklevel=1)
        return vectors[:, :2]

    found = reduction._fitted(fit, clusters(), ("first",))
    assert found.notes == ("first", "UserWarning: the graph is in pieces")


@pytest.mark.parametrize(("name", "package"), [("tsne", "sklearn"), ("umap", "umap")])
def test_a_missing_package_names_its_extra(monkeypatch, name, package):
    real = builtins.__import__

    def without(module, *args, **options):
        if module.partition(".")[0] == package:
            raise ImportError(module)
        return real(module, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UnavailableError, match=r"is not installed.*fluoroscope\[embeddings\]"):
        getattr(reduction, name)(clusters(), 2, None, 0)


def test_too_few_points_are_refused():
    for points, dimensions in ((2, 2), (3, 3)):
        with pytest.raises(ArgumentError, match=f"PCA needs {dimensions + 1} points"):
            reduction.pca(clusters(points), dimensions)
    with pytest.raises(ArgumentError, match="t-SNE needs 4 points for 2 dimensions, and there are 3"):
        reduction.tsne(clusters(3), 2, None, 0)
    with pytest.raises(ArgumentError, match="UMAP needs 5 points for 3 dimensions"):
        reduction.umap(clusters(4), 3, None, 0)
    with pytest.raises(ArgumentError, match="all 7 vectors are equal"):
        reduction.pca(torch.ones(7, 4), 2)


def test_neighbours_kept_by_hand():
    vectors = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert reduction.neighbors_kept(vectors, vectors * -2 + 5, 2) == 1
    swapped = torch.tensor([[0.0], [3.0], [1.0], [7.0]])
    # nearest of each are 1, 0, 1, 2; of the points 2, 2, 0, 1
    assert reduction.neighbors_kept(vectors, swapped, 1) == 0
    assert reduction.neighbors_kept(vectors, swapped, 3) == 1
