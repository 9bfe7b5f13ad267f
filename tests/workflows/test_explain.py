import math

import pytest

import tiny
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
    assert explanation.lens.positions[0].target_id == explanation.attribution.target_id == target.id
    assert explanation.attribution.logit == pytest.approx(target.logit, abs=1e-4)


def test_every_claim_carries_its_number(explanation):
    sure, depth, parts = explanation.sentences()
    entropy = explanation.prediction.entropy
    assert f"{number(entropy)} nats" in sure
    assert f"{math.exp(entropy):.1f} tokens" in sure
    assert depth == explanation.lens.summary()
    assert parts == explanation.attribution.summary()
    captions = " ".join(view.caption for view in explanation.views())
    assert all(sentence in captions for sentence in (sure, depth, parts, explanation.check.summary()))


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
