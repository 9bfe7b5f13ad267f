"""What tokens show: an id as a label, a row of ids as pieces that join to its text, a text as the one id it is."""

from collections.abc import Iterable, Sequence
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from fluoroscope.errors import TokenError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Array = Tensor | np.ndarray[Any, Any]

_UNKNOWN = "\ufffd"  # what decoding shows for bytes that are no character
_ANCHOR = "a"


def decode(ids: "Iterable[int] | Array", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text of ids, special tokens and spaces as they are; ids that the tokenizer lacks show nothing."""
    row = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else [int(number) for number in ids]
    return cast("str", tokenizer.decode(row, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def single_token(text: str, tokenizer: "PreTrainedTokenizerBase | None") -> int:
    """The id of a text that is exactly one token, without special tokens.

    A leading space means "this word inside a sentence", whether the tokenizer keeps it in the word (" She" of GPT-2)
    or puts one before every text by itself (SentencePiece). Without a leading space, the latter take the word as it
    begins a text, which is the same token.

    Raises:
        TokenError: it is several tokens, none, or a token of another text (an unknown word, say).
    """
    if tokenizer is None:
        raise TokenError(f"text {short(text)} needs a tokenizer, and this model has none", "Pass token ids.")
    ids = ids_of(text, tokenizer, special=False)
    if len(ids) != 1:
        anchor, anchored = (ids_of(before, tokenizer, special=False) for before in (_ANCHOR, _ANCHOR + text))
        if anchored[:-1] == anchor and label(anchored[-1], tokenizer) == text:
            return anchored[-1]
        other = text[1:] if text.startswith(" ") else " " + text
        alike = ids_of(other, tokenizer, special=False) if other.strip() else []
        hint = f"{other!r} is one token: {alike[0]}." if len(alike) == 1 else "Pick a text that is one token, or an id."
        pieces = ", ".join(repr(label(number, tokenizer)) for number in ids)
        raise TokenError(f"{text!r} is {len(ids)} tokens" + (f": {pieces}" if pieces else ""), hint)
    shown = label(ids[0], tokenizer)
    if shown not in (text, " " + text):
        raise TokenError(f"the tokenizer reads {text!r} as {shown!r}, which is another text", "Pass its id instead.")
    return ids[0]


def label(token_id: int, tokenizer: "PreTrainedTokenizerBase | None") -> str:
    """One id as text for people: its leading space is kept, bytes that are no character read `<0xE2>`.

    Ids beyond the tokenizer, and all ids where there is none, read `<|512|>`.

    Raises:
        TokenError: a negative id.
    """
    if token_id < 0:
        raise TokenError(f"there is no token {token_id}", "Ids count from 0.")
    raw = raw_piece(token_id, tokenizer)
    if raw is None or tokenizer is None:
        return bare(token_id)
    once, twice = decode([token_id], tokenizer), decode([token_id, token_id], tokenizer)
    shown = twice[len(once) :] if twice.startswith(once) else once  # alone, a first token may lose its space
    if shown and _UNKNOWN not in shown:
        return shown
    if all(char in _BYTE_OF for char in raw):
        return _show_bytes(bytes(_BYTE_OF[char] for char in raw))
    return raw


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level BPE piece stands for (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _show_bytes(data: bytes) -> str:
    shown = ""
    while data:
        try:
            return shown + data.decode("utf8")
        except UnicodeDecodeError as error:
            broken = data[error.start : error.end]
            shown += data[: error.start].decode("utf8") + "".join(f"<0x{byte:02X}>" for byte in broken)
            data = data[error.end :]
    return shown


def bare(token_id: int) -> str:
    """How an id without a piece is shown."""
    return f"<|{token_id}|>"


def short(text: str) -> str:
    """A text as messages quote it, cut if it is long."""
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}…"


def raw_piece(token_id: int, tokenizer: "PreTrainedTokenizerBase | None") -> str | None:
    """The tokenizer's own piece; None if it has none for this id."""
    if tokenizer is None:
        return None
    try:
        return cast("str | None", tokenizer.convert_ids_to_tokens(token_id))
    except (IndexError, KeyError, OverflowError):
        return None


def ids_of(text: str, tokenizer: "PreTrainedTokenizerBase", *, special: bool) -> list[int]:
    """The tokenizer's own ids, with or without the special tokens that it adds.

    Raises:
        TokenError: half a character, which no encoding can write (a lone surrogate).
    """
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise TokenError(f"{short(text)} holds a lone surrogate, which is no character", "Repair the text first.")
    return list(cast("list[int]", tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]))


# ── rows


def split(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """What each token adds to the decoded text; their join is that text, whatever the tokenizer does."""
    whole = decode(ids, tokenizer)
    if tokenizer.is_fast and _UNKNOWN not in whole:
        pieces = _streamed(ids, tokenizer)
        if pieces is not None and "".join(pieces) == whole:
            return pieces
    return _by_prefixes(ids, whole, tokenizer)


def _streamed(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> list[str] | None:
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=False)
    backend = cast("Any", tokenizer).backend_tokenizer
    try:
        return [stream.step(backend, number) or "" for number in ids]
    except Exception:  # tokenizers raises bare Exception where a later byte changes what earlier ones read
        return None


def _by_prefixes(ids: list[int], whole: str, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Quadratic in the number of tokens, but right for text that is no valid UTF-8."""
    prefixes = [decode(ids[: k + 1], tokenizer) for k in range(len(ids))]
    ends: list[int] = []
    end = 0
    for k, prefix in enumerate(prefixes):
        agreed = len(commonprefix([prefix, whole]))  # noqa: RUF071 — characters are what is wanted
        # U+FFFD at the end is a character cut short if the whole reads on differently, or if another byte adds nothing.
        cut = prefix.endswith(_UNKNOWN) and (agreed < len(prefix) or prefixes[k + 1 : k + 2] == [prefix])
        end = end if cut else max(end, agreed)
        ends.append(end)
    return [whole[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]


def offsets_of(pieces: list[str]) -> list[tuple[int, int]]:
    """Characters that each piece covers; tokens of a character cut into several all cover that character."""
    offsets: list[tuple[int, int]] = []
    start = waiting = 0
    for piece in pieces:
        waiting += 1
        if piece:
            offsets += [(start, start + len(piece))] * waiting
            start, waiting = start + len(piece), 0
    return offsets + [(start, start)] * waiting


def reaching(offsets: Sequence[tuple[int, int]], char: int) -> int:
    """The first token that ends after a character position."""
    return next((k for k, (_, end) in enumerate(offsets) if end > char), len(offsets))


def cover(offsets: Sequence[tuple[int, int]], start: int, end: int) -> slice:
    """The tokens that cover characters `start` to `end`; the empty slice where these are the same."""
    first = reaching(offsets, start)
    if start == end:
        return slice(first, first)
    return slice(first, max((k + 1 for k, (begin, _) in enumerate(offsets) if begin < end), default=first))
