"""A forward pass as it happens: each layer is told while the next one is on its way."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from fluoroscope import shares
from fluoroscope.methods import attention_maps
from fluoroscope.server import frames
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

_WATCHED = ("scores", "pattern", "z", "resid_post")
_LENS = 3  # tokens that a depth would say


Layer = Callable[[dict[str, Any], "Tensor | None"], None]
"""Called with what is told of a layer, and its pattern [head, query, key] where there is one."""


def run(model: "Model", prompt: str, begun: Callable[[list[int], list[str]], None], layer: Layer) -> Trace:
    """The patterns of one pass; `begun` gets the tokens, then `layer` each layer as soon as it is computed.

    Raises:
        Cancelled: between layers.
        TokenError: no prompt, or more than the model reads.
    """
    tokens = model.tokens(prompt)
    begun(tokens.rows[0], tokens.labels[0])
    seen: dict[Site, Tensor] = {}
    sites = [site for name in _WATCHED for site in model.sites(name)]

    def watch(site: Site, value: Tensor) -> None:
        seen[site] = value
        if site.name == "resid_post":
            layer(*_layer(model, site.layer or 0, seen))

    trace = model.trace(tokens, sites, logits=False, watch=watch)
    return replace(trace, values={site: value for site, value in trace.values.items() if site.name == "pattern"})


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
    pattern, scores, z = (seen.get(Site(name, layer)) for name in ("pattern", "scores", "z"))
    if pattern is None or scores is None:
        return header, None
    written = None if z is None or ("head_out", layer) in model.unavailable else shares.heads(model, layer, z[0])[0]
    return {**header, "heads": measures(pattern[0], scores[0], written)}, pattern[0]


def says(model: "Model", stream: Float[Tensor, "d_model"]) -> list[dict[str, Any]]:
    """The logit lens at one place: the likeliest tokens, with their probabilities."""
    likely = model.unembed(stream[None])[0].float().softmax(-1).topk(min(_LENS, model.d_vocab))
    return [
        {"id": token, "label": model.token_label(token), "probability": share}
        for share, token in zip(likely.values.tolist(), likely.indices.tolist(), strict=True)
    ]


def measures(
    pattern: Float[Tensor, "head query key"],
    scores: Float[Tensor, "head query key"],
    written: Float[Tensor, "query head d_model"] | None,
) -> dict[str, list[float] | list[None]]:
    """What `head_roles` says of each head: entropy over that of an even look at all keys in sight, largest share, and
    norm of what the head writes; means over all tokens but the first, None where there is nothing to measure."""
    p = pattern.double()
    spread = attention_maps.spread(p, attention_maps.left_open(scores))
    norms = [None] * len(p) if written is None else _numbers(written[1:].double().norm(dim=-1).mean(0))
    return {
        "entropy": _numbers(spread[:, 1:].nanmean(-1)),
        "concentration": _numbers(p[:, 1:].amax(-1).mean(-1)),
        "value_norm": norms,
    }


def _numbers(values: Float[Tensor, "head"]) -> list[float] | list[None]:
    return [None if isnan(value) else value for value in values.tolist()]  # pyright: ignore[reportReturnType]
