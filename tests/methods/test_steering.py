"""What is told of steering, against one plain run after the other."""

import pytest
import torch

import tiny
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import add
from fluoroscope.methods import steering
from fluoroscope.methods.contrast import Contrast
from fluoroscope.sites import Site

SITE = Site("resid_post", 0)


@pytest.fixture(scope="module")
def found(tiny_model):
    return steering.direction(tiny_model, ["good", "great day"], ["bad"], SITE)


def test_the_length_leaves_the_first_token_out(tiny_model):
    states = tiny_model.trace("abc", sites=[SITE])[SITE][0].double()
    assert steering.length(tiny_model, "abc", SITE) == pytest.approx(float(states[1:].norm(dim=-1).mean()))
    assert steering.length(tiny_model, "a", SITE) == pytest.approx(float(states[0].norm()))


def test_log_odds_are_those_of_probabilities():
    log_p = torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    assert float(steering.log_odds(Contrast((0,), (1, 2)), log_p).exp()) == pytest.approx(0.5 / 0.4)
    assert float(steering.log_odds(Contrast((0, 3)), log_p).exp()) == pytest.approx(0.6 / 0.4)


def test_a_planted_direction_changes_a_logit_by_exactly_what_it_predicts(tiny_model, found):
    """Behind the last block the norm stands still for what is added to a stream of the same scale and mean."""
    last = Site("resid_post", tiny_model.n_layers - 1)
    trace = tiny_model.trace(tiny.PROMPT, sites=[last])
    stream = trace[last][0, -1].double()
    flat = torch.stack([torch.ones_like(stream), stream - stream.mean()])
    span = torch.linalg.qr(flat.T).Q
    drawn = found.vector.double() - span @ (span.T @ found.vector.double())  # mean 0, across the stream
    step = 3 * drawn / drawn.norm()
    before, after = (stream - stream.mean()).norm(), (stream + step - stream.mean()).norm()
    eps = 1e-5 * len(stream)
    shrink = ((before**2 + eps) / (after**2 + eps)).sqrt()  # the variance grows by that of the step, and by no more
    norm, unembed = tiny_model.hf.transformer.ln_f, tiny_model.weights["W_U"].double()
    gain, bias = norm.weight.double(), norm.bias.double()
    own = (trace.logits[0, -1].double() - bias @ unembed) * shrink
    scale = (before**2 + eps).div(len(stream)).rsqrt() * shrink
    predicted = own + (step * gain * scale) @ unembed + bias @ unembed
    steered = tiny_model.trace(tiny.PROMPT, edits={last: add(step.float())}).logits[0, -1]
    torch.testing.assert_close(steered.double(), predicted, rtol=1e-4, atol=1e-4)
    assert float((steered - trace.logits[0, -1]).abs().max()) > 0.1


def test_a_sweep_is_one_plain_run_after_the_other(tiny_model, found):
    prompt, about, neutral = tiny_model.tokens("abc").rows[0], Contrast((5,), (7,)), tiny_model.tokens("def g").rows[0]
    coefficients = [-1.0, 0.0, 0.5]
    (swept,) = steering.sweep(tiny_model, prompt, about, [found], coefficients, [neutral], 4)
    plain = tiny_model.trace([neutral]).logits[0].log_softmax(-1)
    for number, coefficient in enumerate(coefficients):
        edits = {SITE: add(found.vector, coefficient)}
        logits = tiny_model.trace([prompt], edits=edits).logits[0, -1]
        assert swept.log_odds[number] == pytest.approx(float(logits[5] - logits[7]), abs=1e-5)
        other = tiny_model.trace([neutral], edits=edits).logits[0].log_softmax(-1)
        kl = (plain.exp() * (plain - other)).sum(-1).mean()
        assert swept.kl[number] == pytest.approx(float(kl), rel=1e-4, abs=1e-6)
        ids = tiny_model.generate([prompt], max_new_tokens=4, edits=edits).ids[0]
        assert list(swept.says[number]) == ids
        whole = tiny_model.trace([prompt + ids]).logits[0].log_softmax(-1)
        told = [float(whole[len(prompt) - 1 + step, token]) for step, token in enumerate(ids)]
        assert swept.surprise[number] == pytest.approx(-sum(told) / len(told), rel=1e-5)
    assert swept.kl[1] == pytest.approx(0, abs=1e-6)


def test_what_is_said_is_judged_on_its_own_text(tiny_model, found):
    prompt = tiny_model.tokens("abc").rows[0]
    edits = steering.steered(found, 2.0, positions=[1])
    said = steering.say(tiny_model, prompt, edits, max_new_tokens=3)
    assert said.ids == tiny_model.generate([prompt], max_new_tokens=3, edits=edits, cache=False).ids[0]
    text = [prompt + said.ids]
    plain, moved = (tiny_model.trace(text, edits=each).logits[0].log_softmax(-1) for each in (None, edits))
    kl = (plain.exp() * (plain - moved)).sum(-1)[len(prompt) - 1 : -1]
    assert said.kl == pytest.approx(kl.tolist(), rel=1e-3, abs=1e-6)
    assert max(said.kl) > 1e-3
    assert steering.fluency(tiny_model, prompt, [said.ids])[0] == pytest.approx(-sum(said.log_probs) / 3, rel=1e-5)
    with pytest.raises(ArgumentError, match="no token"):
        steering.fluency(tiny_model, prompt, [[]])
