"""A picture of hidden states: which are near each other, by PCA, t-SNE or UMAP.

The tokens of a prompt, or the last token of each of several prompts. All depths are fitted together, so that their
pictures share their axes and can be compared. A flat picture of a wide space leaves much out: the share of neighbours
that it keeps says how much.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.methods import readout, reduction
from fluoroscope.render.text import number, percent, prose, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.views import Point, Scatter, View

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from fluoroscope.model import Model
    from fluoroscope.sites import Site

THEME = "States and weights"

METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
"""The ways to draw them, as parameters name them and as people do."""

_NEAR = 5


class Map(Record):
    """All states as points of one picture.

    Args:
        points: `points[site][label]` as coordinates.
        explained: PCA's share of the variance along each axis; None for others.
        kept: share of the nearest others of each state that are among as many nearest of its point.
        notes: what was changed for so few points, and what the library warned of.
    """

    method: str
    points: tuple[tuple[tuple[float, ...], ...], ...]
    explained: tuple[float, ...] | None
    kept: float
    notes: tuple[str, ...]

    def axes(self) -> tuple[str, ...]:
        """What the axes are called."""
        if self.explained is None:
            return tuple(f"{METHODS[self.method]} {axis}" for axis in range(1, 1 + len(self.points[0][0])))
        return tuple(f"PC{axis} ({percent(share)})" for axis, share in enumerate(self.explained, 1))

    def limits(self) -> tuple[tuple[float, float], ...]:
        """The ends of each axis over all depths."""
        columns = zip(*(place for row in self.points for place in row), strict=True)
        return tuple((min(column), max(column)) for column in columns)


class EmbeddingMap(Result):
    """Hidden states as points.

    Args:
        labels: what each point is: a token of the prompt, or a prompt.
        tokens: whether the labels are tokens.
        sites: where the states were read.
        unit_length: whether each state was divided by its norm first.
        seed: of t-SNE and UMAP.
        maps: one per method.
        counted: how many nearest others `kept` counts.
        near: indices of the two labels whose states are nearest at the last site, and the cosine between them.
    """

    labels: tuple[str, ...]
    tokens: bool
    sites: tuple[str, ...]
    unit_length: bool
    seed: int
    maps: tuple[Map, ...]
    counted: int
    near: tuple[int, int, float]

    def summary(self) -> str:
        a, b = (self._named(index) for index in self.near[:2])
        shares = ", ".join(f"{METHODS[each.method]} {percent(each.kept)}" for each in self.maps)
        explained = next((sum(each.explained) for each in self.maps if each.explained), None)
        held = "" if explained is None else f"; PCA's axes hold {percent(explained)} of the variance"
        return (
            f"Of the {len(self.labels)} {'tokens' if self.tokens else 'prompts'} {a} and {b} are nearest at "
            f"{self.sites[-1]}, cosine {number(self.near[2])}; of the {self.counted} nearest of each a picture keeps: "
            f"{shares}{held}."
        )

    def views(self) -> list[View]:
        return [self._scatter(each, index) for each in self.maps for index in range(len(self.sites))]

    def _named(self, index: int) -> str:
        return quoted(self.labels[index]) if self.tokens else f"“{prose(self.labels[index])}”"

    def _scatter(self, each: Map, index: int) -> Scatter:
        return Scatter(
            title=f"{self.sites[index]} by {METHODS[each.method]}",
            caption=self._caption(each) if index == 0 else "",
            axes=each.axes(),
            limits=each.limits(),
            points=tuple(
                Point(label=label, token=self.tokens, site=self.sites[index], x=x, y=y, z=z[0] if z else None)
                for label, (x, y, *z) in zip(self.labels, each.points[index], strict=True)
            ),
        )

    def _caption(self, each: Map) -> str:
        kept = f"Of the {self.counted} nearest of each it keeps {percent(each.kept)}."
        meaning = (
            "Distances are as in the full space, as far as its axes go."
            if each.method == "pca"
            else "Only who is near whom is kept: distances between clusters and their sizes mean nothing."
        )
        depths = [f"All {len(self.sites)} depths on the same axes."] if len(self.sites) > 1 else []
        scaled = ["Every state has length 1."] if self.unit_length else []
        return " ".join([*depths, meaning, kept, *scaled, *each.notes])


@checked
def embedding_map(
    model: "Model",
    prompt: AnyPrompt,
    *,
    others: list[str] | None = None,
    sites: list[str] | None = None,
    methods: list[str] | None = None,
    dimensions: int = 2,
    neighbors: int | None = None,
    unit_length: bool = True,
    seed: int = 0,
) -> EmbeddingMap:
    """Draws the hidden states of the tokens of a prompt, or of the last tokens of several prompts.

    Args:
        prompt: the text whose tokens are drawn, or the first of several.
        others: further prompts; with them each prompt is one point, its last token.
        sites: where to read, such as resid_post.3 or mlp_out.0; the residual stream at the start, middle and end.
        methods: pca, tsne or umap, side by side; pca if not given.
        dimensions: 2 or 3.
        neighbors: t-SNE's perplexity and UMAP's n_neighbors, fewer where there are few points; 30 and 15.
        unit_length: divides every state by its norm first, which grows from block to block, so that directions count.
        seed: of t-SNE and UMAP.

    Raises:
        ArgumentError: another method or dimension, a site that is no vector of the stream, too few points.
        SiteError: the model has no such site.
        UnavailableError: a package is missing, or this model cannot give a site.
    """
    chosen = list(dict.fromkeys(methods or ["pca"]))
    for method in chosen:
        if method not in METHODS:
            raise ArgumentError(f"unknown method {method!r}", nearest(method, METHODS))
    if dimensions not in (2, 3) or (neighbors is not None and neighbors < 2):
        raise ArgumentError(
            f"dimensions={dimensions}, neighbors={neighbors}", "Dimensions are 2 or 3, neighbors from 2."
        )
    read = _sites(model, sites)
    texts = [prompt, *(others or [])]
    trace = model.trace(texts if others else prompt, sites=read, logits=False)
    states = torch.stack([_states(trace[site], trace.tokens.last.tolist(), bool(others)) for site in read])
    if not others:
        readout.only_slot(trace.tokens, -1)
    if states.shape[1] < 2:
        raise ArgumentError("one token has no neighbour", "Give a longer prompt, or several with others.")
    if unit_length:
        states = states / states.norm(dim=-1, keepdim=True)
    return EmbeddingMap(
        recipe=trace.recipe.model_copy(update={"seed": seed}),
        labels=tuple(_different(texts) if others else trace.tokens.labels[0]),
        tokens=not others,
        sites=tuple(map(str, read)),
        unit_length=unit_length,
        seed=seed,
        maps=tuple(_map(states, method, dimensions, neighbors, seed) for method in chosen),
        counted=_counted(states),
        near=_near(states[-1]),
    )


def _sites(model: "Model", names: list[str] | None) -> "list[Site]":
    middle, last = (model.n_layers - 1) // 2, model.n_layers - 1
    usual = ["resid_pre.0", f"resid_post.{middle}", f"resid_post.{last}"]
    found = [model.site(name) for name in names or dict.fromkeys(usual)]
    for site in found:
        if site.kind.axes != ("batch", "pos", "d_model"):
            raise ArgumentError(f"{site} is no vector per token", "Name a residual stream or what is added to it.")
    return sorted(set(found))


def _states(value: "Tensor", last: list[int], prompts: bool) -> "Float[Tensor, 'label d_model']":
    wide = value.double()
    return torch.stack([wide[row, slot] for row, slot in enumerate(last)]) if prompts else wide[0]


def _map(states: "Float[Tensor, 'site label d_model']", method: str, size: int, count: int | None, seed: int) -> Map:
    together = states.flatten(0, 1)
    if method == "pca":
        found = reduction.pca(together, size)
    else:
        found = {"tsne": reduction.tsne, "umap": reduction.umap}[method](together, size, count, seed)
    points = found.points.unflatten(0, states.shape[:2])
    return Map(
        method=method,
        points=tuple(tuple(tuple(place) for place in row) for row in points.tolist()),
        explained=found.explained,
        kept=reduction.neighbors_kept(together, found.points, _counted(states)),
        notes=found.notes,
    )


def _counted(states: "Float[Tensor, 'site label d_model']") -> int:
    """Five, or fewer where a third of all points is fewer: more would be kept by any picture."""
    return max(1, min(_NEAR, (states.shape[0] * states.shape[1] - 1) // 3))


def _near(states: "Float[Tensor, 'label d_model']") -> tuple[int, int, float]:
    distances = torch.cdist(states, states)
    distances[torch.ones_like(distances, dtype=torch.bool).tril()] = torch.inf
    a, b = divmod(int(distances.argmin()), len(states))
    return a, b, float(torch.nn.functional.cosine_similarity(states[a], states[b], dim=0))


def _different(texts: list[str]) -> list[str]:
    """The words of each text that not all of them begin or end with; the whole texts where nothing would be left."""
    words = [text.split() for text in texts]
    start = _common(words)
    end = _common([row[start:][::-1] for row in words])
    cut = [" ".join(row[start : len(row) - end]) for row in words]
    return cut if all(cut) else texts


def _common(rows: list[list[str]]) -> int:
    """How many words all rows begin with."""
    same = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        same += 1
    return same
