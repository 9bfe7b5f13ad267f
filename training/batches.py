"""Rows of tokens for every step: a function of the seed and the step alone."""

import functools
import random
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from training import world
from training.recipe import Recipe

STEPS_PER_CHUNK = 64
DOCUMENTS_AT_ONCE = 512
END_ID = 0


class Batch(NamedTuple):
    """Inputs, the tokens that follow them, and how much each of these counts."""

    inputs: Int[Tensor, "batch pos"]
    targets: Int[Tensor, "batch pos"]
    weights: Float[Tensor, "batch pos"]


Encoded = tuple[list[int], list[float]]


def _encode(tokenizer: PreTrainedTokenizerBase, documents: list[world.Document]) -> list[Encoded]:
    """Ids and weights of documents, each closed by the end-of-text token."""
    found = tokenizer([document.text for document in documents], return_offsets_mapping=True)
    result = list[Encoded]()
    all_ids, all_offsets = cast(list[list[int]], found["input_ids"]), cast(list[Any], found["offset_mapping"])
    for ids, offsets, document in zip(all_ids, all_offsets, documents, strict=True):
        weights = [0.0 if end <= document.muted else 1.0 for _, end in offsets]
        result.append(([*ids, END_ID], [*weights, 1.0]))
    return result


def repeated_row(rng: random.Random, length: int, vocabulary: int) -> Encoded:
    """Random tokens repeated to the end of the row; their first appearance carries no loss."""
    period = rng.randint(6, min(64, length // 2))
    once = [rng.randrange(1, vocabulary) for _ in range(period)]
    ids = (once * (length // period + 1))[:length]
    return ids, [float(i >= period) for i in range(length)]


class Batches:
    """Batches by step; chunks of steps are made when first asked for."""

    def __init__(self, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.chunk = functools.lru_cache(maxsize=1)(self._chunk)

    def __call__(self, step: int) -> Batch:
        chunk, place = divmod(step, STEPS_PER_CHUNK)
        ids, weights = self.chunk(chunk)[place]
        return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:])

    def _chunk(self, number: int) -> list[tuple[Tensor, Tensor]]:
        rng = random.Random(f"rows {self.recipe.seed} {number}")
        stream = world.documents(self.recipe.seed * 1_000_000 + number)
        waiting = list[Encoded]()
        batches = list[tuple[Tensor, Tensor]]()
        for place in range(STEPS_PER_CHUNK):
            length = self.recipe.lengths[place % len(self.recipe.lengths)]
            rows = list[Encoded]()
            for _ in range(self.recipe.tokens // length):
                if rng.random() < self.recipe.random_rows:
                    rows.append(repeated_row(rng, length + 1, len(self.tokenizer)))
                    continue
                # Half of the rows begin with the end-of-text token, as half of the prompts will.
                ids, weights = ([END_ID], [1.0]) if rng.random() < 0.5 else ([], [])
                while len(ids) <= length:
                    if not waiting:
                        waiting = _encode(self.tokenizer, [next(stream) for _ in range(DOCUMENTS_AT_ONCE)])
                    more, their = waiting.pop()
                    ids, weights = ids + more, weights + their
                rows.append((ids[: length + 1], weights[: length + 1]))
            batches.append((torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows])))
        return batches
