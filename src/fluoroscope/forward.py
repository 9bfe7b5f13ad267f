"""How a wrapped module is called: the keywords that its forward declares, and where its logits are."""

import inspect
from functools import lru_cache
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from fluoroscope.errors import TokenError


@lru_cache(maxsize=64)
def _parameters(forward: Any) -> tuple[str, ...]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return tuple(
        name for name, p in inspect.signature(forward).parameters.items() if p.kind in kinds and name != "self"
    )


def inputs(
    hf: nn.Module,
    ids: Int64[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch all_pos"] | None,
    position_ids: Int64[Tensor, "batch pos"] | None,
    **more: Any,
) -> dict[str, Any]:
    """Keyword arguments of `hf`'s forward, none that it does not declare.

    Args:
        mask: real tokens, cached ones included; None where no row is padded. Positions go along with it,
            for a family that is told only the mask may count pads as positions.
        more: passed where declared: use_cache, past_key_values, logits_to_keep.

    Raises:
        TokenError: rows are padded and the module takes no mask.
    """
    declared = _parameters(type(hf).forward)
    first = "input_ids" if "input_ids" in declared else declared[0]
    given: dict[str, Any] = {first: ids}
    if mask is not None:
        if "attention_mask" not in declared:
            raise TokenError(
                f"{type(hf).__name__} takes no attention mask, so its rows cannot be padded",
                "Batch rows of equal length.",
            )
        given |= {"attention_mask": mask.long(), "position_ids": position_ids}
    given |= {"use_cache": False, **more}
    return {name: value for name, value in given.items() if name in declared}


def logits(output: Any) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits in whatever a forward returned."""
    if isinstance(output, Tensor):
        return output
    return output["logits"] if isinstance(output, dict) else output[0]
