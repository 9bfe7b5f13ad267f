import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from architectures import common, zoo
from fluoroscope.errors import UnavailableError
from fluoroscope.loading import load
from fluoroscope.methods.gradients import _mean, input_times_gradient, integrated


@pytest.fixture(scope="module")
def plain(tiny_folder):
    """The logit of token 7 after the last one as a function of embeddings: Hugging Face's own forward in float64."""
    hf = AutoModelForCausalLM.from_pretrained(tiny_folder).double().eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    return hf.transformer.wte.weight.detach(), ids[0], lambda x: hf(inputs_embeds=x[None]).logits[0, -1, 7]


def seventh(logits):
    return logits[:, 7]


def test_input_times_gradient_is_autograds(tiny_model, plain):
    table, ids, function = plain
    x = table[ids].requires_grad_()
    (gradient,) = torch.autograd.grad(function(x), x)
    found = input_times_gradient(tiny_model, ids, len(ids) - 1, seventh)
    torch.testing.assert_close(found.double(), (x * gradient).sum(-1).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_integrated_gradients_are_the_integral_along_the_straight_path(tiny_model, plain, baseline):
    table, ids, function = plain
    end = table[ids]
    start = table.mean(0).expand_as(end) if baseline == "mean" else torch.zeros_like(end)
    total, points = torch.zeros(len(ids), dtype=torch.float64), 400
    for step in range(points):
        x = (start + (end - start) * (step + 0.5) / points).requires_grad_()
        (gradient,) = torch.autograd.grad(function(x), x)
        total += ((end - start) * gradient).sum(-1) / points
    found = integrated(tiny_model, ids, len(ids) - 1, seventh, baseline, 64, 0.005)
    torch.testing.assert_close(found.by_token.double(), total, atol=2e-3, rtol=5e-3)
    assert found.start == pytest.approx(function(start).item(), abs=1e-4)
    assert found.end == pytest.approx(function(end).item(), abs=1e-4)


@pytest.mark.parametrize(
    ("case", "baseline"),
    [("llama", "mean"), ("gemma2", "mean"), ("gpt_neox", "mean"), ("granite", "mean"), ("bloom", "zero")],
)
def test_the_sum_is_the_change_within_half_a_percent_on_other_families(case, baseline):
    model = load(zoo.build(case))
    ids = torch.tensor([3, 1, 4, 1, 5])
    found = integrated(model, ids, 4, seventh, baseline, 16, 0.005)
    assert found.end == pytest.approx(model.hf(input_ids=ids[None]).logits[0, -1, 7].item(), abs=1e-4)
    assert abs(found.error) <= 0.005 * abs(found.end - found.start)
    assert abs(float(found.by_token.sum()) - (found.end - found.start)) == pytest.approx(abs(found.error), abs=1e-4)


@pytest.mark.parametrize("case", ["gemma", "granite", "opt"])
def test_the_mean_is_that_of_what_every_token_adds(case):
    model = common.model(case)
    added = model.trace([[token] for token in range(97)], sites=["embed"])["embed"][:, 0]
    found = _mean(model, torch.tensor([3, 1]), added[[3, 1]])
    torch.testing.assert_close(found, added.mean(0), atol=1e-5, rtol=1e-4)


def test_a_normed_embedding_has_no_mean_of_rows():
    model, ids = common.model("bloom"), torch.tensor([3, 1, 4])
    with pytest.raises(UnavailableError, match=r"no mean.*baseline='zero'"):
        integrated(model, ids, 2, seventh, "mean", 16, 0.005)


def test_steps_double_until_the_sum_is_near_enough(tiny_model, plain):
    _, ids, _ = plain
    coarse = integrated(tiny_model, ids, len(ids) - 1, seventh, "zero", 1, 10.0)
    fine = integrated(tiny_model, ids, len(ids) - 1, seventh, "zero", 1, 1e-3)
    assert coarse.steps == 1
    assert fine.steps > 4
    assert abs(fine.error) < abs(coarse.error)


def test_without_captum_it_says_what_to_install(tiny_model, plain, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(UnavailableError, match=r"needs captum.*fluoroscope\[gradients\]"):
        input_times_gradient(tiny_model, plain[1], 0, seventh)
