"""Where in the pairs of a task: token indices, or roles that the task names, as places that sweeps patch."""

import re
from collections.abc import Sequence

from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.methods.task_sweeps import Place
from fluoroscope.tasks.pairs import Dataset
from fluoroscope.tokens import Tokens

EVERYWHERE = "all tokens"
_INDEX = re.compile(r"-?[0-9]+")


def roles(dataset: Dataset) -> list[str]:
    """What all of the pairs name, in the order of the first clean prompt."""
    first = dataset.pairs[0].spans
    shared = set(first).intersection(*(pair.spans for pair in dataset))
    return sorted(shared, key=lambda role: first[role])


def everywhere(dataset: Dataset) -> Place:
    """All tokens at once."""
    return Place(EVERYWHERE, (None,) * len(dataset))


def named(dataset: Dataset, tokens: Sequence[Tokens], texts: Sequence[str]) -> list[Place]:
    """The places that texts name: an index (negative ones count from the end) or a role, all of whose tokens it is.

    Args:
        tokens: of each clean prompt.

    Raises:
        ArgumentError: a role that not all pairs have, a place named twice, or none.
        TokenError: a pair has no such token.
    """
    if not texts:
        raise ArgumentError("no position was named, so nothing is patched", "Leave positions out for all tokens.")
    if len(set(texts)) < len(texts):
        raise ArgumentError(f"{', '.join(texts)} names a place twice", "Name each once.")
    return [Place(_label(text), tuple(_indices(dataset, tokens, text))) for text in texts]


def _indices(dataset: Dataset, tokens: Sequence[Tokens], text: str) -> list[tuple[int, ...]]:
    if _INDEX.fullmatch(text):
        return [(each.slots(0, int(text))[0],) for each in tokens]
    if text not in roles(dataset):
        known = [*roles(dataset), "-1"]
        raise ArgumentError(f"not all pairs of {dataset.name} have a role {text!r}", nearest(text, known))
    spans = [pair.span(text, each) for pair, each in zip(dataset, tokens, strict=True)]
    return [tuple(range(span.start, span.stop)) for span in spans]


def _label(text: str) -> str:
    return "the end" if text == "-1" else f"token {text}" if _INDEX.fullmatch(text) else text
