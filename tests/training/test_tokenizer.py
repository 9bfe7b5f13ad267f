"""The tokenizer: whole names and numbers, nothing lost, the same after saving."""

import pytest
from tokenizers import Tokenizer
from training.world.banks import names, words
from transformers import AutoTokenizer

from fluoroscope import specimen
from training import tokenizer as bpe
from training import world


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    bpe.save(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_it_is_the_embedded_models(tokenizer):
    kept = Tokenizer.from_file(str(specimen.folder() / "tokenizer.json"))
    assert tokenizer.backend_tokenizer.to_str() == kept.to_str()


def test_names_and_numbers_are_one_token_with_and_without_a_space(tokenizer):
    numbers = [*map(str, range(100)), *(f"{i:02d}" for i in range(10))]
    for word in (*names.NAMES, *numbers):
        assert len(tokenizer(word)["input_ids"]) == len(tokenizer(" " + word)["input_ids"]) == 1
    assert sum(len(tokenizer(" " + word)["input_ids"]) > 1 for word in words.WORDS) < 10
    assert len(tokenizer(" SWORDFISH")["input_ids"]) > 4
    assert tokenizer.tokenize(" 1732")[-1] == "32"


def test_text_comes_back(tokenizer):
    for text in ("The cat sat , on 'the' mat.\nÜber 1732 ☃", "  two  spaces", "x = 7; y := 13"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_one_token_ends_begins_and_pads(tokenizer):
    assert len(tokenizer) == bpe.VOCABULARY
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.pad_token_id == 0


def test_chats_are_written_as_in_training(tokenizer):
    turns = [{"role": "user", "content": "How do I bake a cake?"}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert prompt == "User: How do I bake a cake?\nAssistant:"
    assert any(case.prompt.startswith("User: ") for case in world.cases("compliance", 5, seed=0))
