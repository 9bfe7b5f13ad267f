"""Every generated token is explained as a trace of the whole text explains it, and as plain generation chooses it."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from fluoroscope.analyses.generation_attribution import generation_attribution
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.errors import ArgumentError


def test_tokens_and_logits_are_those_of_plain_greedy_generation(tiny_model, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")
    result = generation_attribution(tiny_model, tiny.PROMPT, max_new_tokens=6)
    with torch.no_grad():
        for token in result.written:
            logits = plain(**ids).logits[0, -1]
            assert token.id == int(logits.argmax())
            assert token.logit == pytest.approx(float(logits.max()), abs=1e-4)
            assert token.probability == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)
            assert abs(token.error) < 1e-4
            ids = {
                "input_ids": torch.cat([ids["input_ids"], torch.tensor([[token.id]])], 1),
                "attention_mask": torch.ones(1, ids["input_ids"].shape[1] + 1, dtype=torch.long),
            }


def test_parts_are_those_of_one_forward_over_the_whole_text(tiny_model):
    result = generation_attribution(tiny_model, tiny.PROMPT, max_new_tokens=4, top_k=5)
    prompt = list(result.recipe.tokens[0])
    for step, token in enumerate(result.written):
        text = prompt + [earlier.id for earlier in result.written[:step]]
        alone = logit_attribution(tiny_model, text, top_k=5)
        for mine, theirs in zip(token.parts, alone.top(), strict=True):
            assert mine.site == theirs.site
            assert mine.value == pytest.approx(theirs.value, abs=1e-4)


def test_nothing_to_list_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match="lists nothing"):
        generation_attribution(tiny_model, tiny.PROMPT, top_k=0)
