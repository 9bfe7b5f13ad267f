"""What a state says in another prompt: by the model's own edits, in words, and on the specimen."""

import pytest
import torch

import tiny
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.patchscope import Patchscope, patchscope
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.interventions import at, replace
from fluoroscope.loading import load
from fluoroscope.methods.translators import depth_sites
from fluoroscope.render.text import percent

GOAL = "ab, cd, ?: x"


@pytest.mark.parametrize("site", [None, "resid_post.0"])
def test_every_depth_is_the_target_prompt_with_that_state(tiny_model, site):
    result = patchscope(tiny_model, tiny.PROMPT, position=4, target_prompt=GOAL, target_site=site, top_k=4)
    trace = tiny_model.trace(tiny.PROMPT, sites=depth_sites(2))
    own = trace.logits[0, 4].softmax(-1)
    assert (result.next_id, result.next_probability) == (int(own.argmax()), pytest.approx(float(own.max()), abs=1e-6))
    assert (result.position, result.placeholder) == (4, GOAL.index("?"))
    lens = logit_lens(tiny_model, tiny.PROMPT, position=4)
    for depth, each in enumerate(result.depths):
        into = site or each.site
        assert (each.site, each.into) == (depth_sites(2)[depth], into)
        edits = {into: at(replace(trace[each.site][0, 4]), positions=GOAL.index("?"))}
        p = tiny_model.trace(GOAL, edits=edits).logits[0, -1].softmax(-1)
        assert [guess.id for guess in each.top] == p.topk(4).indices.tolist()
        assert [guess.probability for guess in each.top] == pytest.approx(p.topk(4).values.tolist(), abs=1e-5)
        assert each.next_probability == pytest.approx(float(p[result.next_id]), abs=1e-5)
        assert each.next_rank == 1 + int((p > p[result.next_id]).sum())
        assert each.text == tiny_model.generate(GOAL, max_new_tokens=8, edits=edits).text
        assert each.lens_probability == pytest.approx(lens.depths[depth].cells[0].target_probability, abs=1e-5)
    plain = tiny_model.trace(GOAL).logits[0, -1].softmax(-1)
    assert result.unpatched.top[0].id == int(plain.argmax())
    assert result.unpatched.text == tiny_model.generate(GOAL, max_new_tokens=8).text
    assert result.agreement is None
    assert Patchscope.from_json(result.to_json()) == result


def test_into_the_same_place_of_the_same_prompt_it_says_what_the_model_says(tiny_folder):
    double = load(tiny_folder, dtype="float64")
    result = patchscope(double, tiny.PROMPT, target_prompt=tiny.PROMPT, target_position=-1, top_k=5)
    p = double.trace(tiny.PROMPT).logits[0, -1].softmax(-1).topk(5)
    for each in (result.unpatched, *result.depths):
        assert [guess.id for guess in each.top] == p.indices.tolist()
        assert [guess.probability for guess in each.top] == pytest.approx(p.values.tolist(), abs=1e-12)
        assert each.text == result.unpatched.text


def test_the_last_depth_behind_the_placeholder_says_the_sources_next_token(tiny_model):
    result = patchscope(tiny_model, tiny.PROMPT, max_new_tokens=0, precision=True)
    assert result.target_tokens[result.placeholder] == "?"
    assert result.depths[-1].next_probability == pytest.approx(result.next_probability, abs=1e-5)
    assert result.depths[-1].next_rank == 1
    assert [each.site for each in result.agreement] == depth_sites(2)
    assert result.agreement[-1].precision == result.agreement[-1].lens_precision == 1
    assert {each.text for each in (result.unpatched, *result.depths)} == {None}
    assert Patchscope.from_json(result.to_json()) == result


def test_what_people_read(tiny_model):
    result = patchscope(tiny_model, tiny.PROMPT, precision=True)
    table, *lines, shown, agreement = result.views()
    assert [row.cells[0] for row in table.rows] == ["nothing", "emb", "L0", "L1"]
    assert [column.name for column in table.columns] == ["given", "likeliest", "p", "second", "p", "own", "goes on"]
    assert table.rows[2].cells[-1] == result.depths[1].text
    assert shown.marked == result.placeholder
    assert [series.label for series in agreement.series] == ["target prompt", "logit lens"]
    assert bool(lines) == bool(result.foretold())
    assert "goes on" not in [column.name for column in patchscope(tiny_model, "a", max_new_tokens=0).views()[0].columns]
    elsewhere = patchscope(tiny_model, "a", target_site="resid_pre.1", top_k=1).views()[0]
    assert "All of them are put into resid_pre.1." in elsewhere.caption
    assert [column.name for column in elsewhere.columns] == ["given", "likeliest", "p", "own", "goes on"]


def test_the_specimen_says_the_capital_that_a_state_stands_for():
    model = load()
    result = patchscope(model, "The capital of France is", max_new_tokens=0)
    told = result.foretold()
    assert (result.next_token, result.depths[-1] in told) == (" Paris", True)
    assert result.unpatched.top[0].piece != " Paris"
    first = f"first at {told[0].label} ({percent(told[0].next_probability)})"
    assert f"‘·Paris’, the model's own next token, {first}" in result.summary()
    asked = {"target_prompt": "The capital of x is", "placeholder": "x", "max_new_tokens": 2}
    for country, capital in [("France", " Paris"), ("Germany", " Berlin"), ("Italy", " Rome")]:
        result = patchscope(model, f"The language of {country}", **asked)
        assert result.depths[0].top[0].piece == result.depths[1].top[0].piece == capital
        assert result.depths[0].text.startswith(capital)
        assert f"says ‘·{capital.strip()}’ most surely at " in result.summary()


def test_nothing_is_left_behind(tiny_model):
    before = tiny_model.trace(tiny.PROMPT).logits
    patchscope(tiny_model, tiny.PROMPT, precision=True)
    assert torch.equal(tiny_model.trace(tiny.PROMPT).logits, before)


def test_wrong_arguments_are_refused(tiny_model):
    with pytest.raises(ArgumentError, match="top_k=0"):
        patchscope(tiny_model, "a", top_k=0)
    with pytest.raises(ArgumentError, match="max_new_tokens=-1"):
        patchscope(tiny_model, "a", max_new_tokens=-1)
    with pytest.raises(TokenError, match="no token 7"):
        patchscope(tiny_model, "abc", position=7)
    with pytest.raises(TokenError, match="holds the placeholder '!' 0 times"):
        patchscope(tiny_model, "abc", placeholder="!")
    with pytest.raises(TokenError, match="no token 99"):
        patchscope(tiny_model, "abc", target_position=99)
    with pytest.raises(TokenError, match="do not fit the context of 64"):
        patchscope(tiny_model, "abc", max_new_tokens=60)
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        patchscope(tiny_model, ["a", "b"])
