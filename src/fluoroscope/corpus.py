"""A text file as rows of tokens: paragraphs, each encoded as a prompt of its own and cut to a length.

A paragraph ends at a blank line. It begins with whatever begins every prompt of the model (BOS); a paragraph longer
than the length goes on in the next row, without BOS, as a text that was cut.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.prompts import encode

if TYPE_CHECKING:
    from fluoroscope.model import Model

SHORTEST = 2
"""A row of one token says nothing about what follows."""


@dataclass(frozen=True)
class Corpus:
    """Rows of ids, and the SHA-256 (16 hex digits) of the file that they come from."""

    rows: list[list[int]]
    digest: str

    @property
    def tokens(self) -> int:
        """How many there are in all rows."""
        return sum(map(len, self.rows))

    def split(self, every: int = 10) -> tuple[list[list[int]], list[list[int]]]:
        """All rows but each tenth, and each tenth: what to fit to, and what to judge by; at least one of each.

        Raises:
            ArgumentError: fewer than two rows.
        """
        if len(self.rows) < 2:
            raise ArgumentError(f"the text gives {len(self.rows)} row of tokens", "Fitting and judging need two.")
        held = set(range(every - 1, len(self.rows), every)) or {len(self.rows) - 1}
        return [r for n, r in enumerate(self.rows) if n not in held], [self.rows[n] for n in sorted(held)]


def paragraphs(path: str | Path) -> Iterator[str]:
    """The paragraphs of a UTF-8 text file, one at a time.

    Raises:
        ArgumentError: it cannot be read as text.
    """
    try:
        with Path(path).open(encoding="utf8") as file:
            lines: list[str] = []
            for line in file:
                if line.strip():
                    lines.append(line)
                elif lines:
                    yield "".join(lines).rstrip("\n")
                    lines = []
            if lines:
                yield "".join(lines).rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"cannot read {str(path)!r} as text: {error}", "Name a text file in UTF-8.") from error


def rows(model: "Model", path: str | Path, context: int) -> Iterator[list[int]]:
    """The rows of a text file, none longer than `context`, in the order of the text.

    Raises:
        ArgumentError: a context that is too short, or longer than the model's.
        TokenError: the model has no tokenizer.
    """
    if context < SHORTEST or (model.n_ctx is not None and context > model.n_ctx):
        most = "" if model.n_ctx is None else f" to {model.n_ctx}"
        raise ArgumentError(f"context={context} is no length of a row", f"Give {SHORTEST}{most}.")
    for paragraph in paragraphs(path):
        ids = encode(paragraph, model.tokenizer)
        for start in range(0, len(ids), context):
            if len(row := ids[start : start + context]) >= SHORTEST:
                yield row


def load(model: "Model", path: str | Path, context: int) -> Corpus:
    """All rows of a text file.

    Raises:
        ArgumentError: as `rows`, or the file holds no row.
    """
    found = list(rows(model, path, context))
    if not found:
        raise ArgumentError(f"{str(path)!r} holds no text", "Give paragraphs of two tokens or more.")
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    return Corpus(found, digest)


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
