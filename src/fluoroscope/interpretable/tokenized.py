"""Text and ids of one model under mlxterp's names."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fluoroscope.interpretable.refusals import InputError, valued
from fluoroscope.model import Model


class Tokenized:
    """Text to ids and back."""

    xray: Model
    tokenizer: Any

    def encode(self, text: str) -> list[int]:
        """The ids of a text, with what the tokenizer puts at its ends."""
        self._needs_tokenizer()
        with valued():
            return self.xray.tokens(text).rows[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, unpadded; `xray.tokens` pads, with a mask."""
        self._needs_tokenizer()
        with valued():
            return self.xray.tokens(list(texts)).rows

    def decode(self, tokens: "Sequence[int] | Tensor") -> str:
        """The text of ids, special tokens included."""
        self._needs_tokenizer()
        with valued():
            return "".join(self.xray.tokens(torch.as_tensor(tokens)).pieces[0])

    def token_to_str(self, token_id: int) -> str:
        """One id as text; bytes that are no character by themselves are told as bytes."""
        self._needs_tokenizer()
        return self.xray.token_label(int(token_id))

    def to_str_tokens(self, input: "str | Sequence[int] | Tensor", prepend_bos: bool = False) -> list[str]:
        """The text of each token of one text, or of one row of ids; of several rows see `xray.tokens(…).labels`.

        Args:
            prepend_bos: begin a text with BOS, if the tokenizer does not do so itself.

        Raises:
            InputError: several rows.
        """
        self._needs_tokenizer()
        bos = True if prepend_bos and isinstance(input, str) else None
        with valued():
            found = self.xray.tokens(input if isinstance(input, str) else torch.as_tensor(input), bos=bos)
        if len(found) > 1:
            raise InputError(f"{len(found)} rows were given", "Give one; xray.tokens(…).labels has a list for each.")
        return found.labels[0]

    @property
    def vocab_size(self) -> int | None:
        """How many tokens the tokenizer knows, added ones too; None without one. The logits have `xray.d_vocab`."""
        return None if self.tokenizer is None else len(self.tokenizer)

    def _needs_tokenizer(self) -> None:
        if self.tokenizer is None:
            raise InputError(f"{self.xray.name} has no tokenizer", "InterpretableModel(module, tokenizer=…).")
