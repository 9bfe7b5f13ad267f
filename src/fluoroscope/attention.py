"""The attention function registered with transformers: where q, k, v, scores and pattern exist.

It hands over to the implementation the model was loaded with unless the current run asks for scores or
pattern of this layer, so plain runs stay bit for bit and at full speed. When it computes the pattern
itself it honours scaling, softcap, position bias, sinks, sliding windows (through the mask) and grouped
queries; softmax is taken in float32 or wider.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.errors import EditError, UnavailableError
from fluoroscope.run import IN_ATTENTION, Run, active

PREFIX = "fluoroscope_"
EXPLICIT = ("scores", "pattern")


def register(implementation: str) -> str:
    """Registers our function over `implementation` ('sdpa', 'eager', …) and returns its name.

    The masks stay those of `implementation`, so that layers that are not looked into see the same bytes.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = PREFIX + implementation

    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        plain: Callable[..., tuple[Tensor, Tensor | None]]
        plain = _eager(module) if implementation == "eager" else ALL_ATTENTION_FUNCTIONS[implementation]
        if not any(run.attends for run in active()):  # as in most runs: this is asked at each layer of each step
            return plain(module, query, key, value, attention_mask, **kwargs)
        return attend(plain, module, query, key, value, attention_mask, **kwargs)

    AttentionInterface.register(name, attention)
    AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[implementation])
    return name


def _eager(module: nn.Module) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The eager attention of a module's family, which transformers keeps beside the class that calls it."""
    for kind in type(module).__mro__:
        found = vars(sys.modules[kind.__module__]).get("eager_attention_forward")
        if found is not None:
            return found
    raise UnavailableError(
        f"{type(module).__name__} has no eager_attention_forward beside its class", "Load it with sdpa attention."
    )


def attend(
    plain: Callable[..., tuple[Tensor, Tensor | None]],
    module: nn.Module,
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch kv_head key d_head"],
    value: Float[Tensor, "batch kv_head key d_v"],
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch query head d_v"], Tensor | None]:
    """Attention with sites: `plain`, unless the current run looks into this layer."""
    run, layer = _looking_into(module)
    if run is not None and run.attend is not None:
        return run.attend(layer, (query, key, value), attention_mask, kwargs), None
    if run is None or not run.touches(IN_ATTENTION, layer):
        return plain(module, query, key, value, attention_mask, **kwargs)
    query, key, value = run.visit("q", layer, query), run.visit("k", layer, key), run.visit("v", layer, value)
    if not run.touches(EXPLICIT, layer):
        return plain(module, query, key, value, attention_mask, **kwargs)
    return explicit(run, layer, (query, key, value), _full_mask(module, query, key, attention_mask, kwargs), kwargs)


def _looking_into(module: nn.Module) -> tuple[Run | None, int]:
    """The run of the model that this attention module is part of, and the module's layer."""
    for run in active():
        layer: int | None = getattr(run.owner, "attention_layers", {}).get(module)
        if layer is not None:
            return run, layer
    return None, 0


def _full_mask(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> Tensor | None:
    """The mask as attention applies it: SDPA leaves a causal mask out and says so by None."""
    causal = kwargs.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    return mask if mask is not None or not causal or query.shape[2] == 1 else causal_mask(query, key)


def causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """Bool[Tensor, "query key"]: the queries are the first of as many keys."""
    return torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()


def explicit(
    run: Run, layer: int, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, kwargs: dict[str, Any]
) -> tuple[Float[Tensor, "batch query head d_v"], Tensor]:
    """Attention from q, k and v by its equations, with the sites on the way, and the pattern that it took."""
    query, key, value = qkv
    gone = max(0, run.start + query.shape[2] - key.shape[2])  # keys that a sliding window's cache has let go
    group = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(group, dim=1) if group > 1 else tensor for tensor in (key, value))
    scaling = kwargs.get("scaling")
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    softcap = kwargs.get("softcap")
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if kwargs.get("position_bias") is not None:
        scores = scores + kwargs["position_bias"]
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    scores = run.visit("scores", layer, nn.functional.pad(scores, (gone, 0), value=torch.finfo(scores.dtype).min))
    pattern = run.visit("pattern", layer, softmax(scores, kwargs.get("s_aux")).to(value.dtype))
    if gone and pattern[..., :gone].any():
        raise EditError(f"layer {layer} is to attend to keys that have left the cache", "Pass cache=False.")
    pattern = pattern[..., gone:]
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


def softmax(scores: Float[Tensor, "batch head query key"], sinks: Tensor | None) -> Tensor:
    """Softmax over keys; attention sinks take their share and leave the rows summing to less than one."""
    wide = scores if scores.dtype == torch.float64 else scores.float()
    if sinks is None:
        return wide.softmax(-1)
    column = sinks.to(wide.dtype).reshape(1, -1, 1, 1).expand(*wide.shape[:3], 1)
    return torch.cat([wide, column], -1).softmax(-1)[..., :-1]
