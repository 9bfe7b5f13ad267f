"""A model as a graph: what adds to the residual stream, and what reads it.

Senders are the embeddings, every head and every MLP; receivers the query, key and value of every head, every MLP and
the logits. Edges run from each sender to all that reads the stream behind it (Goldowsky-Dill et al. 2023, "Localizing
Model Behavior with Path Patching"). Keys and values of grouped queries are those of kv heads, as many as there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope import shares
from fluoroscope.errors import ArgumentError, UnavailableError, nearest
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Edge = tuple[str, str]
"""Sender and receiver, such as ("L0H1", "L2H0.q"), ("embed", "mlp.0"), ("mlp.1", "logits")."""

NEEDED = ("resid_pre", "q_proj", "k_proj", "v_proj", "z", "head_out", "attn_out", "mlp_out")


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes and edges of a model, with scores of the edges once there are some.

    Args:
        senders: their names in the order of computation: embed, pos_embed, L0H0, …, mlp.0, L1H0, …
        receivers: likewise: L0H0.q, …, L0H0.k, …, L0H0.v, …, mlp.0, L1H0.q, …, logits.
        exists: which pairs are edges.
        scores: of each pair of prompts, by position if that was asked for; 0 where there is no edge.
    """

    senders: tuple[str, ...]
    receivers: tuple[str, ...]
    exists: Bool[Tensor, "sender receiver"]
    scores: Float[Tensor, "pair sender receiver"] | Float[Tensor, "pair sender receiver position"] | None = None

    @cached_property
    def places(self) -> tuple[dict[str, int], dict[str, int]]:
        """Index of each sender, and of each receiver."""
        sides = (self.senders, self.receivers)
        return tuple({name: index for index, name in enumerate(side)} for side in sides)  # pyright: ignore[reportReturnType]

    def place(self, edge: Edge) -> tuple[int, int]:
        """Row and column of an edge.

        Raises:
            ArgumentError: there is none of these names, or no edge between them.
        """
        for name, known in zip(edge, self.places, strict=True):
            if name not in known:
                raise ArgumentError(f"there is no {name!r} at this end of an edge", nearest(name, known))
        row, column = (known[name] for name, known in zip(edge, self.places, strict=True))
        if not self.exists[row, column]:
            raise ArgumentError(
                f"{edge[1]} does not read what {edge[0]} writes", "It is computed before, or beside it."
            )
        return row, column

    def __len__(self) -> int:
        return int(self.exists.sum())

    @cached_property
    def edges(self) -> list[Edge]:
        """All edges, sender by sender."""
        return [(self.senders[row], self.receivers[column]) for row, column in self.exists.nonzero().tolist()]

    @property
    def mean(self) -> Float[Tensor, "sender receiver"]:
        """Scores over all pairs of prompts, summed over positions.

        Raises:
            ArgumentError: it has none.
        """
        if self.scores is None:
            raise ArgumentError("the edges of this graph have no scores", "methods.edges gives it some.")
        return self.scores.flatten(3).sum(-1).mean(0) if self.scores.dim() == 4 else self.scores.mean(0)

    def score(self, edge: Edge) -> float:
        """The mean score of an edge; raises as `place` and `mean` do."""
        return float(self.mean[self.place(edge)])

    def ranked(self, top: int | None = None) -> list[tuple[Edge, float]]:
        """Edges with their mean scores, the largest in size first."""
        mean = self.mean
        values = mean[self.exists]
        order = values.abs().argsort(descending=True, stable=True)[:top].tolist()
        return [(self.edges[index], float(values[index])) for index in order]

    def scored(self, scores: Tensor) -> "Graph":
        """The same graph with these scores."""
        return replace(self, scores=scores)


def graph(model: "Model") -> Graph:
    """The graph of a model, without scores.

    Raises:
        UnavailableError: what its parts write or read cannot be told apart.
    """
    check(model)
    embeddings = ["embed", *(["pos_embed"] if model.architecture.pos_embed is not None else [])]
    senders, receivers = list(embeddings), list[str]()
    known: list[int] = []  # per receiver how many senders come before it
    for layer in range(model.n_layers):
        heads = [f"L{layer}H{head}" for head in range(model.n_heads)]
        reading = [*(f"{head}.q" for head in heads)]
        reading += [f"L{layer}H{head}.{letter}" for letter in "kv" for head in range(model.n_kv_heads)]
        known += [len(senders)] * len(reading)
        known.append(len(senders) + (0 if model.architecture.parallel else len(heads)))
        receivers += [*reading, f"mlp.{layer}"]
        senders += [*heads, f"mlp.{layer}"]
    receivers.append("logits")
    known.append(len(senders))
    exists = torch.arange(len(senders))[:, None] < torch.tensor(known)
    return Graph(tuple(senders), tuple(receivers), exists)


def check(model: "Model") -> None:
    """Refuses a model whose senders or receivers are not all there.

    Raises:
        UnavailableError: with the reason.
    """
    embeddings: Sequence[tuple[str, int | None]] = [("embed", None)]
    parts = [(name, layer) for layer in range(model.n_layers) for name in NEEDED]
    for key in (*embeddings, ("unembed", None), *parts):
        if key in model.unavailable:
            name = key[0] if key[1] is None else f"{key[0]}.{key[1]}"
            raise UnavailableError(f"{model.name} is no graph of heads and MLPs: {name}: {model.unavailable[key]}")


def written(model: "Model") -> list[Site]:
    """The whole sites that what senders write is made of, in the order of senders."""
    embeddings = [Site("embed"), *([Site("pos_embed")] if model.architecture.pos_embed is not None else [])]
    return [*embeddings, *(Site(name, layer) for layer in range(model.n_layers) for name in ("z", "mlp_out"))]


def outputs(model: "Model", values: Mapping[Site, Tensor]) -> Float[Tensor, "row sender pos d_model"]:
    """What each sender adds to the stream in a run of which the sites `written` are known.

    The biases of attention are no head's, and in none of them.
    """
    return torch.cat([output(model, site, values[site]) for site in written(model)], 1)


def output(model: "Model", site: Site, value: Tensor) -> Float[Tensor, "row sender pos d_model"]:
    """What the senders add that a site is of: every head of a block (z), or one embedding or MLP."""
    if site.name != "z":
        return value[:, None]
    return shares.heads(model, site.layer or 0, value)[0].transpose(1, 2)
