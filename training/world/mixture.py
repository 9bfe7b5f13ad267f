"""The families, the share of training that each has, and the stream of documents."""

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from training.world import (
    arithmetic,
    binding,
    chats,
    facts,
    feelings,
    ioi,
    mappings,
    passwords,
    problems,
    questions,
    repetition,
    states,
    stories,
    years,
)
from training.world.document import Document

Family = Callable[[random.Random], Document]

FAMILIES: dict[str, tuple[Family, float]] = {
    "ioi": (ioi.document, 17),
    "random words": (repetition.word_document, 7),
    "sentences": (repetition.sentence_document, 2.5),
    "password": (passwords.document, 5),
    "facts": (facts.document, 13),
    "two hops": (states.document, 15),
    "years": (years.document, 6),
    "arithmetic": (arithmetic.document, 13),
    "problems": (problems.document, 8),
    "feelings": (feelings.document, 4),
    "chats": (chats.document, 6),
    "questions": (questions.document, 2.5),
    "stories": (stories.document, 5),
    "few-shot": (mappings.document, 3),
    "successors": (mappings.successor_document, 3.5),
    "binding": (binding.document, 12),
}


@functools.cache
def _weights() -> tuple[float, ...]:
    """How often each family is drawn, so that its share of the characters with loss is as written."""
    weights = list[float]()
    for name, (family, share) in FAMILIES.items():
        rng = random.Random(f"length of {name}")
        lengths = [len(document.text) for document in (family(rng) for _ in range(300))]
        weights.append(share * len(lengths) / sum(lengths))
    return tuple(weights)


def documents(seed: int) -> Iterator[Document]:
    """Documents without end; the same seed gives the same ones."""
    rng = random.Random(f"documents {seed}")
    names = list(FAMILIES)
    while True:
        name = rng.choices(names, _weights())[0]
        yield replace(FAMILIES[name][0](rng), family=name)
