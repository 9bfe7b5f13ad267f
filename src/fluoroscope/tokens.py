"""Text, chats and id lists in, one type out: `Tokens`, whose ids are the truth.

Nothing is ever encoded again from decoded text, and the rule for the first token (BOS) stands in `encode` alone.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from operator import index as index_of
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from fluoroscope.errors import TokenError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pad = Literal["right", "left"]
Message = Mapping[str, Any]
Array = Tensor | np.ndarray[Any, Any]

_UNKNOWN = "\ufffd"  # what decoding shows for bytes that are no character
# What `tokenize` decides about a chat, in the words of `apply_chat_template`.
_OURS = {"conversation", "add_generation_prompt", "tokenize", "return_dict", "return_tensors", "padding"} | {
    "truncation", "max_length", "tokenizer_kwargs", "return_assistant_tokens_mask", "sanitize_control_tokens"
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One message of a chat as spans of token indices within its row: `full` with the template, `content` without.

    Turns tile the row: the first starts at token 0, each ends where the next one starts, and a generation prompt
    is part of none. Where the template cannot render the chat up to here alone (a system message merged into the
    user's), the text between two contents counts to the earlier turn.

    Args:
        index: its place in the chat, from 0.
        role: the message's role, such as "user".
        full_start: first token of the turn, template tokens included.
        full_end: one past its last token.
        content_start: first token of the message's content.
        content_end: one past the content's last token.
    """

    index: int
    role: str
    full_start: int
    full_end: int
    content_start: int
    content_end: int

    @property
    def full(self) -> slice:
        return slice(self.full_start, self.full_end)

    @property
    def content(self) -> slice:
        return slice(self.content_start, self.content_end)

    @property
    def n_total_tokens(self) -> int:
        return self.full_end - self.full_start

    @property
    def n_content_tokens(self) -> int:
        return self.content_end - self.content_start


@dataclass(frozen=True)
class Chat:
    """A rendered chat, with all that is needed to render it again while its turns are looked for.

    Args:
        messages: the messages as they were given.
        text: what the template made of them.
        generation_prompt: whether the header of the next answer was asked for.
        options: further arguments of the template.
        offsets: characters of `text` that each token covers; None from tokenizers that do not tell.
    """

    messages: tuple[Message, ...]
    text: str
    generation_prompt: bool
    options: Mapping[str, Any]
    offsets: tuple[tuple[int, int], ...] | None


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
            return [[_bare(number) for number in row] for row in self._rows]
        return [_pieces(row, self.tokenizer) for row in self._rows]

    @cached_property
    def raw_pieces(self) -> list[list[str]]:
        """The tokenizer's own pieces of each row's real tokens; `<|id|>` for ids that it does not have."""
        return [[_raw(number, self.tokenizer) or _bare(number) for number in row] for row in self._rows]

    @cached_property
    def turns(self) -> list[list[Turn]] | None:
        """Each row's messages as token spans; None if the rows were not made of chats.

        Raises:
            TokenError: a content cannot be proved to be a span of tokens, because the template changes, drops,
                repeats or reorders it, or because a token holds text of both the template and the content.
        """
        if self.chats is None or self.tokenizer is None:
            return None
        triples = zip(self.chats, self._rows, self.pieces, strict=True)
        return [_turns(chat, row, pieces, self.tokenizer) for chat, row, pieces in triples]

    @cached_property
    def _rows(self) -> list[list[int]]:
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
        return _padded(self._rows, pad, self.tokenizer, self.chats).to(self.ids.device)

    def slots(self, row: int, positions: int | slice | Iterable[int]) -> list[int]:
        """Slots of the padded tensor that hold the given tokens of a row.

        Args:
            row: which row.
            positions: token indices; negative ones count from the end of the row's real tokens.

        Raises:
            TokenError: an index, or a bound of a slice, beyond the row's real tokens.
        """
        index = self._check_row(row)
        length = len(self._rows[index])
        if isinstance(positions, slice):
            bounds = [bound for bound in (positions.start, positions.stop) if bound is not None]
            if any(not -length <= bound <= length for bound in bounds):
                raise TokenError(f"{positions} reaches beyond row {row}", f"It has {length} real tokens.")
            positions = range(length)[positions]
        wanted = [index_of(each) for each in (positions if isinstance(positions, Iterable) else [positions])]
        for position in wanted:
            if not -length <= position < length:
                raise TokenError(
                    f"row {row} has no token {position}", f"Its {length} real tokens count from 0 or from -1 backwards."
                )
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
                raise TokenError(f"row {row} does not hold {text_or_chars!r}", f"It reads {_short(whole)}.")
            if whole.find(text_or_chars, start + 1) >= 0:
                raise TokenError(
                    f"{text_or_chars!r} is in row {row} more than once",
                    "Lengthen it until it is unique, or pass (start, end) characters or token indices.",
                )
            end = start + len(text_or_chars)
        else:
            start, end = text_or_chars
            if not 0 <= start < end <= len(whole):
                raise TokenError(f"row {row} has no characters {start} to {end}", f"It has {len(whole)} characters.")
        return _cover(_piece_offsets(pieces), start, end)

    def _check_row(self, row: int) -> int:
        if not -self.batch <= row < self.batch:
            raise TokenError(f"there is no row {row}", f"The batch has {self.batch}.")
        return row % self.batch


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
    if isinstance(prompt, Tokens | Tensor | np.ndarray):
        _refuse_bos(bos)
        tokens = _as_given(prompt, tokenizer, pad)
    else:
        items, kind = _items(prompt)
        if kind == "text":
            rows = [encode(text, tokenizer, bos=bos) for text in items]
        elif kind == "chat":
            pairs = [_encode_chat(item, tokenizer, bos, add_generation_prompt, chat_options or {}) for item in items]
            rows, chats = [ids for ids, _ in pairs], tuple(chat for _, chat in pairs)
        else:
            _refuse_bos(bos)
            rows = [_int_row(item) for item in items]
        _check_ids(rows, d_vocab)  # before a tensor is made of them: an id may not even fit one
        tokens = _padded(rows, pad or "right", tokenizer, chats)
    if tokens.chats is None and (add_generation_prompt is not None or chat_options):
        raise TokenError("this prompt is no chat, so it has no use for chat options", "Leave them out.")
    _check_fit(tokens, d_vocab, n_ctx)
    return tokens if device is None else tokens.to(device)


def encode(text: str, tokenizer: "PreTrainedTokenizerBase | None", *, bos: bool | None = None) -> list[int]:
    """The ids of a text; the one place that decides about BOS.

    Args:
        text: special tokens written in it are read as such, as the tokenizer does.
        tokenizer: of the model.
        bos: None adds the special tokens that the tokenizer itself adds, True exactly one BOS and nothing else,
            False none.

    Raises:
        TokenError: no tokenizer, no BOS to add, or the text begins with the BOS that would be added.
    """
    if tokenizer is None:
        raise TokenError(f"text {_short(text)} needs a tokenizer, and this model has none", "Pass token ids.")
    plain = _ids(text, tokenizer, special=False)
    if bos is False:
        return plain
    if bos:
        if tokenizer.bos_token_id is None:
            raise TokenError("this tokenizer has no BOS token", "Pass bos=None or bos=False.")
        added = [cast("int", tokenizer.bos_token_id)]
        whole = added + plain
    else:
        whole = _ids(text, tokenizer, special=True)
        starts = [k for k in range(len(whole) - len(plain) + 1) if whole[k : k + len(plain)] == plain]
        added = whole[: starts[-1]] if starts else [i for i in whole[:1] if i == tokenizer.bos_token_id]
    if added[-1:] == [tokenizer.eos_token_id] != [tokenizer.bos_token_id]:
        added = []  # a text that is EOS, with one more EOS after it
    first = label(added[-1], tokenizer) if added else ""
    if added and (plain[:1] == added[-1:] or text.lstrip().startswith(first)):
        raise TokenError(
            f"{_short(text)} already begins with {first!r}, and one more would be added",
            "Pass bos=False, or take it out of the text.",
        )
    return whole


def decode(ids: "Iterable[int] | Array", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The text of ids, special tokens and spaces as they are; ids that the tokenizer lacks show nothing."""
    row = ids.tolist() if isinstance(ids, Tensor | np.ndarray) else [int(number) for number in ids]
    return cast("str", tokenizer.decode(row, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def single_token(text: str, tokenizer: "PreTrainedTokenizerBase | None") -> int:
    """The id of a text that is exactly one token, without special tokens.

    Raises:
        TokenError: it is several tokens, none, or a token of another text (an unknown word, say).
    """
    ids = encode(text, tokenizer, bos=False)
    assert tokenizer is not None
    if len(ids) != 1:
        other = text[1:] if text.startswith(" ") else " " + text
        alike = _ids(other, tokenizer, special=False) if other.strip() else []
        hint = f"{other!r} is one token: {alike[0]}." if len(alike) == 1 else "Pick a text that is one token, or an id."
        pieces = ", ".join(repr(label(number, tokenizer)) for number in ids)
        raise TokenError(f"{text!r} is {len(ids)} tokens" + (f": {pieces}" if pieces else ""), hint)
    shown = label(ids[0], tokenizer)
    if shown not in (text, " " + text):  # tokenizers of the sentencepiece kind put a space before the first word
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
    raw = _raw(token_id, tokenizer)
    if raw is None or tokenizer is None:
        return _bare(token_id)
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


def _bare(token_id: int) -> str:
    return f"<|{token_id}|>"


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:40]!r}…"


def _raw(token_id: int, tokenizer: "PreTrainedTokenizerBase | None") -> str | None:
    """The tokenizer's own piece; None if it has none for this id."""
    if tokenizer is None:
        return None
    try:
        return cast("str | None", tokenizer.convert_ids_to_tokens(token_id))
    except (IndexError, KeyError, OverflowError):
        return None


def _ids(text: str, tokenizer: "PreTrainedTokenizerBase", *, special: bool) -> list[int]:
    return list(cast("list[int]", tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]))


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────


def _pieces(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> list[str]:
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


def _piece_offsets(pieces: list[str]) -> list[tuple[int, int]]:
    """Characters that each piece covers; tokens of a character cut into several all cover that character."""
    offsets: list[tuple[int, int]] = []
    start = waiting = 0
    for piece in pieces:
        waiting += 1
        if piece:
            offsets += [(start, start + len(piece))] * waiting
            start, waiting = start + len(piece), 0
    return offsets + [(start, start)] * waiting


def _reaching(offsets: Sequence[tuple[int, int]], char: int) -> int:
    """The first token that ends after a character position."""
    return next((k for k, (_, end) in enumerate(offsets) if end > char), len(offsets))


def _cover(offsets: Sequence[tuple[int, int]], start: int, end: int) -> slice:
    first = _reaching(offsets, start)
    if start == end:
        return slice(first, first)
    return slice(first, max((k + 1 for k, (begin, _) in enumerate(offsets) if begin < end), default=first))


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────────


def _refuse_bos(bos: bool | None) -> None:
    if bos:
        raise TokenError("ids are taken as they are, so bos=True cannot add to them", "Write the BOS id yourself.")


def _as_given(prompt: "Tokens | Array", tokenizer: "PreTrainedTokenizerBase | None", pad: Pad | None) -> Tokens:
    if isinstance(prompt, Tokens):
        tokens = prompt if prompt.tokenizer is not None else replace(prompt, tokenizer=tokenizer)
        return tokens if pad is None else tokens.padded_on(pad)
    ids = _from_array(prompt)
    ids = ids[None] if ids.ndim == 1 else ids
    if ids.ndim != 2 or ids.numel() == 0:
        raise TokenError(f"a tensor of shape {tuple(prompt.shape)} is no prompt", "Pass [pos] or [batch, pos] ids.")
    return Tokens(ids, torch.ones_like(ids, dtype=torch.bool), pad or "right", tokenizer)


def _from_array(array: Array) -> Int64[Tensor, "..."]:
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "iu":
            raise TokenError(f"an array of {array.dtype} holds no token ids", "Pass integers.")
        array = torch.from_numpy(np.minimum(array, np.iinfo(np.int64).max).astype(np.int64))
    if array.is_floating_point() or array.is_complex() or array.dtype == torch.bool:
        raise TokenError(f"a tensor of {array.dtype} holds no token ids", "Pass integers.")
    return array.detach().to(torch.int64)


def _kind(item: object) -> str:
    if isinstance(item, bool | np.bool_):
        return "bool"
    kinds = {"text": str, "message": Mapping, "id": (int, np.integer), "row": (list, tuple, Tensor, np.ndarray)}
    return next((name for name, types in kinds.items() if isinstance(item, types)), type(item).__name__)


def _items(prompt: str | Sequence[Any]) -> tuple[list[Any], Literal["text", "chat", "ids"]]:
    """The rows of a prompt, all of one kind."""
    if isinstance(prompt, str):
        return [prompt], "text"
    if _kind(prompt) != "row":
        raise TokenError(f"a {type(prompt).__name__} is no prompt", "Pass text, token ids, a chat, or a list of them.")
    items = list(prompt)
    kinds = {_kind(item) for item in items}
    if kinds == {"text"}:
        return items, "text"
    if kinds == {"message"}:
        return [items], "chat"
    if kinds == {"id"}:
        return [items], "ids"
    if kinds == {"row"}:
        chats = {len(item) > 0 and _kind(item[0]) == "message" for item in items}
        if len(chats) == 1:
            return items, "chat" if True in chats else "ids"
        kinds = {"chat", "ids"}
    found = " and ".join(sorted(kinds)) or "nothing"
    raise TokenError(f"a list of {found} is no prompt", "Pass texts, integer ids, lists of ids, or chats: one kind.")


def _int_row(row: Any) -> list[int]:
    if isinstance(row, Tensor | np.ndarray):
        if row.ndim != 1:
            raise TokenError(f"a row of shape {tuple(row.shape)} is no list of ids", "Pass one axis per row.")
        return _from_array(row).tolist()
    strange = [item for item in row if _kind(item) != "id"]
    if strange:
        raise TokenError(f"{strange[0]!r} is no token id", "Pass integers.")
    return [int(number) for number in row]


def _check_ids(rows: list[list[int]], d_vocab: int) -> None:
    for r, row in enumerate(rows):
        if not row:
            raise TokenError(f"prompt {r} gives zero tokens", "Every prompt needs a token to look at.")
        for k, number in enumerate(row):
            if not 0 <= number < d_vocab:
                raise _beyond(number, r, k, d_vocab)


def _beyond(number: int, row: int, token: int, d_vocab: int) -> TokenError:
    return TokenError(
        f"id {number} (row {row}, token {token}) is outside of 0 … {d_vocab - 1}",
        "Ids of this model stay in that range; does the tokenizer belong to the model?",
    )


def _check_fit(tokens: Tokens, d_vocab: int, n_ctx: int | None) -> None:
    bad = ((tokens.ids < 0) | (tokens.ids >= d_vocab)).nonzero()  # padding holds 0
    if len(bad):
        row, slot = bad[0].tolist()
        raise _beyond(int(tokens.ids[row, slot]), row, int(tokens.position_ids[row, slot]), d_vocab)
    longest = int(tokens.lengths.max())
    if n_ctx is not None and longest > n_ctx:
        row = int(tokens.lengths.argmax())
        raise TokenError(f"row {row} has {longest} tokens, the context holds {n_ctx}", "Nothing is cut: shorten it.")


def _padded(
    rows: list[list[int]],
    pad: Pad,
    tokenizer: "PreTrainedTokenizerBase | None",
    chats: tuple[Chat, ...] | None,
) -> Tokens:
    width = max(len(row) for row in rows)

    def filled(values: list[int]) -> list[int]:
        fill = [0] * (width - len(values))
        return values + fill if pad == "right" else fill + values

    mask = torch.tensor([filled([1] * len(row)) for row in rows], dtype=torch.bool)
    return Tokens(torch.tensor([filled(row) for row in rows]), mask, pad, tokenizer, chats)


# ── chats ────────────────────────────────────────────────────────────────────────────────────────────


def _encode_chat(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerBase | None",
    bos: bool | None,
    add_generation_prompt: bool | None,
    options: Mapping[str, Any],
) -> tuple[list[int], Chat]:
    """Ids of a chat as the tokenizer's template writes it; special tokens come from the template alone."""
    if tokenizer is None:
        raise TokenError("a chat needs a tokenizer, and this model has none", "Pass token ids.")
    if not tokenizer.chat_template and not options.get("chat_template"):
        raise TokenError("this tokenizer has no chat template", "Pass text, or chat_options={'chat_template': …}.")
    reserved = sorted(_OURS & set(options))
    if reserved:
        raise TokenError(f"chat_options cannot set {', '.join(reserved)}", "tokenize decides about these.")
    for message in messages:
        if _kind(message) != "message" or not isinstance(message.get("role"), str):
            raise TokenError(f"{_short(str(message))} is no message", "Messages are dicts with 'role' and 'content'.")
    opened = messages[-1]["role"] != "assistant" and not options.get("continue_final_message")
    opened = opened if add_generation_prompt is None else add_generation_prompt
    kept = tuple(copy.deepcopy(dict(message)) for message in messages)
    text = _render(kept, tokenizer, opened, options)
    fast = bool(tokenizer.is_fast)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=fast, verbose=False)
    ids = list(cast("list[int]", encoded["input_ids"]))
    if bos and ids[:1] != [tokenizer.bos_token_id]:
        raise TokenError("the chat template does not begin with BOS, so bos=True cannot hold", "Pass bos=None.")
    offsets = tuple((start, end) for start, end in encoded["offset_mapping"]) if fast else None
    return ids, Chat(kept, text, opened, dict(options), offsets)


def _render(
    messages: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", prompt: bool, options: Mapping[str, Any]
) -> str:
    chat = cast("list[dict[str, str]]", list(messages))
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=prompt, **dict(options))
    except Exception as error:  # a template is a program of its author: it may fail in any way
        raise TokenError(
            f"the chat template refused this chat: {error}", "See the roles and order it allows."
        ) from error
    return cast("str", text)


def _turns(chat: Chat, ids: list[int], pieces: list[str], tokenizer: "PreTrainedTokenizerBase") -> list[Turn]:
    """Token spans of a chat's messages, each content proved by decoding it."""
    # Pieces tell characters exactly where decoding is lossless; offsets may leave out spaces at a token's ends.
    offsets = _piece_offsets(pieces) if "".join(pieces) == chat.text else chat.offsets
    if offsets is None:
        raise TokenError("this tokenizer does not tell which characters its tokens cover", "Use its fast version.")
    chars = [_content_chars(chat, index, tokenizer) for index in range(len(chat.messages))]
    if any(after[0] < before[1] for before, after in pairwise(chars)):
        raise TokenError("the chat template reorders the messages, so turns are no spans", "Use token indices.")
    bounds = [_reaching(offsets, char) for char in _bounds(chat, chars, tokenizer)]
    turns: list[Turn] = []
    for index, (start, end) in enumerate(chars):
        content, message = _cover(offsets, start, end), chat.messages[index]
        shown = decode(ids[content], tokenizer)
        if message["content"] not in (shown, "".join(pieces[content])):
            raise TokenError(
                f"the tokens of turn {index} ({message['role']}) read {_short(shown)}, "
                f"not its content {_short(message['content'])}",
                "A token holds text of both the template and the content, or the tokenizer changes the text.",
            )
        turns.append(Turn(index, message["role"], bounds[index], bounds[index + 1], content.start, content.stop))
    return turns


def _content_chars(chat: Chat, index: int, tokenizer: "PreTrainedTokenizerBase") -> tuple[int, int]:
    """Characters of the rendered chat that are a message's content.

    The chat is rendered once more with a marker in place of the content: what surrounds the marker must be what
    surrounds the content, so neither repeated contents nor template markers in a content can mislead.
    """
    message, text = chat.messages[index], chat.text
    content, where = message.get("content"), f"turn {index} ({message['role']})"
    if not isinstance(content, str):
        raise TokenError(f"the content of {where} is no text", "Use token indices.")
    marker = "CONTENT"
    while marker in text:
        marker += "Q"
    messages = [*chat.messages[:index], {**message, "content": marker}, *chat.messages[index + 1 :]]
    rendered = _render(messages, tokenizer, chat.generation_prompt, chat.options)
    if rendered.count(marker) != 1:
        times = rendered.count(marker)
        raise TokenError(f"the chat template writes the content of {where} {times} times", "Use token indices.")
    before, after = rendered.split(marker)
    start, end = len(before), len(text) - len(after)
    if not text.startswith(before) or not text.endswith(after) or text[start:end] != content or start > end:
        raise TokenError(
            f"the chat template changes the content of {where}: {_short(content)} does not come out as it went in",
            "Some templates strip spaces at its ends or rewrite it: pass the content as it comes out.",
        )
    return start, end


def _bounds(chat: Chat, chars: list[tuple[int, int]], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Characters where turns begin, and where the last one ends."""
    options = {name: value for name, value in chat.options.items() if name != "continue_final_message"}
    bounds = [0]
    for index in range(1, len(chars) + 1):
        earliest = chars[index - 1][1]
        latest = chars[index][0] if index < len(chars) else len(chat.text)
        try:
            prefix = _render(chat.messages[:index], tokenizer, False, options)
        except TokenError:  # many templates refuse part of a chat, such as a system message alone
            prefix = ""
        told = earliest <= len(prefix) <= latest and chat.text.startswith(prefix)
        bounds.append(len(prefix) if told else latest)
    return bounds
