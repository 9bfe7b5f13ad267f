"""What is told while a pass is under way, against Hugging Face's own patterns and the trace of the same."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from architectures import zoo
from fluoroscope.errors import Cancelled
from fluoroscope.loading import load
from fluoroscope.server import frames, live

CASES = [
    name for name in zoo.CASES if name in ("llama", "gemma2", "gpt_neox", "falcon", "qwen3_next", "bloom", "gpt_oss")
]


def told(model, prompt):
    """Tokens, then (header, pattern) of every layer, and the trace."""
    heard = []
    trace = live.run(
        model, prompt, lambda *begun: heard.append(begun), lambda header, pattern: heard.append((header, pattern))
    )
    return heard[0], heard[1:], trace


def test_layers_are_told_in_order_with_patterns_as_hugging_face_has_them(tiny_model, tiny_folder):
    (ids, labels), layers, trace = told(tiny_model, tiny.PROMPT)
    assert ids == list(tiny_model.tokens(tiny.PROMPT).rows[0])
    assert len(labels) == len(ids)
    assert [header["layer"] for header, _ in layers] == list(range(tiny_model.n_layers))
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation="eager").eval()
    with torch.no_grad():
        patterns = plain(tiny_model.tokens(tiny.PROMPT).ids, output_attentions=True).attentions
    for (header, pattern), theirs in zip(layers, patterns, strict=True):
        torch.testing.assert_close(pattern, theirs[0], atol=1e-5, rtol=0)
        p, count = theirs[0].double(), len(ids)
        entropy = sum(-(p[:, q, : q + 1] * p[:, q, : q + 1].log()).sum(-1) / math.log(q + 1) for q in range(1, count))
        assert header["heads"]["entropy"] == pytest.approx((entropy / (count - 1)).tolist(), abs=1e-5)
        largest = sum(p[:, q].max(-1).values for q in range(1, count)) / (count - 1)
        assert header["heads"]["concentration"] == pytest.approx(largest.tolist(), abs=1e-5)
        written = tiny_model.trace(tiny.PROMPT, ["head_out.*"])[f"head_out.{header['layer']}"][0, 1:]
        assert header["heads"]["value_norm"] == pytest.approx(written.norm(dim=-1).mean(0).tolist(), abs=1e-4)
    assert {site.name for site in trace.values} == {"pattern"}  # a page that stays open holds no more


def test_one_token_has_nothing_to_measure(tiny_model):
    _, layers, _ = told(tiny_model, "a")
    for header, pattern in layers:
        assert all(value is None for values in header["heads"].values() for value in values)
        frames.read(live.framed({"run": "a", **header}, pattern))


def test_the_last_layer_says_what_the_model_predicts(tiny_model):
    _, layers, _ = told(tiny_model, "abc")
    logits = tiny_model.trace("abc").logits[0, -1]
    likely = logits.softmax(-1).topk(3)
    said = layers[-1][0]["says"]
    assert [each["id"] for each in said] == likely.indices.tolist()
    assert [each["probability"] for each in said] == pytest.approx(likely.values.tolist(), abs=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_other_families_stream_too(case):
    model = load(zoo.build(case))
    tokens = model.tokens([[3, 5, 7, 5, 3]])
    heard = []
    model_tokens, model.tokens = model.tokens, lambda prompt, **options: tokens
    try:
        live.run(model, "", lambda ids, labels: None, lambda header, pattern: heard.append((header, pattern)))
    finally:
        model.tokens = model_tokens
    assert [header["layer"] for header, _ in heard] == list(range(model.n_layers))
    for header, pattern in heard:
        assert (pattern is None) == ("heads" not in header)
        if pattern is not None:
            assert len(header["heads"]["value_norm"]) == len(pattern)
        frames.read(live.framed({"run": "a", **header}, pattern))


def test_one_who_listens_may_stop_it_and_leaves_nothing_behind(tiny_model):
    before = tiny_model.trace("abc").logits

    def stop(header, pattern):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        live.run(tiny_model, "abc", lambda *begun: None, stop)
    assert torch.equal(tiny_model.trace("abc").logits, before)
