"""Directions of the residual stream between two sets of texts: how they are found, what they add, how they are kept.

The mean difference (Turner et al. 2023, "Activation Addition"; over pairs that differ in their answer alone that of
Rimsky et al. 2023, "Steering Llama 2 via Contrastive Activation Addition"), or the first principal component of the
differences of pairs (Zou et al. 2023, "Representation Engineering"). Both keep the length that they have in the stream.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import artifact, strict_json
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.identity import dtype_name, fingerprint
from fluoroscope.methods import corpus
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Reading = Literal["last", "mean"]
"""Which states of a text count: its last token's, or the mean of all but the first, where a sink often stands."""
Method = Literal["mean", "pca"]
"""The mean difference of both sides, or the first principal component of the differences of pairs."""

KIND = "direction"
_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class Sides:
    """Texts that have something, and texts that do not.

    Args:
        positive: those that do; where there are as many of both, the texts of an index are a pair.
        name: what they are about, or where they come from.

    Raises:
        ArgumentError: a side without texts, or one text where a list is needed.
    """

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    name: str = "own texts"

    def __post_init__(self) -> None:
        if not self.positive or not self.negative:
            raise ArgumentError("a direction needs texts on both sides", "Give two lists of texts.")

    @property
    def digest(self) -> str:
        """SHA-256 (16 hex digits) of all texts in their order."""
        return hashlib.sha256(strict_json.dump([self.positive, self.negative]).encode("utf8")).hexdigest()[:16]

    def split(self, seed: int = 0) -> "tuple[Sides, Sides]":
        """Two halves, drawn by seed: one to fit to and one to judge by; pairs stay together.

        Raises:
            ArgumentError: a side of fewer than two texts.
        """
        if min(len(self.positive), len(self.negative)) < 2:
            raise ArgumentError(
                f"{len(self.positive)} and {len(self.negative)} texts cannot be halved to fit and to judge",
                "Give at least two of each; twenty give figures that mean something.",
            )
        halves: list[tuple[list[str], list[str]]] = []
        for texts in (self.positive, self.negative):
            order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
            first = sorted(order[: (len(texts) + 1) // 2])
            halves.append(([texts[n] for n in first], [t for n, t in enumerate(texts) if n not in set(first)]))
        (fit, judge), (other_fit, other_judge) = halves
        return replace(self, positive=tuple(fit), negative=tuple(other_fit)), replace(
            self, positive=tuple(judge), negative=tuple(other_judge)
        )


def sides(positive: Sequence[str], negative: Sequence[str], name: str = "own texts") -> Sides:
    """Two lists of texts, checked.

    Raises:
        ArgumentError: as `Sides`.
    """
    if isinstance(positive, str) or isinstance(negative, str):
        raise ArgumentError("a direction needs texts on both sides, not one text", "Give two lists of texts.")
    return Sides(tuple(positive), tuple(negative), name)


@dataclass(frozen=True, eq=False)
class Direction:
    """A vector of the stream, from the negative texts to the positive ones, as long as it is there.

    Args:
        vector: in the model's dtype.
        stream: mean norm of the states that it was made of.
        site: where it was read, and where it is added.
        middle: mean of both sides' means, in float64: where a threshold along it stands.
        made_of: `weights` (fingerprint of the model) and their `dtype`, `method`, `reading`, `texts` (SHA-256 of the
            texts), `name`, `positive` and `negative` (how many).
    """

    vector: Float[Tensor, "d_model"]
    stream: float
    site: Site
    middle: Float[Tensor, "d_model"]
    made_of: dict[str, Any] = field(default_factory=dict[str, Any])

    def __repr__(self) -> str:
        length = float(self.vector.double().norm())
        about = " of ".join(str(self.made_of[name]) for name in ("method", "name") if name in self.made_of)
        return f"Direction({self.site}, {about or 'own'}, length {length:.4g} in a stream of {self.stream:.4g})"

    @property
    def ratio(self) -> float:
        """Its norm over the norm of the stream: what a coefficient of 1 adds, as a share of what is there."""
        return float(self.vector.double().norm()) / self.stream

    @property
    def unit(self) -> Float[Tensor, "d_model"]:
        """The same of length 1, in float64."""
        wide = self.vector.double()
        return wide / wide.norm()

    def random(self, seed: int) -> "Direction":
        """One of the same length and place that points anywhere: the control."""
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(len(self.vector), generator=generator, dtype=torch.float64).to(self.vector.device)
        length = self.vector.double().norm()
        made_of = {**self.made_of, "method": f"random {seed}"}
        return replace(self, vector=(drawn / drawn.norm() * length).to(self.vector.dtype), made_of=made_of)

    def save(self, path: str | Path) -> Path:
        """Writes it with its recipe as one safetensors file.

        Raises:
            ArtifactError: as `artifact.write_tensors`.
        """
        meta = {**self.made_of, "kind": KIND, "site": str(self.site), "stream": self.stream}
        return artifact.write_tensors(path, {"vector": self.vector, "middle": self.middle}, meta)


def read(path: str | Path) -> Direction:
    """What `Direction.save` wrote; it may belong to any model.

    Raises:
        ArtifactError: it holds something else, or cannot be read.
    """
    tensors, meta = artifact.read_tensors(path)
    if meta.get("kind") != KIND or not {"vector", "middle"} <= set(tensors):
        found = meta.get("kind", "something else")
        raise ArtifactError(f"{str(path)!r} holds {found}, not a direction", "Direction.save writes one.")
    made_of = {name: value for name, value in meta.items() if name not in ("kind", "site", "stream")}
    return Direction(tensors["vector"], meta["stream"], Site.parse(meta["site"]), tensors["middle"], made_of)


def fitted(model: "Model", path: str | Path) -> Direction:
    """The direction in a file, on the model's device, for the model that it was made of.

    Raises:
        ArtifactError: it was made of other weights, or as `read`.
    """
    found = read(path)
    if found.made_of.get("weights") != fingerprint(model.hf):
        mine, theirs = dtype_name(model.dtype), found.made_of.get("dtype")
        other = f", which were {theirs} and are {mine} here" if theirs != mine else ""
        raise ArtifactError(
            f"{str(path)!r} was made of other weights than those of {model.name}{other}",
            "Make it anew from the same texts, or load the model that it was made of.",
        )
    return replace(found, vector=found.vector.to(model.device), middle=found.middle.to(model.device))


# ── finding them ─────────────────────────────────────────────────────────────────────────────────────


def states(
    model: "Model", texts: Sequence[str], sites: Sequence[Site], reading: Reading = "last"
) -> Float[Tensor, "site text d_model"]:
    """The state that stands for each text, at every site, in float64; several texts share a pass.

    Raises:
        ArgumentError: a site that is no vector of the stream.
    """
    for site in sites:
        if site.kind.axes != ("batch", "pos", "d_model"):
            raise ArgumentError(f"{site} is no vector per token", "Name a layer, or what is added to the stream.")
    rows = [model.tokens(text).rows[0] for text in texts]
    found: list[Tensor] = []
    for group in corpus.batches(rows, _TOKENS_AT_ONCE):
        trace = model.trace(group, sites=list(sites), logits=False)
        values = torch.stack([trace[site] for site in sites]).double()
        found.append(_read(values, trace.tokens.last, trace.tokens.lengths, reading))
    return torch.cat(found, 1)


def _read(values: Float[Tensor, "site text pos d_model"], last: Tensor, lengths: Tensor, reading: Reading) -> Tensor:
    """Rows are padded on the right, so that a row's tokens begin at slot 0."""
    row = torch.arange(values.shape[1], device=values.device)
    if reading == "last":
        return values[:, row, last.to(values.device)]
    slot = torch.arange(values.shape[2], device=values.device)
    lengths = lengths.to(values.device)[:, None]
    counts = (slot < lengths) & (slot >= (lengths - 1).clamp_max(1))  # of a text of one token that one
    return (values * counts[..., None]).sum(2) / counts.sum(1)[:, None]


def directions(
    model: "Model", texts: Sides, sites: Sequence[Site], method: Method = "mean", reading: Reading = "last"
) -> list[Direction]:
    """The direction at every site, of one reading of the texts.

    Raises:
        ArgumentError: a site that is no vector of the stream, sides that do not differ, or, for `pca`, that are not
            pairs.
    """
    positive, negative = (states(model, side, sites, reading) for side in (texts.positive, texts.negative))
    made_of = {
        "weights": fingerprint(model.hf), "dtype": dtype_name(model.dtype), "method": method, "reading": reading,
        "texts": texts.digest, "name": texts.name, "positive": len(texts.positive), "negative": len(texts.negative),
    }  # fmt: skip
    found: list[Direction] = []
    for site, one, other in zip(sites, positive, negative, strict=True):
        vector = between(one, other, method)
        stream = float(torch.cat([one, other]).norm(dim=-1).mean())
        middle = (one.mean(0) + other.mean(0)) / 2
        found.append(Direction(vector.to(model.dtype), stream, site, middle, made_of))
    return found


def between(
    positive: Float[Tensor, "text d_model"], negative: Float[Tensor, "other d_model"], method: Method = "mean"
) -> Float[Tensor, "d_model"]:
    """The direction from one set of states to the other.

    The principal component has the sign and the length of the mean difference's share along it.

    Raises:
        ArgumentError: sets that do not differ, or, for `pca`, of unequal size.
    """
    mean = positive.mean(0) - negative.mean(0)
    if not bool(mean.any()):
        raise ArgumentError("both sides have the same mean state, so there is no direction", "Give texts that differ.")
    if method == "mean":
        return mean
    if len(positive) != len(negative):
        raise ArgumentError(
            f"{len(positive)} positive and {len(negative)} negative texts are no pairs, whose differences pca needs",
            "Give as many of both, or take the mean difference.",
        )
    axis = torch.linalg.svd(positive - negative, full_matrices=False).Vh[0]
    return (mean @ axis) * axis


def direction(
    model: "Model",
    positive: Sequence[str],
    negative: Sequence[str],
    site: Site,
    reading: Reading = "last",
    method: Method = "mean",
) -> Direction:
    """The direction from the negative texts to the positive ones at a site; raises as `directions`."""
    return directions(model, sides(positive, negative), [site], method, reading)[0]
