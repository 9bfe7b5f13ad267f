"""One text read by two models: which tokens of either face each other, whatever their tokenizers.

Tokens face each other where both tokenizers end a token behind the same character: up to there either model has read
the same text, and nothing of what follows. What a tokenizer puts before every text (BOS, say) faces nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import passages
from fluoroscope.pieces import offsets_of
from fluoroscope.prompts import lead
from fluoroscope.sites import Site
from fluoroscope.tokens import tokenize

if TYPE_CHECKING:
    from fluoroscope.model import Model

_AT_ONCE = 16
"""Rows of a forward pass."""


@dataclass(frozen=True)
class Reading:
    """A text as one of the two models reads it.

    Args:
        ids: what it reads, its lead included.
        lead: how many of them the tokenizer puts before every text.
        slots: indices of the tokens that face one of the other model, in order.
    """

    ids: tuple[int, ...]
    lead: int
    slots: tuple[int, ...]


def facing(one: "Model", other: "Model", prompt: str) -> tuple[Reading, Reading]:
    """A text as either model reads it, however long; ids only if they are the same tokens to both.

    Raises:
        ArgumentError: several prompts, ids that are other tokens to the other model, or a text that a tokenizer
            changes.
        TokenError: a model has no tokenizer, or no such ids.
    """
    tokens = [tokenize(prompt, each.tokenizer, d_vocab=each.n_input, n_ctx=None) for each in (one, other)]
    if tokens[0].batch != 1:
        raise ArgumentError(f"{tokens[0].batch} prompts were given", "This analysis takes one prompt.")
    rows, pieces = [tuple(each.rows[0]) for each in tokens], [each.pieces[0] for each in tokens]
    begin = [lead(each.tokenizer) for each in (one, other)]
    skip = [len(ids) if row[: len(ids)] == tuple(ids) else 0 for ids, row in zip(begin, rows, strict=True)]
    if rows[0] == rows[1] and pieces[0] == pieces[1]:
        every = tuple(range(skip[0], len(rows[0])))
        return Reading(rows[0], skip[0], every), Reading(rows[1], skip[0], every)
    if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError("these ids are other tokens to the other model", "Give a text, which both can read.")
    ends = [_ends(shown[start:]) for shown, start in zip(pieces, skip, strict=True)]
    _check_text(*("".join(shown[start:]) for shown, start in zip(pieces, skip, strict=True)))
    shared = sorted(ends[0].keys() & ends[1].keys(), reverse=True)
    first, second = (
        Reading(row, start, tuple(start + place[end] for end in shared))
        for row, start, place in zip(rows, skip, ends, strict=True)
    )
    return first, second


def _ends(pieces: list[str]) -> dict[int, int]:
    """How many characters are left behind each token -> its index; of a character in several tokens the last counts."""
    whole = len("".join(pieces))
    return {whole - end: index for index, (_, end) in enumerate(offsets_of(pieces))}


def _check_text(one: str, other: str) -> None:
    """Both tokenizers give the text back, but for the space that some put before it."""
    a, b = one.lstrip(), other.lstrip()
    if a != b:
        part = next((k for k, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))
        raise ArgumentError(
            f"one model reads {a[part : part + 12]!r} where the other reads {b[part : part + 12]!r} (character {part})",
            "Their tokenizers do not give the same text back; leave out the characters that one of them changes.",
        )


def cut(pair: tuple[Reading, Reading], rooms: tuple[int, int]) -> Iterator[tuple[Reading, Reading]]:
    """A text in pieces that both models have room for, cut behind tokens that face each other; each keeps its lead.

    Args:
        rooms: the most tokens of a piece, its lead included.

    Raises:
        ArgumentError: too long a stretch in which no tokens face each other.
    """
    count, done = len(pair[0].slots), 0
    starts = [each.lead for each in pair]
    while done < count:
        fits = [room - each.lead + start for each, room, start in zip(pair, rooms, starts, strict=True)]
        stop = done
        while stop < count and all(each.slots[stop] < most for each, most in zip(pair, fits, strict=True)):
            stop += 1
        if stop == done:
            raise ArgumentError(
                f"the tokenizers end no token together within {min(rooms)} tokens", "Leave that part of the text out."
            )
        one, other = (
            Reading(
                ids=(*each.ids[: each.lead], *each.ids[start : each.slots[stop - 1] + 1]),
                lead=each.lead,
                slots=tuple(each.lead + slot - start for slot in each.slots[done:stop]),
            )
            for each, start in zip(pair, starts, strict=True)
        )
        yield one, other
        starts, done = [each.slots[stop - 1] + 1 for each in pair], stop


def read(one: "Model", other: "Model", path: str) -> Iterator[tuple[Reading, Reading]]:
    """The paragraphs of a text file as either model reads them, in pieces that both have room for.

    Raises:
        ArgumentError: as `facing` and `cut`, and no such file, no UTF-8 or no text.
    """
    passages.size(path)
    rooms = (passages.room(one, None), passages.room(other, None))
    for _, text, _ in passages.paragraphs(path):
        yield from cut(facing(one, other, text), rooms)


def limited(pairs: Iterable[tuple[Reading, Reading]], most: int) -> list[tuple[Reading, Reading]]:
    """The first readings with so many tokens that face each other, the last one shortened."""
    found: list[tuple[Reading, Reading]] = []
    left = most
    for one, other in pairs:
        if left <= 0:
            break
        found.append((_shortened(one, left), _shortened(other, left)))
        left -= len(one.slots)
    return found


def _shortened(reading: Reading, most: int) -> Reading:
    if len(reading.slots) <= most:
        return reading
    return Reading(reading.ids[: reading.slots[most - 1] + 1], reading.lead, reading.slots[:most])


def states(model: "Model", readings: Sequence[Reading], sites: Sequence[Site]) -> Float[Tensor, "depth token d_model"]:
    """Values at the tokens that face one of the other model, reading by reading, in float64 on the CPU."""
    found: list[Tensor] = []
    for start in range(0, len(readings), _AT_ONCE):
        batch = readings[start : start + _AT_ONCE]
        trace = model.trace([list(each.ids) for each in batch], sites=sites)
        values = torch.stack([trace[site] for site in sites]).cpu().double()
        found += [values[:, row, list(each.slots)] for row, each in enumerate(batch)]
    return torch.cat(found, 1)
