"""The script of the lenses, and the lenses that it left beside the embedded models, judged again on other documents."""

import itertools

import pytest
import torch
from training.batches import END_ID
from training.recipe import RECIPES
from training.world import documents

from fluoroscope import specimen
from fluoroscope.loading import load
from fluoroscope.methods import translators
from training import lenses


def test_texts_are_documents_of_the_world_without_a_twin():
    told = lenses.texts(5, 300)
    assert len(set(told)) == 300
    stream = [document.text for document in itertools.islice(documents(5), 600)]
    assert told == list(dict.fromkeys(stream))[:300]
    others = lenses.texts(5, 50, frozenset(told))
    assert not set(others) & set(told)


def test_neither_text_is_of_a_seed_that_training_draws_from():
    """The trainer's seeds are those of its recipe times a million, and on from there."""
    used = {recipe.seed for recipe in RECIPES.values()}
    assert not {seed // 1_000_000 for seed in (lenses.FIT_SEED, lenses.JUDGE_SEED)} & used


def test_every_second_row_begins_with_the_end_of_text_token():
    model = load()
    rows = lenses.rows_of(model, ["The cat sat.", "The cat sat.", "Bees buzz."])
    assert rows[1] == [END_ID, *rows[0]]
    assert model.tokenizer.decode(rows[2]) == "Bees buzz."


def test_lenses_are_written_in_half_precision_and_judged_as_they_are_kept(tiny_model, tmp_path, monkeypatch):
    words = {
        lenses.FIT_SEED: ["one cat", "two", "three is a", "four ,", "five b"],
        lenses.JUDGE_SEED: ["six x", "seven"],
    }
    monkeypatch.setattr(lenses, "texts", lambda seed, count, known=frozenset(): words[seed])
    lenses.make(tiny_model, tmp_path, lenses.Plan(steps=3, rows=2, rate=0.2, averaged=4))
    rows = lenses.rows_of(tiny_model, words[lenses.JUDGE_SEED])
    for kind in ("tuned", "jacobian"):
        lens = translators.fitted(tiny_model, str(tmp_path / f"{kind}_lens.safetensors"), kind)
        assert {lens.weight.dtype, lens.bias.dtype} == {torch.float16}
        assert lens.meta["held_out"] == sum(map(len, rows))
        assert "losses" not in lens.meta
        for told, found in zip(lens.meta["judged"], translators.judge(tiny_model, lens, rows), strict=True):
            assert told == pytest.approx(vars(found), abs=1e-4)
    assert lens.meta["tokens"] == sum(map(len, lenses.rows_of(tiny_model, words[lenses.FIT_SEED])[:4]))


@pytest.fixture(scope="module", params=specimen.NAMES)
def judged(request):
    """(what the files say, what they do on documents of a third seed) of the tuned and the Jacobian lens."""
    model = load(request.param)
    known = frozenset(lenses.texts(lenses.FIT_SEED, lenses.Plan().fit_to))
    rows = lenses.rows_of(model, lenses.texts(73_000_000, 120, known))
    found = {kind: translators.fitted(model, None, kind) for kind in ("tuned", "jacobian")}
    return {kind: (lens.meta, translators.judge(model, lens, rows)) for kind, lens in found.items()}


def test_the_tuned_lens_is_nearer_to_the_prediction_than_the_logit_lens_at_every_depth(judged):
    """On average over depths behind a block 2.6 nats become 1.0 on the specimen, 3.7 become 1.4 on its sibling."""
    _, found = judged["tuned"]
    for depth in found:
        assert depth.fitted < 0.6 * depth.plain
        assert depth.fitted_agrees > depth.plain_agrees


@pytest.mark.parametrize("kind", ["tuned", "jacobian"])
def test_other_documents_say_what_the_files_say(judged, kind):
    """How much is left of the logit lens's KL: the KL itself hangs on how many hard documents there are."""
    meta, found = judged[kind]
    for told, depth in zip(meta["judged"], found, strict=True):
        assert told["site"] == depth.site
        assert depth.fitted / depth.plain == pytest.approx(told["fitted"] / told["plain"], abs=0.1)
        assert depth.fitted_agrees == pytest.approx(told["fitted_agrees"], abs=0.1)


def test_the_jacobian_of_the_deeper_half_does_not_hang_on_the_text(judged):
    meta, _ = judged["jacobian"]
    assert all(cosine > 0.9 for cosine in meta["stability"][len(meta["stability"]) // 2 :])
