import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from fluoroscope.analyses.next_token import NextToken, next_token
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.loading import load
from fluoroscope.render.text import number
from shared import SHARED, needs_shared


@pytest.fixture(scope="module")
def log_probs(tiny_folder):
    """The plain model's log-probabilities at every position of the prompt."""
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = plain(ids).logits[0]
    return logits, logits.log_softmax(-1)


@pytest.mark.parametrize("position", [-1, 0, 4, -3])
def test_it_is_the_plain_models_distribution(tiny_model, log_probs, position):
    logits, log_p = log_probs[0][position], log_probs[1][position]
    result = next_token(tiny_model, tiny.PROMPT, top_k=7, position=position)
    values, ids = log_p.topk(7)
    assert [item.id for item in result.predictions] == ids.tolist()
    assert [item.log_prob for item in result.predictions] == pytest.approx(values.tolist(), abs=1e-5)
    assert [item.probability for item in result.predictions] == pytest.approx(values.exp().tolist(), abs=1e-6)
    assert [item.logit for item in result.predictions] == pytest.approx(logits[ids].tolist(), abs=1e-5)
    assert result.entropy == pytest.approx(-(log_p.exp() * log_p).sum().item(), abs=1e-5)
    assert result.position == position % len(tiny.PROMPT)


def test_top_k_is_at_most_the_vocabulary_and_ids_beyond_the_tokenizer_have_a_name(tiny_model):
    result = next_token(tiny_model, "a", top_k=10_000)
    assert len(result.predictions) == tiny_model.d_vocab == len(tiny.CHARACTERS) + 3
    assert sum(item.probability for item in result.predictions) == pytest.approx(1, abs=1e-5)
    names = {item.id: item.piece for item in result.predictions}
    assert names[0] == "a"
    assert str(len(tiny.CHARACTERS)) in names[len(tiny.CHARACTERS)]


def test_an_impossible_token_has_no_log_probability(tiny_model, monkeypatch):
    trace = tiny_model.trace("ab")
    trace.logits[0, -1, 1:] = -math.inf
    monkeypatch.setattr(tiny_model, "trace", lambda prompt: trace)
    first, second = next_token(tiny_model, "ab", top_k=2).predictions
    assert (first.id, first.probability) == (0, 1)
    assert (second.probability, second.logit, second.log_prob) == (0, None, None)


@pytest.mark.parametrize("top_k", [0, -1])
def test_listing_nothing_is_refused(tiny_model, top_k):
    with pytest.raises(ArgumentError, match="lists nothing"):
        next_token(tiny_model, "a", top_k=top_k)


def test_a_position_outside_of_the_prompt_is_refused(tiny_model):
    with pytest.raises(TokenError, match="no token 3"):
        next_token(tiny_model, "abc", position=3)


def test_what_people_read(tiny_model):
    result = next_token(tiny_model, "a b", top_k=2, position=1)
    assert result.summary().startswith(f"After ‘·’ the model expects ‘{result.predictions[0].piece}’ (")
    assert f"{number(result.entropy)} nats" in result.summary()
    bars, prompt = result.views()
    assert [bar.value for bar in bars.items] == [item.probability for item in result.predictions]
    assert bars.items[0].remark == f"id {result.predictions[0].id} · logit {result.predictions[0].logit:.2f}"
    assert (prompt.marked, [item.text for item in prompt.items]) == (1, ["a", " ", "b"])
    assert [item.id for item in prompt.items] == [tiny.CHARACTERS.index(c) for c in "a b"]
    assert NextToken.from_json(result.to_json()) == result


@needs_shared
@pytest.mark.parametrize(("name", "pronoun"), [("girl named Lily", " She"), ("boy named Tim", " He")])
def test_a_trained_model_knows_its_pronouns(name, pronoun):
    model = load(SHARED / "models" / "stories260k")
    result = next_token(model, f"One day, a {name} went to the park.")
    assert result.predictions[0].piece == pronoun
    assert result.predictions[0].probability > 0.5
