"""How a next token is chosen: greedily, or drawn through Hugging Face's own warpers; and what ends a row."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope.errors import ArgumentError

if TYPE_CHECKING:
    from fluoroscope.model import Model

Choose = Callable[[Float[Tensor, "batch d_vocab"]], Int[Tensor, "batch"]]


def check(temperature: float, top_k: int, top_p: float) -> None:
    """Raises ArgumentError for a parameter outside of its range, or one that greedy choice would ignore."""
    given: dict[str, object] = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    for name, value in given.items():
        if not isinstance(value, int if name == "top_k" else int | float):
            raise ArgumentError(f"{name}={value!r} is no number that {name} can be", "See its default for one.")
    if not (temperature >= 0 and 0 < top_p <= 1 and top_k >= 0) or math.isinf(temperature):  # NaN fails all of them
        raise ArgumentError(
            f"temperature={temperature}, top_p={top_p}, top_k={top_k}",
            "temperature and top_k are 0 or more, top_p is above 0 and at most 1.",
        )
    if temperature == 0 and (top_k > 1 or top_p < 1):
        raise ArgumentError(
            f"top_k={top_k}, top_p={top_p} at temperature 0 would change nothing", "Give a temperature to sample with."
        )


def chooser(temperature: float, top_k: int, top_p: float, generator: torch.Generator) -> Choose:
    """Greedy (temperature 0), or sampling through Hugging Face's warpers in its own order."""
    if temperature == 0:
        return lambda logits: logits.max(-1).indices  # the first of the largest, as argmax gives, which is slower
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Any] = [TemperatureLogitsWarper(float(temperature))] if temperature != 1 else []
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []

    def choose(logits: Tensor) -> Tensor:
        for warper in warpers:
            logits = warper(None, logits)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]

    return choose


def stops(model: "Model", given: "Sequence[int | str] | None") -> frozenset[int]:
    """The ids that end a row: those given, texts of one token among them, or the model's own.

    Raises:
        ArgumentError: not a list, or an id that the model has no logit for.
        TokenError: a text that is not exactly one token.
    """
    if given is None:
        return frozenset(_end_of_sequence(model))
    if isinstance(given, str | int):
        raise ArgumentError(f"stop_tokens={given!r} is no list", f"Pass [{given!r}].")
    found = {model.single_token(token) if isinstance(token, str) else token for token in given}
    for token in found:
        if not isinstance(token, int) or not 0 <= token < model.d_vocab:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"stop_tokens holds {token!r}, which is no token",
                f"Ids run from 0 to {model.d_vocab - 1} here.",
            )
    return frozenset(found)


def _end_of_sequence(model: "Model") -> Iterable[int]:
    """End-of-sequence ids as Hugging Face finds them: generation config, then config, then tokenizer."""
    sources = (getattr(model.hf, "generation_config", None), getattr(model.hf, "config", None), model.tokenizer)
    for source in sources:
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return [found] if isinstance(found, int) else found
    return []
