"""Texts, arrays and lists as rows of ids; the rule for the first token (BOS) stands in `encode` alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from fluoroscope.errors import TokenError
from fluoroscope.pieces import Array, ids_of, label, short

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
        raise TokenError(f"text {short(text)} needs a tokenizer, and this model has none", "Pass token ids.")
    plain = ids_of(text, tokenizer, special=False)
    if bos is False:
        return plain
    if bos:
        if tokenizer.bos_token_id is None:
            raise TokenError("this tokenizer has no BOS token", "Pass bos=None or bos=False.")
        added = [cast("int", tokenizer.bos_token_id)]
        whole = added + plain
    else:
        whole = ids_of(text, tokenizer, special=True)
        starts = [k for k in range(len(whole) - len(plain) + 1) if whole[k : k + len(plain)] == plain]
        added = whole[: starts[-1]] if starts else [i for i in whole[:1] if i == tokenizer.bos_token_id]
    if added[-1:] == [tokenizer.eos_token_id] != [tokenizer.bos_token_id]:
        added = []  # a text that is EOS, with one more EOS after it
    first = label(added[-1], tokenizer) if added else ""
    if added and (plain[:1] == added[-1:] or text.lstrip().startswith(first)):
        raise TokenError(
            f"{short(text)} already begins with {first!r}, and one more would be added",
            "Pass bos=False, or take it out of the text.",
        )
    return whole


def lead(tokenizer: "PreTrainedTokenizerBase | None") -> list[int]:
    """What the tokenizer puts before every text, such as BOS; nothing without a tokenizer."""
    return [] if tokenizer is None else encode("a", tokenizer)[: -len(encode("a", tokenizer, bos=False))]


def from_array(array: Array) -> Int64[Tensor, "..."]:
    """The integers of a tensor or array; those beyond int64 become its largest, which is out of every range."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "iu":
            raise TokenError(f"an array of {array.dtype} holds no token ids", "Pass integers.")
        array = torch.from_numpy(np.minimum(array, np.iinfo(np.int64).max).astype(np.int64))
    if array.is_floating_point() or array.is_complex() or array.dtype == torch.bool:
        raise TokenError(f"a tensor of {array.dtype} holds no token ids", "Pass integers.")
    return array.detach().to(torch.int64)


def kind(item: object) -> str:
    """text, message, id or row; the name of its type for everything else."""
    if isinstance(item, bool | np.bool_):
        return "bool"
    kinds = {"text": str, "message": Mapping, "id": (int, np.integer), "row": (list, tuple, Tensor, np.ndarray)}
    return next((name for name, types in kinds.items() if isinstance(item, types)), type(item).__name__)


def items_of(prompt: str | Sequence[Any]) -> tuple[list[Any], Literal["text", "chat", "ids"]]:
    """The rows of a prompt, all of one kind."""
    if isinstance(prompt, str):
        return [prompt], "text"
    if kind(prompt) != "row":
        raise TokenError(f"a {type(prompt).__name__} is no prompt", "Pass text, token ids, a chat, or a list of them.")
    items = list(prompt)
    kinds = {kind(item) for item in items}
    if kinds == {"text"}:
        return items, "text"
    if kinds == {"message"}:
        return [items], "chat"
    if kinds == {"id"}:
        return [items], "ids"
    if kinds == {"row"}:
        chats = {len(item) > 0 and kind(item[0]) == "message" for item in items}
        if len(chats) == 1:
            return items, "chat" if True in chats else "ids"
        kinds = {"chat", "ids"}
    found = " and ".join(sorted(kinds)) or "nothing"
    raise TokenError(f"a list of {found} is no prompt", "Pass texts, integer ids, lists of ids, or chats: one kind.")


def int_row(row: Any) -> list[int]:
    """One row of ids as Python integers."""
    if isinstance(row, Tensor | np.ndarray):
        if row.ndim != 1:
            raise TokenError(f"a row of shape {tuple(row.shape)} is no list of ids", "Pass one axis per row.")
        return from_array(row).tolist()
    strange = [item for item in row if kind(item) != "id"]
    if strange:
        raise TokenError(f"{strange[0]!r} is no token id", "Pass integers.")
    return [int(number) for number in row]


def check_ids(rows: list[list[int]], d_vocab: int) -> None:
    """Refuses empty rows and ids that the embedding has no row for."""
    for r, row in enumerate(rows):
        if not row:
            which = f"prompt {r}" if len(rows) > 1 else "the prompt"
            raise TokenError(f"{which} gives zero tokens", "Every prompt needs a token to look at.")
        for k, number in enumerate(row):
            if not 0 <= number < d_vocab:
                raise TokenError(
                    f"id {number} (row {r}, token {k}) is outside of 0 … {d_vocab - 1}",
                    "Ids of this model stay in that range; does the tokenizer belong to the model?",
                )
