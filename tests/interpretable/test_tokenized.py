"""Text and ids under mlxterp's names, with the tokenizer's own special tokens."""

import pytest
import torch
from transformers import AutoTokenizer

from fluoroscope.interpretable import InterpretableModel
from shared import SHARED, needs_shared

TEXT = "Once upon a time, Zoë – 7 😀"


def test_text_goes_to_ids_and_back(specimen):
    ids = specimen.encode(TEXT)
    assert ids == specimen.tokenizer(TEXT)["input_ids"]
    assert specimen.decode(ids) == specimen.decode(torch.tensor(ids)) == TEXT
    assert specimen.encode_batch([TEXT, "Hello"]) == [ids, specimen.encode("Hello")]
    assert specimen.vocab_size == len(specimen.tokenizer)


def test_pieces_are_the_tokens_of_the_model(specimen):
    pieces = specimen.to_str_tokens("Once upon a time")
    assert "".join(pieces) == "Once upon a time"
    ids = specimen.encode("Once upon a time")
    assert pieces == specimen.to_str_tokens(ids) == specimen.to_str_tokens(torch.tensor([ids]))
    assert pieces == [specimen.token_to_str(token) for token in ids]
    with pytest.raises(ValueError, match="2 rows were given"):
        specimen.to_str_tokens(torch.tensor([ids, ids]))
    with pytest.raises(ValueError, match="is outside of"):
        specimen.decode([10**6])


@needs_shared
def test_bos_is_there_once():
    folder = SHARED / "models" / "stories260k"
    wrapped = InterpretableModel(str(folder))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert wrapped.encode("A cat") == tokenizer("A cat")["input_ids"]
    pieces = wrapped.to_str_tokens("A cat", prepend_bos=True)
    assert pieces.count(pieces[0]) == 1
    assert wrapped.encode("A cat")[0] == tokenizer.bos_token_id
