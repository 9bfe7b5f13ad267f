"""What the world hands out: documents to learn from and cases to be tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Document:
    """A text of one family; its first `muted` characters are read but carry no loss."""

    text: str
    family: str = ""
    muted: int = 0


@dataclass(frozen=True)
class Case:
    """A prompt whose continuation is known; `foil` is the tempting wrong one.

    `info["accepted"]` lists all first words that count as right, where there are several. Cases of random tokens have
    no text: `info["draws"]` are numbers in [0, 1) that become ids by multiplication with the size of the vocabulary.
    """

    prompt: str
    answer: str
    foil: str | None = None
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
