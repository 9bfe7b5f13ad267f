import math

import pytest

import tiny
from architectures.common import ids, model
from fluoroscope.analyses.ablation import ablation
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.next_token import next_token
from fluoroscope.errors import Cancelled
from fluoroscope.progress import listening
from fluoroscope.render.text import number
from fluoroscope.workflows.explain import Explanation, explain


@pytest.fixture(scope="module")
def explanation(tiny_model):
    return explain(tiny_model, tiny.PROMPT, top_k=4, position=5)


def test_it_is_its_four_answers_about_one_prediction(tiny_model, explanation):
    assert explanation.prediction == next_token(tiny_model, tiny.PROMPT, top_k=4, position=5)
    assert explanation.lens == logit_lens(tiny_model, tiny.PROMPT, position=5)
    assert explanation.attribution == logit_attribution(tiny_model, tiny.PROMPT, position=5, top_k=4)
    wrote = [part.site for part in explanation.attribution.top() if part.site not in (None, "embed", "pos_embed")]
    assert explanation.check == ablation(tiny_model, tiny.PROMPT, position=5, top_k=4, sites=wrote)
    target = explanation.prediction.predictions[0]
    assert explanation.lens.positions[0].target_ids == explanation.attribution.target_ids == (target.id,)
    assert explanation.attribution.logit == pytest.approx(target.logit, abs=1e-4)


def test_every_claim_carries_its_number(explanation):
    entropy = explanation.prediction.entropy
    captions = " ".join(view.caption for view in explanation.views())
    assert f"{number(entropy)} nats" in captions
    assert f"{math.exp(entropy):.1f} tokens" in captions
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
