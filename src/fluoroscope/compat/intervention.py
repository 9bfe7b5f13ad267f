"""`intervention` of the Mechanistic Interpretability Toolkit: patching, steering and tracing causes.

A layer is the stream behind its block, whether it is named `transformer.h.6`, `6` or 6; a name that means nothing is an
error. What is moved where is said by `direction`; as there, the corrupted prompt's values go into the clean run.
"""

import warnings
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.compat.causes import (
    CausalTracer,
    Direction,
    activation_patch_experiment,
    compute_feature_attribution,
    layer_patching,
    path_patching,
)
from fluoroscope.compat.changes import ActivationPatch, Change, InterventionHandler, SteeringVector, edits
from fluoroscope.compat.model_loader import ModelInspector, known_options, layer_site, opened
from fluoroscope.errors import ArgumentError
from fluoroscope.generation import Generation, generate
from fluoroscope.methods import steering

if TYPE_CHECKING:
    from fluoroscope.model import Model

__all__ = [
    "ActivationPatch",
    "CausalTracer",
    "Change",
    "Direction",
    "InterventionHandler",
    "SteeringVector",
    "activation_patch_experiment",
    "compute_feature_attribution",
    "create_steering_vector",
    "generated",
    "layer_patching",
    "patch_and_run",
    "path_patching",
    "steer_generation",
    "steering_direction",
]

GENERATION = frozenset(signature(generate).parameters) - {"model", "prompt", "max_new_tokens", "edits"}
"""What `Model.generate` takes besides the prompt, its length and edits."""


def patch_and_run(
    model: "nn.Module | Model | ModelInspector", tokenizer: Any, prompt: str, patches: Sequence[ActivationPatch]
) -> Float[Tensor, "1 pos d_vocab"]:
    """The logits of a prompt under patches."""
    with opened(model, tokenizer) as found:
        return found.trace(prompt, edits=edits(found, patches)).logits


# ── steering ─────────────────────────────────────────────────────────────────────────────────────────


def steering_direction(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    positive_prompts: Sequence[str],
    negative_prompts: Sequence[str],
    layer_name: str | int,
    normalize: bool = False,
    position: steering.Reading = "last",
) -> SteeringVector:
    """Mean state of the positive prompts minus that of the negative ones, with its share of the stream's norm.

    Args:
        normalize: scale it to length 1, which is little beside a stream of norm 100.
        position: the last token of each prompt, or the mean over all but the first, which is often a sink.

    Raises:
        ArgumentError: a side without prompts, or sides that do not differ.
        SiteError: there is no such layer.
    """
    with opened(model, tokenizer) as found:
        site = layer_site(found, layer_name)
        direction = steering.direction(found, positive_prompts, negative_prompts, site, position)
    vector = direction.vector / direction.vector.norm() if normalize else direction.vector
    return SteeringVector(vector, layer_name, norm_ratio=float(vector.double().norm()) / direction.stream)


def create_steering_vector(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    positive_prompts: Sequence[str],
    negative_prompts: Sequence[str],
    layer_name: str | int,
    normalize: bool = False,
    position: steering.Reading = "last",
) -> Float[Tensor, "d_model"]:
    """The vector of `steering_direction` alone."""
    return steering_direction(
        model, tokenizer, positive_prompts, negative_prompts, layer_name, normalize, position
    ).vector  # fmt: skip


def steer_generation(
    model: "nn.Module | Model | ModelInspector",
    tokenizer: Any,
    prompt: str,
    steering_vector: "Tensor | SteeringVector",
    layer_name: str | int,
    coefficient: float = 1.0,
    max_length: int = 50,
    positions: Sequence[int] | None = None,
    **options: Any,
) -> str:
    """The prompt and what follows it while a vector is added to a layer; greedy unless `temperature` is given.

    Args:
        max_length: tokens of prompt and continuation together.
        positions: where to add, counted over the whole sequence; None is everywhere.
        options: `temperature`, `top_k`, `top_p`, `seed` and what else `Model.generate` takes.

    Raises:
        ArgumentError: a prompt that fills `max_length` already, or an unknown option.
        SiteError: there is no such layer.
    """
    vector = steering_vector.vector if isinstance(steering_vector, SteeringVector) else steering_vector
    with opened(model, tokenizer) as found:
        length = int(found.tokens(prompt).lengths[0])
        if length >= max_length:
            raise ArgumentError(
                f"the prompt has {length} tokens and max_length is {max_length}", "max_length counts both."
            )
        stream = steering.length(found, prompt, layer_site(found, layer_name))
        ratio = float(vector.double().norm()) / stream if stream else None
        change = SteeringVector(vector, layer_name, coefficient, positions, ratio)
        return prompt + generated(found, prompt, [change], max_length - length, **options).text


def generated(
    model: "Model", prompt: str, changes: Sequence[Change], max_new_tokens: int, **options: Any
) -> Generation:
    """A continuation under changes; a steering vector that is longer than the stream is warned of.

    Raises:
        ArgumentError: an unknown option; the nearest is named.
    """
    known = known_options(options, GENERATION, ("max_new_tokens",))
    for change in changes:
        if isinstance(change, SteeringVector) and (hint := change.hint()):
            warnings.warn(hint, UserWarning, stacklevel=4)
    given = {"edits": edits(model, changes)} if changes else {}
    return model.generate(prompt, max_new_tokens=max_new_tokens, **given, **known)
