"""A text file as passages that a model can read, one after the other, without holding the file in memory.

Blank lines separate paragraphs. Each paragraph is a text of its own: it is tokenized alone and cut into passages of
at most `context` tokens that do not overlap, so the first tokens of a passage see little before them. Every passage
begins with what the tokenizer puts before every text (BOS, say), which counts as none of its tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.prompts import encode, lead
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model

MOST = 256
"""Tokens of a passage where neither the caller nor the model asks for fewer."""

_TOKENS_AT_ONCE = 4096
_POOL = 256


@dataclass(frozen=True)
class Passage:
    """A piece of a paragraph, as the model reads it.

    Args:
        index: among all passages of the file, from 0.
        ids: what it reads, the lead included.
        lead: how many of them the tokenizer puts before every text.
        line: line of the file on which the paragraph begins, from 1.
        start: index of the first token behind the lead in the paragraph.
        end: bytes of the file that were read up to the end of the paragraph.
    """

    index: int
    ids: tuple[int, ...]
    lead: int
    line: int
    start: int
    end: int


def size(path: str) -> int:
    """Bytes of a text file.

    Raises:
        ArgumentError: there is no such file, or nothing in it.
    """
    file = Path(path)
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise ArgumentError(f"text={path!r} {what}", "Name a text file in UTF-8.")
    return file.stat().st_size


def passages(model: "Model", path: str, context: int | None = None) -> Iterator[Passage]:
    """All passages of a file, in order.

    Args:
        context: the most tokens of a passage, its lead included; as many as the model reads, at most 256, if None.

    Raises:
        ArgumentError: no such file, no text in it, no UTF-8, or a context that the model does not have.
        TokenError: no tokenizer, or a paragraph that begins with the BOS that would be added.
    """
    size(path)
    most = room(model, context)
    begin = lead(model.tokenizer)
    if most <= len(begin):
        raise ArgumentError(f"context={most} holds no token behind the {len(begin)} that begin every text")
    index = 0
    for line, text, end in paragraphs(path):
        ids = encode(text, model.tokenizer)[len(begin) :]
        step = most - len(begin)
        for start in range(0, len(ids), step):
            yield Passage(index, (*begin, *ids[start : start + step]), len(begin), line, start, end)
            index += 1


def paragraphs(path: str) -> Iterator[tuple[int, str, int]]:
    """(line on which it begins, text, bytes read so far) of what blank lines separate.

    Raises:
        ArgumentError: no UTF-8, or no text.
    """
    begun, lines, done = 0, list[str](), 0
    with Path(path).open("rb") as file:
        for number, raw in enumerate(file, 1):
            line = _decoded(raw, number, path)
            if not line.strip() and lines:
                yield begun, "\n".join(lines), done
                lines = []
            elif line.strip():
                begun = number if not lines else begun
                lines.append(line)
            done += len(raw)
    if lines:
        yield begun, "\n".join(lines), done
    if begun == 0:
        raise ArgumentError(f"there is no text in {path!r}", "Name a file with words in it.")


def batches(found: Iterable[Passage], at_once: int | None = None) -> Iterator[list[Passage]]:
    """Passages that fit together into one forward pass; those of about one length, so that little of it is padding.

    Args:
        at_once: the most tokens of a pass, padding included.
    """
    limit, rest = _TOKENS_AT_ONCE if at_once is None else at_once, iter(found)
    while pool := sorted(islice(rest, _POOL), key=lambda passage: -len(passage.ids)):
        while pool:
            rows = max(1, limit // len(pool[0].ids))
            yield pool[:rows]
            pool = pool[rows:]


def counted(batch: list[Passage], tokens: Tokens) -> Bool[Tensor, "row pos"]:
    """The slots of a batch that hold tokens of the text: neither lead nor padding."""
    leads = torch.tensor([passage.lead for passage in batch], device=tokens.ids.device)
    slots = torch.arange(tokens.ids.shape[1], device=tokens.ids.device)
    return tokens.mask & (slots >= tokens.first[:, None] + leads[:, None])


def values(model: "Model", path: str, sites: Sequence[Site], most: int) -> Float[Tensor, "site token d_model"]:
    """Values at the first `most` tokens of the passages of a file, in float64."""
    found: list[Tensor] = []
    for batch in batches(passages(model, path)):
        tokens = model.tokens([list(passage.ids) for passage in batch])
        trace = model.trace(tokens, sites=sites)
        mask = counted(batch, tokens)
        found.append(torch.stack([trace[site][mask] for site in sites]).double())
        if sum(each.shape[1] for each in found) >= most:
            break
    return torch.cat(found, 1)[:, :most]


def _decoded(raw: bytes, number: int, path: str) -> str:
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"line {number} of {path!r} is no UTF-8", "Convert the file to UTF-8.") from error


def room(model: "Model", context: int | None) -> int:
    """The most tokens of a passage.

    Raises:
        ArgumentError, TokenError: a context of nothing, or more than the model reads.
    """
    if context is None:
        return min(MOST, model.n_ctx or MOST)
    if context < 1:
        raise ArgumentError(f"context={context} holds no token", "Give at least 1.")
    if model.n_ctx is not None and context > model.n_ctx:
        raise TokenError(f"context={context} is beyond the {model.n_ctx} tokens that {model.name} reads")
    return context
