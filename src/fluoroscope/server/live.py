"""A forward pass as it happens: each layer is told while the next one is on its way."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.server import frames
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

_KEPT = ("v", "pattern", "resid_post")
_LENS = 3  # tokens that a depth would say


Layer = Callable[[dict[str, Any], "Tensor | None"], None]
"""Called with what is told of a layer, and its pattern [head, query, key] where there is one."""


def run(model: "Model", prompt: str, begun: Callable[[list[int], list[str]], None], layer: Layer) -> Trace:
    """One pass; `begun` gets the tokens, then `layer` each layer as soon as it is computed.

    Raises:
        Cancelled: between layers.
        TokenError: no prompt, or more than the model reads.
    """
    tokens = model.tokens(prompt)
    begun(tokens.rows[0], tokens.labels[0])
    seen: dict[Site, Tensor] = {}
    sites = [site for name in _KEPT for site in model.sites(name)]

    def watch(site: Site, value: Tensor) -> None:
        seen[site] = value
        if site.name == "resid_post":
            layer(*_layer(model, site.layer or 0, seen))

    return model.trace(tokens, sites, logits=False, watch=watch)


def framed(header: dict[str, Any], pattern: Tensor | None) -> bytes:
    """A layer as one binary message."""
    head = {"v": 1, "type": "layer", **header}
    return (
        frames.frame(head) if pattern is None else frames.frame(head, pattern=frames.shares(frames.thumbnail(pattern)))
    )


def _layer(model: "Model", layer: int, seen: dict[Site, Tensor]) -> tuple[dict[str, Any], Tensor | None]:
    stream = seen[Site("resid_post", layer)][0]
    header: dict[str, Any] = {"layer": layer, "of": model.n_layers}
    if ("unembed", None) not in model.unavailable:
        header["says"] = says(model, stream[-1])
    pattern, v = (seen.get(Site(name, layer)) for name in ("pattern", "v"))
    if pattern is None or v is None:
        return header, None
    return {**header, "heads": measures(pattern[0], v[0])}, pattern[0]


def says(model: "Model", stream: Float[Tensor, "d_model"]) -> list[dict[str, Any]]:
    """The logit lens at one place: the likeliest tokens, with their probabilities."""
    likely = model.unembed(stream[None])[0].float().softmax(-1).topk(min(_LENS, model.d_vocab))
    return [
        {"id": token, "label": model.token_label(token), "probability": share}
        for share, token in zip(likely.values.tolist(), likely.indices.tolist(), strict=True)
    ]


def measures(pattern: Float[Tensor, "head query key"], v: Float[Tensor, "kv_head key d"]) -> dict[str, list[float]]:
    """For each head: entropy of its pattern in nats and its largest share, both averaged over queries; and the mean
    norm of the value that it moves."""
    p = pattern.double()
    moved = v.double().norm(dim=-1).repeat_interleave(len(p) // len(v), dim=0)
    return {
        "entropy": torch.special.entr(p).sum(-1).mean(-1).tolist(),
        "concentration": p.amax(-1).mean(-1).tolist(),
        "value_norm": (p * moved[:, None]).sum(-1).mean(-1).tolist(),
    }
