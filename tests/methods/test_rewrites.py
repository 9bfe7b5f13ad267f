"""Texts without a step, cut short, or with a step written anew: against running these texts themselves."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import fluoroscope
from architectures import common
from fluoroscope.methods import effects, rewrites, steps
from fluoroscope.methods.contrast import Contrast

IDS = common.ids(1)[0]


@pytest.mark.parametrize("case", ["gpt2", "llama", "qwen3_next"])
def test_a_removal_is_the_run_of_the_shorter_text(case):
    found = rewrites.removals(common.model(case), IDS, [slice(0, 3), slice(5, 11)])
    for row, ids in zip(found, [IDS[3:], IDS[:5] + IDS[11:]], strict=True):
        with torch.no_grad():
            expected = common.plain(case)(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
        assert torch.allclose(row, expected, atol=1e-4)


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def test_new_steps_are_single_steps_drawn_from_what_stands_before(specimen):
    tokens = specimen.tokens("The owl lay on the hotel. The password is TRUST. The password is")
    ids, where = tokens.rows[0], [step.tokens for step in steps.split(tokens.pieces[0])]
    rows = rewrites.resampled(specimen, ids, where[1], 6, 1)
    assert rows == rewrites.resampled(specimen, ids, where[1], 6, 1)
    assert rows != rewrites.resampled(specimen, ids, where[1], 6, 2)
    assert len({tuple(row) for row in rows}) > 1
    before = ids[: where[1].start]
    drawn = specimen.generate(
        [before] * 6, max_new_tokens=2 * (where[1].stop - where[1].start), temperature=1.0, seed=1
    )
    for row, new, stopped in zip(rows, drawn.ids, drawn.stopped, strict=True):
        whole = new[:-1] if stopped == "stop token" else new
        assert whole[: len(row)] == row
        pieces = specimen.tokens([before + row]).pieces[0][len(before) :]
        assert len(steps.split(pieces)) == 1
        rest = specimen.tokens([before + whole]).pieces[0][len(before) :]
        assert len(row) == steps.split(rest)[0].last


def test_what_comes_of_new_steps_is_read_at_the_same_end(specimen):
    text = "The owl lay on the hotel. The password is TRUST. The password is"
    trace = specimen.trace(text)
    ids, where = trace.tokens.rows[0], [step.tokens for step in steps.split(trace.tokens.pieces[0])]
    asked = effects.ask(specimen, trace, Contrast())
    other = specimen.tokens(" The password is Bowijo.", bos=False).rows[0]
    found = rewrites.resampling(asked, ids, where[1], [ids[where[1]], other])
    assert found.texts == (" The password is TRUST.", " The password is Bowijo.")
    assert found.different == 1
    assert found.shifts[0].kl == pytest.approx(0.0, abs=1e-9)
    whole = specimen.trace(text.replace("TRUST", "Bowijo")).logits[0, -1].double().log_softmax(-1)
    assert found.shifts[1].probability == pytest.approx(float(whole[asked.leader].exp()), rel=1e-3, abs=1e-9)
    assert found.shifts[1].leads_id == int(whole.argmax()) != asked.leader
    assert found.mean.probability == pytest.approx((found.shifts[0].probability + found.shifts[1].probability) / 2)
    assert found.counterfactual.kl == pytest.approx(found.shifts[1].kl)
    assert found.counterfactual.effect < found.mean.effect < 0
    assert rewrites.resampling(asked, ids, where[1], [ids[where[1]]]).counterfactual is None


def test_a_new_step_never_leaves_the_context(tiny_model):
    ids = tiny_model.tokens("a" * 30 + "." + "b" * 33).rows[0]
    rows = rewrites.resampled(tiny_model, ids, slice(31, 64), 4, 0)
    assert all(len(row) <= 33 for row in rows)


def test_an_own_separator_ends_a_new_step(tiny_model):
    ids = tiny_model.tokens("abcabc").rows[0]
    for row in rewrites.resampled(tiny_model, ids, slice(3, 6), 20, 0, separator="a"):
        assert tiny_model.tokens([row]).pieces[0][:-1].count("a") == 0 if row else True


def test_hugging_face_agrees_on_the_specimen(specimen):
    plain = AutoModelForCausalLM.from_pretrained(fluoroscope.specimen.folder("specimen"), dtype=torch.float32).eval()
    ids = specimen.tokens("The password is TRUST. The password is").rows[0]
    with torch.no_grad():
        expected = plain(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)
    assert torch.allclose(rewrites.answers(specimen, [ids], "answers")[0], expected, atol=1e-4)
