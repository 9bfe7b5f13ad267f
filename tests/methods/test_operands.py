"""Numbers among tokens: against plain encodings and plain forwards, with tokenizers of digits, words and with BOS."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import fluoroscope
from fluoroscope.errors import TokenError
from fluoroscope.loading import load
from fluoroscope.methods import operands
from fluoroscope.methods.arithmetic import SIDES, parse
from fluoroscope.methods.operands import Spelling
from shared import SHARED, needs_shared

WORDS = "What is 12 times 34"


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def stories():
    return load(SHARED / "models" / "stories260k")


def shown(model, text, side):
    tokens = model.tokens(text)
    return [tokens.pieces[0][slot] for slot in operands.slots(tokens, parse(text), side)]


def test_an_operand_is_the_tokens_that_hold_its_characters(tiny_model, specimen):
    assert [shown(tiny_model, WORDS, side) for side in SIDES] == [["1", "2"], ["3", "4"]]
    assert [shown(specimen, "5 + 5 = 10. 5 + 15 =", side) for side in SIDES] == [[" 5"], [" 15"]]
    text = "5 + 5 = 10. 5 + 15 ="
    pieces = specimen.tokens(text).pieces[0]
    (slot,) = operands.slots(specimen.tokens(text), parse(text), "left")
    assert slot == len(pieces) - 4


@needs_shared
def test_an_operand_behind_bos(stories):
    for side, number in zip(SIDES, ("12", "34"), strict=True):
        assert "".join(shown(stories, WORDS, side)).strip() == number


def test_tokens_that_hide_the_text_are_refused(tiny_model):
    with pytest.raises(TokenError, match=r"read '1 \. 2'"):
        operands.slots(tiny_model.tokens("1 + 2"), parse("1 + 2"), "left")


def test_the_answer_is_spelled_as_the_model_finds_likelier(tiny_model, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()

    def likelihood(answer):
        ids = tiny_model.tokens(WORDS + answer).ids
        with torch.no_grad():
            log_p = plain(ids).logits[0].log_softmax(-1)
        start = len(WORDS)
        return float(sum(log_p[slot - 1, ids[0, slot]] for slot in range(start, len(ids[0]))))

    found = operands.spelling(tiny_model, parse(WORDS))
    assert found.before == max((" ", ""), key=lambda before: likelihood(f"{before}408"))
    assert list(found.ids) == tiny_model.tokens(f"{found.before}408").rows[0]
    with torch.no_grad():
        own = operands.log_probabilities(tiny_model, tiny_model.tokens(WORDS).rows[0], found.ids)[-1]
    assert float(own.sum()) == pytest.approx(likelihood(f"{found.before}408"), abs=1e-4)


def test_a_space_at_the_end_is_not_taken_back(specimen):
    found = operands.spelling(specimen, parse("23 + 45 = "))
    prompt = specimen.tokens("23 + 45 = ").rows[0]
    joined = specimen.tokens(f"23 + 45 = {found.before}68").rows[0]
    assert [*prompt, *found.ids] == joined


def test_the_lens_of_an_answer_is_the_output_head_at_every_depth(tiny_model, tiny_folder):
    prompt, ids = tiny_model.tokens(WORDS).rows[0], tiny_model.tokens(" 408").rows[0]
    found = operands.log_probabilities(tiny_model, prompt, ids)
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    with torch.no_grad():
        out = plain(torch.tensor([[*prompt, *ids]]), output_hidden_states=True)
        body = plain.transformer
        streams = [*(plain.lm_head(body.ln_f(stream)) for stream in out.hidden_states[:-1]), out.logits]
    rows = [stream[0, len(prompt) - 1 : -1].log_softmax(-1) for stream in streams]
    expected = torch.stack([row[torch.arange(len(ids)), ids] for row in rows])
    assert found.shape == (tiny_model.n_layers + 2, len(ids))
    assert torch.allclose(found[[0, 1, 3]], expected, atol=1e-4)
    assert torch.allclose(found[2], found[3], atol=1e-4)


@pytest.mark.parametrize("text", ["23 + 45 =", "What is 67 minus 28?", "7 x 8 ="])
@pytest.mark.parametrize("side", SIDES)
def test_other_prompts_differ_in_the_tokens_of_one_operand(specimen, text, side):
    asked = parse(text)
    spelled = operands.spelling(specimen, asked)
    prompt = specimen.tokens(text)
    mine = operands.slots(prompt, asked, side)
    drawn = list(operands.counterfactuals(specimen, asked, side, spelled, 0, seed=1))
    assert len(drawn) >= 4
    for other in drawn:
        assert list(other.ids) == specimen.tokens(other.calculation.text).rows[0]
        pairs = zip(prompt.rows[0], other.ids, strict=True)
        assert {slot for slot, (one, another) in enumerate(pairs) if one != another} <= set(mine)
        assert specimen.token_label(other.answer).strip() == str(other.calculation.result)


def test_a_later_token_of_the_answer_needs_the_same_ones_before_it(tiny_model):
    asked = parse("What is 312 plus 134")
    spelled = Spelling("", tuple(tiny_model.tokens("446").rows[0]))
    for step in (0, 1, 2):
        drawn = list(operands.counterfactuals(tiny_model, asked, "right", spelled, step, seed=0))
        assert drawn
        for other in drawn:
            result = str(other.calculation.result)
            assert result[:step] == "446"[:step]
            assert other.ids[len(asked.text) :] == spelled.ids[:step]
            assert tiny_model.token_label(other.answer) == result[step]


@pytest.mark.parametrize(("continuation", "expected"), [(" 68. Then", (" 68", 68)), ("-5", ("-5", -5))])
def test_what_is_written_ends_with_its_number(tiny_model, monkeypatch, continuation, expected):
    ids = tiny_model.tokens(continuation).rows[0]

    class Written:
        text = continuation

    Written.ids = [ids]
    monkeypatch.setattr(tiny_model, "generate", lambda prompt, max_new_tokens: Written)
    assert operands.written(tiny_model, [1], 5) == expected


def test_what_is_no_number_is_its_first_token(tiny_model):
    prompt = tiny_model.tokens(WORDS).rows[0]
    generation = tiny_model.generate([prompt], max_new_tokens=4)
    text, number = operands.written(tiny_model, prompt, 4)
    assert (text, number) == (tiny_model.token_label(generation.ids[0][0]), None)
