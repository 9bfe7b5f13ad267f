"""Scores against one forward pass per case."""

import pytest
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from fluoroscope import specimen
from training import score, tokenizer, world


@pytest.fixture(scope="module")
def words():
    return AutoTokenizer.from_pretrained(specimen.folder())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    shape = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 256, "initializer_range": 0.5}
    return GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer.VOCABULARY, bos_token_id=0, eos_token_id=0, **shape)).eval()


def alone(model, words, case, index):
    """Ids of the prompt, and what the model says next, token by token."""
    prompt = [0] * (index % 2) + words(case.prompt)["input_ids"]
    said = list(prompt)
    for _ in words(case.answer)["input_ids"]:
        said.append(model(torch.tensor([said])).logits[0, -1].argmax().item())
    return prompt, said[len(prompt) :]


def test_an_answer_is_right_if_greedy_continuation_says_it_whole(model, words):
    drawn = world.cases("ioi", 30, seed=1) + world.cases("problem_1", 10, seed=1)
    cases = []
    for index, case in enumerate(drawn):
        said = words.decode(alone(model, words, case, index)[1][:2])
        cases.append(world.Case(case.prompt, said if index % 3 else case.answer))
    expected = [alone(model, words, case, i)[1] == words(case.answer)["input_ids"] for i, case in enumerate(cases)]
    assert score.outcomes(model, words, cases) == expected
    assert 5 < sum(expected) < 35
    assert score.accuracy(model, words, cases) == sum(expected) / len(cases)


def test_the_mass_is_the_probability_of_all_accepted_words(model, words):
    cases = world.cases("greater_than", 8, seed=1)
    for index, (mass, case) in enumerate(zip(score.accepted_mass(model, words, cases), cases, strict=True)):
        prompt, _ = alone(model, words, case, index)
        p = model(torch.tensor([prompt])).logits[0, -1].softmax(-1)
        assert mass == pytest.approx(
            sum(p[words(year)["input_ids"][0]].item() for year in case.info["accepted"]), rel=1e-4
        )


def test_random_tokens_are_scored_from_their_draws(model, words):
    (case,) = world.cases("induction_tokens", 1, seed=3)
    row = [1 + int(draw * (len(words) - 1)) for draw in case.info["draws"]]
    shown = case.info["shown"]
    best = model(torch.tensor([row + row[:shown]])).logits[0, -1].argmax().item()
    assert score.outcomes(model, words, [case]) == [best == row[shown]]
    assert min(row) > 0
