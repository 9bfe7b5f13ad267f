"""The affine maps of a fitted lens, one per depth, and the file in which they are kept.

A map takes the residual stream at its depth to what the output head expects. The last depth needs none: there the
stream is what the head reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.identity import dtype_name, fingerprint
from fluoroscope.methods import corpus, readout

if TYPE_CHECKING:
    from fluoroscope.model import Model

TOKENS_AT_ONCE = 2048


def depth_sites(n_layers: int) -> list[str]:
    """Every depth of the residual stream: the embedding, and behind each block."""
    return ["resid_pre.0", *(f"resid_post.{layer}" for layer in range(n_layers))]


@dataclass(frozen=True)
class Translators:
    """stream @ weight[depth] + bias[depth] for every depth but the last, which is left as it is.

    Args:
        weight: of a future lens, for every distance; it cannot be called.
        meta: what it was fitted to and how: `kind`, `weights` (fingerprint of the model) and their `dtype`, `text`
            (SHA-256), `tokens`, `seed`, and what its kind adds.
    """

    weight: Float[Tensor, "*distance depth d_model d_model"]
    bias: Float[Tensor, "*distance depth d_model"]
    meta: dict[str, Any]

    def __call__(self, depth: int, stream: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        if depth == len(self.weight):
            return stream
        wide = torch.promote_types(stream.dtype, torch.float32)
        moved = stream.to(wide) @ self.weight[depth].to(stream.device, wide) + self.bias[depth].to(stream.device, wide)
        return moved.to(stream.dtype)

    def source(self) -> dict[str, Any]:
        """What a result says about it."""
        return {name: self.meta[name] for name in ("kind", "text", "tokens", "seed")}

    def save(self, path: str | Path, extra: dict[str, Tensor] | None = None) -> None:
        """Writes one file; `extra` tensors are for whoever wants to go on fitting."""
        artifact.write_tensors(path, {"weight": self.weight, "bias": self.bias, **(extra or {})}, self.meta)


def provenance(model: "Model", text: str, rows: list[list[int]], seed: int) -> dict[str, Any]:
    """What every lens says of its origin: fingerprint and dtype of the model, the text's, its tokens, and the seed."""
    made_of = {"weights": fingerprint(model.hf), "dtype": dtype_name(model.dtype)}
    return {**made_of, "text": text, "tokens": sum(map(len, rows)), "seed": seed}


def identity(model: "Model", meta: dict[str, Any]) -> Translators:
    """Maps that change nothing: with them every lens is the logit lens."""
    return unchanged(model.n_layers, model.d_model, meta)


def unchanged(n_layers: int, d_model: int, meta: dict[str, Any]) -> Translators:
    """The same for any model of these sizes."""
    return Translators(torch.eye(d_model).repeat(n_layers, 1, 1), torch.zeros(n_layers, d_model), meta)


def read(path: str | Path, kind: str) -> tuple[Translators, dict[str, Tensor]]:
    """The maps in a file, and what else is there.

    Raises:
        ArtifactError: it holds something else, or a lens of another kind.
    """
    tensors, meta = artifact.read_tensors(path)
    if not {"weight", "bias"} <= set(tensors) or meta.get("kind") != kind:
        found = meta.get("kind", "something else")
        raise ArtifactError(f"{str(path)!r} holds {found}, not a {kind} lens", f"Fit one: fluoro fit-{kind}-lens.")
    return Translators(tensors.pop("weight"), tensors.pop("bias"), meta), tensors


def beside(model: "Model", kind: str) -> Path | None:
    """The file of a lens of this kind beside the weights of a model, if there is one."""
    found = Path(str(getattr(model.hf, "name_or_path", ""))) / f"{kind}_lens.safetensors"
    return found if found.is_file() else None


def fitted(model: "Model", path: str | None, kind: str) -> Translators:
    """The lens of a kind for a model: of a file, or the one that lies beside the model's weights.

    Raises:
        ArgumentError: neither a file was named nor does the model bring one.
        ArtifactError: it was fitted to other weights, is unfinished, or cannot be read.
    """
    named = f"lens {path!r}"
    if path is None:
        named = f"the {kind} lens of {model.name}"
        own = beside(model, kind)
        if own is None:
            raise ArgumentError(
                f"no {kind} lens was named, and {model.name} brings none",
                f"Fit one on a text file: fluoro fit-{kind}-lens TEXT FILE; then pass it as lens.",
            )
        path = str(own)
    lens, extra = read(path, kind)
    if lens.meta["weights"] != fingerprint(model.hf):
        raise _other_weights(model, named, lens.meta)
    if extra:
        raise ArtifactError(f"{path!r} is a fit that did not end", f"Run fluoro fit-{kind}-lens again; it goes on.")
    return lens


def _other_weights(model: "Model", named: str, meta: dict[str, Any]) -> ArtifactError:
    fitted_in, here = meta.get("dtype"), dtype_name(model.dtype)
    anew = f"fluoro fit-{meta['kind']}-lens TEXT FILE"
    if fitted_in in (here, None):
        return ArtifactError(f"{named} was fitted to other weights than those of {model.name}", f"Fit anew: {anew}.")
    return ArtifactError(
        f"{named} was fitted to weights in {fitted_in}, and {model.name} is loaded in {here}",
        f"Load the model with dtype {fitted_in}, or fit a lens in {here}: {anew} --dtype {here}.",
    )


def passes(
    model: "Model", sites: list[str], rows: list[list[int]], tokens: int = TOKENS_AT_ONCE
) -> Iterator[tuple[list[Float[Tensor, "token d_model"]], Float[Tensor, "token d_vocab"]]]:
    """The streams at some sites and the final log-probabilities of all real tokens of the rows, some rows at a time."""
    for group in corpus.batches(rows, tokens):
        trace = model.trace(group, sites=sites)
        mask = trace.tokens.mask
        yield [trace[site][mask] for site in sites], readout.log_probs(trace.logits[mask])


@dataclass(frozen=True)
class Judged:
    """How far a depth is from the model's own prediction, without and with its map, on rows that the fit did not see.

    Args:
        plain: KL(final ‖ logit lens), nats per token.
        fitted: the same behind the map.
        plain_agrees: share of tokens at which the logit lens finds the same likeliest token as the model.
        fitted_agrees: the same behind the map.
    """

    site: str
    plain: float
    fitted: float
    plain_agrees: float
    fitted_agrees: float


@torch.no_grad()
def judge(model: "Model", lens: Translators, rows: list[list[int]]) -> list[Judged]:
    """Every depth but the last, on rows of their own."""
    sites = depth_sites(model.n_layers)[:-1]
    sums = torch.zeros(len(sites), 4, dtype=torch.float64)
    for streams, final in passes(model, sites, rows):
        best = final.argmax(-1)
        for depth, stream in enumerate(streams):
            for place, read_as in enumerate((stream, lens(depth, stream))):
                log_q = readout.log_probs(model.unembed(read_as))
                sums[depth, place] += readout.kl(final, log_q).sum().item()
                sums[depth, place + 2] += (log_q.argmax(-1) == best).sum().item()
    means = (sums / sum(map(len, rows))).tolist()
    return [Judged(site, *row) for site, row in zip(sites, means, strict=True)]
