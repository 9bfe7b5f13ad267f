import math

import pytest

import tiny
from architectures.common import ids, model
from fluoroscope.analyses.ablation import ablation
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.next_token import next_token
from fluoroscope.errors import ArgumentError, Cancelled, TokenError
from fluoroscope.progress import listening
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.workflows import explain as module
from fluoroscope.workflows.explain import Explanation, explain


@pytest.fixture(scope="module")
def explanation(tiny_model):
    return explain(tiny_model, tiny.PROMPT, top_k=4, position=5)


def test_it_is_its_four_answers_about_one_prediction(tiny_model, explanation):
    """By default the prediction is held against the second likeliest token."""
    assert explanation.prediction == next_token(tiny_model, tiny.PROMPT, top_k=4, position=5)
    assert explanation.lens == logit_lens(tiny_model, tiny.PROMPT, position=5)
    target, foil = explanation.prediction.predictions[:2]
    asked = {"position": 5, "top_k": 4, "foil": f"#{foil.id}"}
    assert explanation.attribution == logit_attribution(tiny_model, tiny.PROMPT, **asked)
    wrote = [part.site for part in explanation.attribution.top() if part.site not in (None, "embed", "pos_embed")]
    assert explanation.check == ablation(tiny_model, tiny.PROMPT, sites=wrote, **asked)
    assert explanation.lens.positions[0].target_ids == explanation.target_ids == (target.id,)
    assert explanation.foil_ids == (foil.id,)
    assert explanation.lead == pytest.approx(target.logit - foil.logit, abs=1e-4)
    assert explanation.attribution.logit == pytest.approx(explanation.lead, abs=1e-4)
    assert explanation.probability == pytest.approx(target.probability, abs=1e-6)
    assert explanation.foil_probability == pytest.approx(foil.probability, abs=1e-6)


def test_the_sentence_says_what_is_expected_over_what_and_by_how_much(explanation):
    target, foil = explanation.prediction.predictions[:2]
    first, second, third = explanation.attribution.top()[:3]
    assert explanation.summary() == (
        f"After {quoted(tiny.PROMPT[5])} the model expects {quoted(target.piece)} ({percent(target.probability)}) over "
        f"{quoted(foil.piece)} ({percent(foil.probability)}) by {number(explanation.lead)} logits; of the "
        f"{len(explanation.attribution.parts)} parts that sum to it the largest are "
        f"{first.label} {number(first.value, signed=True)}, {second.label} {number(second.value, signed=True)} and "
        f"{third.label} {number(third.value, signed=True)}."
    )


def test_the_logit_by_itself(tiny_model):
    result = explain(tiny_model, tiny.PROMPT, bare=True, top_k=4)
    assert (result.foil, result.foil_ids, result.foil_probability, result.lead) == (None, (), None, None)
    assert result.attribution == logit_attribution(tiny_model, tiny.PROMPT, top_k=4)
    assert result.attribution.logit == pytest.approx(result.prediction.predictions[0].logit, abs=1e-4)
    assert (result.check.foil, result.check.lead) == (None, None)
    whole = f"parts that sum to the logit of {quoted(result.target)}, {number(result.attribution.logit)}, the largest "
    assert whole in result.summary()
    other = explain(tiny_model, tiny.PROMPT, target="Q", bare=True)
    assert f", and ‘Q’ ({percent(other.probability)}); of the " in other.summary()
    assert "parts that sum to the logit of ‘Q’" in other.summary()


def test_any_target_and_foil_and_sets_of_them(tiny_model):
    first = tiny_model.token_label(int(tiny_model.trace(tiny.PROMPT).logits[0, -1].argmax()))
    alone = explain(tiny_model, tiny.PROMPT, target="Q")
    assert alone.foil == first
    assert alone.lead < 0
    assert f"; ‘Q’ ({percent(alone.probability)}) is {number(-alone.lead)} logits under {quoted(first)}; of the" in (
        alone.summary()
    )
    sets = explain(tiny_model, tiny.PROMPT, target="Q|a", foil="b|c", top_k=3)
    logits = tiny_model.trace(tiny.PROMPT).logits[0, -1].double()
    ids = [tiny_model.single_token(token) for token in "Qabc"]
    assert (*sets.target_ids, *sets.foil_ids) == tuple(ids)
    assert sets.lead == pytest.approx(float(logits[ids[:2]].mean() - logits[ids[2:]].mean()), abs=1e-5)
    assert sets.probability == pytest.approx(float(logits.softmax(-1)[ids[:2]].sum()), abs=1e-6)
    assert sets.foil_probability == pytest.approx(float(logits.softmax(-1)[ids[2:]].sum()), abs=1e-6)
    for answer in (sets.attribution, sets.check):
        assert (answer.target, answer.foil) == ("Q|a", "b|c")
    assert sets.lens.positions[0].target == "Q|a"
    assert f"‘Q|a’ ({percent(sets.probability)}) is in the mean {number(abs(sets.lead))} logits " in sets.summary()
    against = explain(tiny_model, tiny.PROMPT, foil="Q|a")
    assert f"), which is in the mean {number(against.lead)} logits over ‘Q|a’" in against.summary()


@pytest.mark.parametrize("case", ["gpt2", "llama", "phi", "olmo2", "gemma2", "mixtral"])
def test_on_other_families_the_parts_are_of_the_lead(case):
    found = model(case)
    logits = found.trace(ids(1)).logits[0, -1].double()
    second, first = logits.argsort()[-2:].tolist()
    result = explain(found, ids(1), top_k=3)
    assert (result.target_ids, result.foil_ids) == ((first,), (second,))
    assert result.lead == pytest.approx(float(logits[first] - logits[second]), abs=1e-4)
    assert result.check.lead == pytest.approx(result.lead, abs=1e-5)
    if case == "gemma2":
        whole = number(result.attribution.logit)
        assert f"parts that sum to {whole} before the softcap of 5.000 the largest are" in result.summary()
    else:
        assert result.attribution.total == pytest.approx(result.lead, abs=1e-3)


def test_refusals(tiny_model):
    with pytest.raises(ArgumentError, match="bare holds the target against nothing, and a foil is named, 'a'"):
        explain(tiny_model, "abc", foil="a", bare=True)
    with pytest.raises(ArgumentError, match="both token 0"):
        explain(tiny_model, "abc", target="a", foil="a")
    with pytest.raises(TokenError, match="'bc' is 2 tokens"):
        explain(tiny_model, "abc", target="a|bc")
    with pytest.raises(ArgumentError, match="lists nothing"):
        explain(tiny_model, "abc", top_k=0)


@pytest.mark.parametrize(
    ("nats", "says"),
    [
        (0.013, "Its uncertainty is 0.013 nats: the model is almost certain."),
        (0.0, "Its uncertainty is 0 nats: the model is almost certain."),
        (math.log(1.3), "Its uncertainty is 0.262 nats, as of an even choice among 1.3 tokens."),
        (math.log(123.4), "Its uncertainty is 4.815 nats, as of an even choice among 123 tokens."),
    ],
)
def test_an_entropy_in_words(nats, says):
    assert module._sure(nats) == says


def test_every_claim_carries_its_number(explanation):
    entropy = explanation.prediction.entropy
    captions = " ".join(view.caption for view in explanation.views())
    assert f"{number(entropy)} nats" in captions
    assert module._sure(entropy) in captions
    for answer in (explanation.lens, explanation.attribution, explanation.check):
        assert answer.summary() in captions
    assert explanation.refused == ()


def test_what_a_model_cannot_give_is_left_out_with_the_reason():
    """This OPT norms each sum and projects the end: no exact sum, no lens, no part that can be removed alone."""
    result = explain(model("opt-350m"), ids(1)[0], top_k=3)
    assert result.attribution is result.check is None
    assert result.refused
    shown = " ".join(view.caption for view in result.views())
    assert all(reason in shown for reason in result.refused)
    assert Explanation.from_json(result.to_json()) == result


def test_without_an_exact_sum_whole_blocks_are_checked(monkeypatch):
    found = model("llama")
    monkeypatch.setitem(found.unavailable, ("frozen_norm", None), "its norm is of its own making")
    result = explain(found, ids(1)[0])
    assert result.attribution is None
    assert "its norm is of its own making" in result.refused[0]
    offered = {str(site) for name in ("attn_out", "mlp_out") for site in found.sites(name)}
    assert {each.sites[0] for each in result.check.removals} == offered


def test_all_pictures_are_on_the_page(explanation):
    titles = [view.title for view in explanation.views()]
    parts = (explanation.prediction, explanation.lens, explanation.attribution, explanation.check)
    assert sorted(titles) == sorted(view.title for part in parts for view in part.views())
    assert Explanation.from_json(explanation.to_json()) == explanation


def test_it_reports_its_progress_and_can_be_stopped(tiny_model):
    seen = []
    with listening(lambda *report: seen.append(report)):
        explain(tiny_model, "ab")
    own = [(done, total) for label, done, total in seen if label == "explain"]
    assert own == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    with listening(lambda label, done, total: not (label == "explain" and done == 1)), pytest.raises(Cancelled):
        explain(tiny_model, "ab")
