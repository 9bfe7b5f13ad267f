"""The passages of a text file as rows of ids to fit to and to judge by, in batches or in a seeded walk."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.passages import passages

if TYPE_CHECKING:
    from fluoroscope.model import Model


@dataclass(frozen=True)
class Corpus:
    """Rows of ids, and the SHA-256 (16 hex digits) of the file that they come from."""

    rows: list[list[int]]
    digest: str

    def split(self, every: int = 10) -> tuple[list[list[int]], list[list[int]]]:
        """All rows but each tenth, and each tenth: what to fit to, and what to judge by; at least one of each.

        Raises:
            ArgumentError: fewer than two rows.
        """
        if len(self.rows) < 2:
            raise ArgumentError("the text is one passage, and fitting and judging need two", "Give more paragraphs.")
        held = set(range(every - 1, len(self.rows), every)) or {len(self.rows) - 1}
        return [r for n, r in enumerate(self.rows) if n not in held], [self.rows[n] for n in sorted(held)]


def load(model: "Model", path: str, context: int | None) -> Corpus:
    """All passages of a text file; `passages.passages` says what these are, and what is refused."""
    rows = [list(passage.ids) for passage in passages(model, path, context)]
    with Path(path).open("rb") as file:
        return Corpus(rows, hashlib.file_digest(file, "sha256").hexdigest()[:16])


def batches(rows: list[list[int]], tokens: int) -> Iterator[list[list[int]]]:
    """The rows in their order, in groups that padding does not make larger than `tokens`; one row at least."""
    group: list[list[int]] = []
    for row in rows:
        if group and max(len(row), *map(len, group)) * (len(group) + 1) > tokens:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def shuffled(rows: list[list[int]], seed: int, step: int, count: int) -> list[list[int]]:
    """The `count` rows of a step of an endless walk over the rows, each round in an order of its own."""
    chosen: list[list[int]] = []
    for place in range(step * count, (step + 1) * count):
        turn, index = divmod(place, len(rows))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + turn)
        chosen.append(rows[int(torch.randperm(len(rows), generator=generator)[index])])
    return chosen
