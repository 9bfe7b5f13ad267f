"""Text, chats and id lists in, one type out: `Tokens`, whose ids are the truth.

Nothing is ever encoded again from decoded text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from operator import index as index_of
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from fluoroscope.chats import Chat, Message, Turn, encode_chat, turns_of
from fluoroscope.errors import TokenError
from fluoroscope.pieces import Array, bare, cover, decode, label, offsets_of, raw_piece, short, single_token, split
from fluoroscope.prompts import check_ids, encode, from_array, int_row, items_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Chat", "Message", "Pad", "Tokens", "Turn", "decode", "encode", "label", "single_token", "tokenize"]

Pad = Literal["right", "left"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """A batch of prompts as ids, padded on one side; slots of padding hold id 0, whatever they held before.

    "Token index" counts a row's real tokens from 0, "slot" counts the positions of the padded tensor.

    Args:
        ids: the ids, the one truth about what the model sees.
        mask: True where a token is real.
        pad: the side on which shorter rows are padded.
        tokenizer: gives pieces and turns; None for models without one.
        chats: one rendered chat per row, where the rows were made of chats.

    Raises:
        TokenError: shapes or types differ from these, a row has no real token, or padding is not on its side.
    """

    ids: Int64[Tensor, "batch pos"]
    mask: Bool[Tensor, "batch pos"]
    pad: Pad = "right"
    tokenizer: "PreTrainedTokenizerBase | None" = field(default=None, repr=False)
    chats: tuple[Chat, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        ids, mask = self.ids, self.mask
        if ids.ndim != 2 or ids.dtype != torch.int64 or mask.dtype != torch.bool or mask.shape != ids.shape:
            raise TokenError(
                f"ids {tuple(ids.shape)} {ids.dtype} with mask {tuple(mask.shape)} {mask.dtype} are no tokens",
                "Both are [batch, pos]; ids are int64, the mask is bool.",
            )
        if self.pad not in ("right", "left"):
            raise TokenError(f"there is no padding side {self.pad!r}", "Pass 'right' or 'left'.")
        if len(ids) == 0 or not bool(mask.any(dim=1).all()):
            raise TokenError("a prompt of zero tokens has no position to look at", "Every row needs a real token.")
        if self.chats is not None and len(self.chats) != len(ids):
            raise TokenError(f"{len(self.chats)} chats for {len(ids)} rows")
        if self.padded:
            slot, n_pad = torch.arange(ids.shape[1], device=ids.device), ids.shape[1] - self.lengths
            real = slot < self.lengths[:, None] if self.pad == "right" else slot >= n_pad[:, None]
            if not torch.equal(mask, real):
                raise TokenError(f"the mask is not padded on the {self.pad}", "Real tokens of a row stand together.")
            object.__setattr__(self, "ids", ids.masked_fill(~mask, 0))

    def __len__(self) -> int:
        return self.batch

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.ids.shape[0]

    @cached_property
    def lengths(self) -> Int64[Tensor, "batch"]:
        """Number of real tokens of each row."""
        return self.mask.sum(dim=1)

    @cached_property
    def padded(self) -> bool:
        """Whether any slot is padding."""
        return not bool(self.mask.all())

    @property
    def first(self) -> Int64[Tensor, "batch"]:
        """Slot of each row's first real token."""
        return self.mask.to(torch.int64).argmax(dim=1)

    @property
    def last(self) -> Int64[Tensor, "batch"]:
        """Slot of each row's last real token."""
        return self.first + self.lengths - 1

    @property
    def position_ids(self) -> Int64[Tensor, "batch pos"]:
        """Index of each real token within its row; 0 on padding."""
        return ((self.mask.cumsum(dim=1) - 1) * self.mask).to(torch.int64)

    @cached_property
    def pieces(self) -> list[list[str]]:
        """What each real token shows; joined, a row is exactly its decoded ids.

        A token that ends in the middle of a character shows nothing, the one that completes it shows the character.
        Without a tokenizer, and nowhere else, a piece is `<|id|>`.
        """
        if self.tokenizer is None:
            return [[bare(number) for number in row] for row in self.rows]
        return [split(row, self.tokenizer) for row in self.rows]

    @cached_property
    def labels(self) -> list[list[str]]:
        """The same for people: a token that shows nothing by itself reads as `label` has it, `<0xE6>` say."""
        return [
            [piece or label(number, self.tokenizer) for piece, number in zip(*row, strict=True)]
            for row in zip(self.pieces, self.rows, strict=True)
        ]

    @cached_property
    def raw_pieces(self) -> list[list[str]]:
        """The tokenizer's own pieces of each row's real tokens; `<|id|>` for ids that it does not have."""
        return [[raw_piece(number, self.tokenizer) or bare(number) for number in row] for row in self.rows]

    @cached_property
    def turns(self) -> list[list[Turn]] | None:
        """Each row's messages as token spans; None if the rows were not made of chats.

        Raises:
            TokenError: a content cannot be proved to be a span of tokens, because the template changes, drops,
                repeats or reorders it, or because a token holds text of both the template and the content.
        """
        if self.chats is None or self.tokenizer is None:
            return None
        triples = zip(self.chats, self.rows, self.pieces, strict=True)
        return [turns_of(chat, row, pieces, self.tokenizer) for chat, row, pieces in triples]

    @cached_property
    def rows(self) -> list[list[int]]:
        """The ids of each row's real tokens."""
        return [row[real].tolist() for row, real in zip(self.ids.cpu(), self.mask.cpu(), strict=True)]

    def row(self, row: int) -> "Tokens":
        """One row without padding, as a batch of one."""
        index = self._check_row(row)
        ids = self.ids[index, self.mask[index]][None]
        chats = None if self.chats is None else (self.chats[index],)
        return replace(self, ids=ids, mask=torch.ones_like(ids, dtype=torch.bool), chats=chats)

    def to(self, device: "torch.device | str | int") -> "Tokens":
        """The same tokens on another device."""
        return replace(self, ids=self.ids.to(device), mask=self.mask.to(device))

    def padded_on(self, pad: Pad) -> "Tokens":
        """The same rows padded on the given side."""
        if pad == self.pad or not self.padded:
            return replace(self, pad=pad)
        return _padded(self.rows, pad, self.tokenizer, self.chats).to(self.ids.device)

    def slots(self, row: int, positions: int | slice | Iterable[int]) -> list[int]:
        """Slots of the padded tensor that hold the given tokens of a row.

        Args:
            row: which row.
            positions: token indices; negative ones count from the end of the row's real tokens.

        Raises:
            TokenError: an index, or a bound of a slice, beyond the row's real tokens.
        """
        index = self._check_row(row)
        length = len(self.rows[index])
        if isinstance(positions, slice):
            bounds = [bound for bound in (positions.start, positions.stop) if bound is not None]
            if any(not -length <= bound <= length for bound in bounds):
                raise TokenError(f"{positions} reaches beyond {self.named(row)}", counting(length))
            positions = range(length)[positions]
        wanted = [index_of(each) for each in (positions if isinstance(positions, Iterable) else [positions])]
        for position in wanted:
            if not -length <= position < length:
                raise TokenError(f"{self.named(row)} has no token {position}", counting(length))
        offset = self.ids.shape[1] - length if self.pad == "left" else 0
        return [offset + position % length for position in wanted]

    def span(self, text_or_chars: str | tuple[int, int], row: int = 0) -> slice:
        """The token indices that cover a piece of a row's text, for `slots`.

        Args:
            text_or_chars: a text that the row holds exactly once, or (start, end) characters of its joined pieces.
            row: which row.

        Raises:
            TokenError: the text is empty, not in the row, or there more than once; characters out of range.
        """
        pieces = self.pieces[self._check_row(row)]
        whole = "".join(pieces)
        if isinstance(text_or_chars, str):
            start = whole.find(text_or_chars)
            if not text_or_chars or start < 0:
                raise TokenError(f"{self.named(row)} does not hold {text_or_chars!r}", f"It reads {short(whole)}.")
            if whole.find(text_or_chars, start + 1) >= 0:
                raise TokenError(
                    f"{text_or_chars!r} is in {self.named(row)} more than once",
                    "Lengthen it until it is unique, or pass (start, end) characters or token indices.",
                )
            end = start + len(text_or_chars)
        else:
            start, end = text_or_chars
            if not 0 <= start < end <= len(whole):
                beyond = f"{self.named(row)} has no characters {start} to {end}"
                raise TokenError(beyond, f"It has {len(whole)} characters.")
        return cover(offsets_of(pieces), start, end)

    def named(self, row: int) -> str:
        """A row as sentences call it: the prompt, where there is one."""
        return "the prompt" if self.batch == 1 else f"row {row}"

    def _check_row(self, row: int) -> int:
        if not -self.batch <= row < self.batch:
            raise TokenError(f"there is no row {row}", f"The batch has {self.batch}.")
        return row % self.batch


def counting(length: int) -> str:
    """How tokens of a prompt are counted, for those who named one that is not there."""
    return f"Its {length} real tokens count from 0 or from -1 backwards." if length > 1 else "Its only real token is 0."


def tokenize(
    prompt: "str | Sequence[Any] | Array | Tokens",
    tokenizer: "PreTrainedTokenizerBase | None",
    *,
    d_vocab: int,
    n_ctx: int | None,
    bos: bool | None = None,
    pad: Pad | None = None,
    device: "torch.device | str | None" = None,
    add_generation_prompt: bool | None = None,
    chat_options: Mapping[str, Any] | None = None,
) -> Tokens:
    """Turns any kind of prompt into `Tokens` that fit the model, or says why it cannot.

    Args:
        prompt: a text, a list of ids, a chat (messages with "role" and "content"), a list of any one of these,
            an integer tensor or array of one or two axes (no padding is assumed in it), or `Tokens`.
        tokenizer: needed for texts and chats.
        d_vocab: the width of the model's embedding; ids count below it.
        n_ctx: the most tokens that the model reads; None for no limit.
        bos: for texts as in `encode`; for chats True demands that the template writes BOS first. Ids are taken as
            they are, so True is refused with them.
        pad: the side on which shorter rows are padded; None is right, and leaves `Tokens` as they are.
        device: where ids and mask live; None leaves tensors where they are.
        add_generation_prompt: for chats, whether the template opens the next answer; None does so unless the last
            message is the assistant's own or is to be continued.
        chat_options: further arguments of the tokenizer's `apply_chat_template`, such as tools.

    Raises:
        TokenError: no such prompt, no token, ids out of range, too long, or BOS twice.
    """
    chats: tuple[Chat, ...] | None = None
    given = isinstance(prompt, Tokens | Tensor | np.ndarray)
    items, kind = ([], "ids") if given else items_of(prompt)
    if bos and kind == "ids":
        raise TokenError("ids are taken as they are, so bos=True cannot add to them", "Write the BOS id yourself.")
    if given:
        tokens = _as_given(prompt, tokenizer, pad)
        check_ids(tokens.rows, d_vocab)
    else:
        if kind == "text":
            rows = [encode(text, tokenizer, bos=bos) for text in items]
        elif kind == "chat":
            pairs = [encode_chat(item, tokenizer, bos, add_generation_prompt, chat_options or {}) for item in items]
            rows, chats = [ids for ids, _ in pairs], tuple(chat for _, chat in pairs)
        else:
            rows = [int_row(item) for item in items]
        check_ids(rows, d_vocab)  # before a tensor is made of them: an id may not even fit one
        tokens = _padded(rows, pad or "right", tokenizer, chats)
    if tokens.chats is None and (add_generation_prompt is not None or chat_options):
        raise TokenError("this prompt is no chat, so it has no use for chat options", "Leave them out.")
    _check_length(tokens, n_ctx)
    return tokens if device is None else tokens.to(device)


def _as_given(prompt: "Tokens | Array", tokenizer: "PreTrainedTokenizerBase | None", pad: Pad | None) -> Tokens:
    if isinstance(prompt, Tokens):
        tokens = prompt if prompt.tokenizer is not None else replace(prompt, tokenizer=tokenizer)
        return tokens if pad is None else tokens.padded_on(pad)
    ids = from_array(prompt)
    ids = ids[None] if ids.ndim == 1 else ids
    if ids.ndim != 2 or ids.numel() == 0:
        raise TokenError(f"a tensor of shape {tuple(prompt.shape)} is no prompt", "Pass [pos] or [batch, pos] ids.")
    return Tokens(ids, torch.ones_like(ids, dtype=torch.bool), pad or "right", tokenizer)


def _check_length(tokens: Tokens, n_ctx: int | None) -> None:
    longest = int(tokens.lengths.max())
    if n_ctx is not None and longest > n_ctx:
        row = tokens.named(int(tokens.lengths.argmax()))
        raise TokenError(f"{row} has {longest} tokens, the context holds {n_ctx}", "Nothing is cut: shorten it.")


def _padded(
    rows: list[list[int]], pad: Pad, tokenizer: "PreTrainedTokenizerBase | None", chats: tuple[Chat, ...] | None
) -> Tokens:
    width = max(len(row) for row in rows)
    gaps = [[0] * (width - len(row)) for row in rows]
    ids = [row + gap if pad == "right" else gap + row for row, gap in zip(rows, gaps, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    slots = torch.arange(width)
    mask = slots < lengths if pad == "right" else slots >= width - lengths
    return Tokens(torch.tensor(ids), mask, pad, tokenizer, chats)
