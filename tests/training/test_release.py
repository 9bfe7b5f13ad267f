"""The embedded specimen, measured again on other cases than those of its card."""

import pytest
from training.evaluate import wilson
from training.world import BEHAVIOURS, PRESETS, cases

from fluoroscope import interventions, specimen
from fluoroscope.loading import load
from training import circuits, movers, score


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.mark.parametrize("case", PRESETS, ids=lambda case: case.prompt[:30])
def test_presets_go_on_as_they_should(model, case):
    room = len(model.tokenizer(case.answer, add_special_tokens=False)["input_ids"])
    text = model.generate(case.prompt, max_new_tokens=room).texts[0]
    assert text in case.info.get("accepted", (case.answer,))


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if name != "greater_than"])
def test_accuracy_on_fresh_cases_is_that_of_the_card(model, behaviour):
    """Two samples of one model: their 99.9 % intervals overlap."""
    import json

    rows = json.loads((specimen.folder() / "measured.json").read_text(encoding="utf8"))["behaviours"]
    card = next(row for row in rows if row["behaviour"] == behaviour)
    fresh = cases(behaviour, 48, seed=99)
    again = score.accuracy(model.hf, model.tokenizer, fresh)
    low, high = wilson(again, len(fresh), 0.999)
    card_low, card_high = wilson(card["value"], card["cases"], 0.999)
    assert low <= card_high
    assert card_low <= high


def test_the_circuits_are_there(model):
    failed = [(finding.name, finding.value) for finding in circuits.gate(model, n=16) if not finding.passed]
    assert failed == []


@pytest.mark.parametrize(
    ("order", "other"), [("receiver first", "receiver second"), ("receiver second", "receiver first")]
)
def test_the_movers_of_an_order_move_the_name_there(model, order, other):
    """What they write by attribution is missed when they are silent, and missed in their order."""
    scenes = movers._scenes(model, 64)
    found = movers._movers(model, scenes, scenes.orders[order], 0.3)
    assert found
    for head in found:
        assert scenes.looks["IO"][head][scenes.orders[order]].mean() > 0.25
    edits = movers.edits_at_end(found, lambda head: interventions.zero())
    silent = model.trace(scenes.tokens, edits=edits).logits[:, -1]
    whole = scenes.trace.logits[:, -1]
    lost = movers._difference(whole, scenes.answers, scenes.foils) - movers._difference(
        silent, scenes.answers, scenes.foils
    )
    assert lost[scenes.orders[order]].mean() > 1
    assert lost[scenes.orders[order]].mean() > lost[scenes.orders[other]].mean()


def test_wilson_is_the_textbooks():
    """Agresti & Coull 1998: 0 of 10 gives (0, 0.278), 5 of 10 gives (0.237, 0.763)."""
    assert wilson(0.0, 10) == pytest.approx((0, 0.2775), abs=1e-3)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-3)
