import math

import pytest

import tiny
from architectures import common
from fluoroscope.analyses.gradient_attribution import GradientAttribution, gradient_attribution
from fluoroscope.analyses.next_token import next_token
from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.methods import gradients
from fluoroscope.render.text import number


def test_the_tokens_sum_to_the_change_of_the_logit(tiny_model):
    result = gradient_attribution(tiny_model, tiny.PROMPT)
    logits = tiny_model.trace(tiny.PROMPT).logits[0, -1]
    assert result.end == pytest.approx(float(logits.max()), abs=1e-5)
    assert result.target == next_token(tiny_model, tiny.PROMPT).predictions[0].piece
    assert sum(item.integrated for item in result.tokens) == pytest.approx(
        result.end - result.start + result.error, abs=1e-5
    )
    assert result.missed <= 0.005
    assert "".join(item.token for item in result.tokens) == tiny.PROMPT
    assert GradientAttribution.from_json(result.to_json()) == result


def test_a_difference_is_the_difference_of_both(tiny_model):
    both, one, other = (
        gradient_attribution(tiny_model, "abc", target=target, foil=foil, steps=128)
        for target, foil in (("Q", "Z"), ("Q", None), ("Z", None))
    )
    for item, a, b in zip(both.tokens, one.tokens, other.tokens, strict=True):
        assert item.product == pytest.approx(a.product - b.product, abs=1e-4)
        assert item.integrated == pytest.approx(a.integrated - b.integrated, abs=1e-2)


def test_tokens_after_the_position_have_no_part(tiny_model):
    result = gradient_attribution(tiny_model, "abcdef", position=2)
    assert all(item.integrated == item.product == 0 for item in result.tokens[3:])
    assert result.tokens[2].product != 0


def test_what_people_read(tiny_model):
    result = gradient_attribution(tiny_model, "abc", target="Q", foil="Z", baseline="zero")
    tokens, table = result.views()
    assert [item.value for item in tokens.items] == [item.integrated for item in result.tokens]
    assert [row.cells[2] for row in table.rows] == [item.product for item in result.tokens]
    assert "no token embeddings at all" in result.summary()


def test_where_the_logit_jumps_on_its_way_the_sum_is_refused_unless_it_may_miss(monkeypatch):
    """Routers that choose other experts make jumps, which no gradient sees, however many points there are."""
    monkeypatch.setattr(gradients, "MOST_STEPS", 64)
    model, ids = common.model("olmoe"), [5, 3, 9, 7, 5, 3, 22, 41, 90, 5, 3, 9]
    with pytest.raises(UnavailableError, match=r"64 gradients .* miss the change by .* jumps on its way"):
        gradient_attribution(model, ids)
    result = gradient_attribution(model, ids, tolerance=1e9)
    assert result.missed > 1
    assert f"misses the change by {number(result.missed)} times its size" in result.summary()


def test_an_error_without_a_change_is_not_called_none(tiny_model):
    result = gradient_attribution(tiny_model, "abc")
    assert result.model_copy(update={"start": result.end, "error": 0.0}).missed == 0
    assert result.model_copy(update={"start": result.end, "error": 0.1}).missed == math.inf


def test_wrong_arguments_are_refused(tiny_model):
    with pytest.raises(ArgumentError, match="follows no path"):
        gradient_attribution(tiny_model, "a", steps=0)
    for tolerance, why in ((-1, "no share"), (-0.001, "no share"), (math.nan, "finite"), (math.inf, "finite")):
        with pytest.raises(ArgumentError, match=why):
            gradient_attribution(tiny_model, "abc", tolerance=tolerance)
    with pytest.raises(ArgumentError, match="both token"):
        gradient_attribution(tiny_model, "a", target="Q", foil="Q")
    with pytest.raises(TokenError, match="'ab' is 2 tokens"):
        gradient_attribution(tiny_model, "a", target="ab")


def test_a_set_is_its_mean(tiny_model):
    both, *alone = (
        gradient_attribution(tiny_model, "abc", target=target, foil=foil, steps=128)
        for target, foil in (("Q|a", "Z"), ("Q", "Z"), ("a", "Z"))
    )
    assert (both.target, both.foil, len(both.target_ids)) == ("Q|a", "Z", 2)
    for item, one, other in zip(both.tokens, *(each.tokens for each in alone), strict=True):
        assert item.product == pytest.approx((one.product + other.product) / 2, abs=1e-4)
        assert item.integrated == pytest.approx((one.integrated + other.integrated) / 2, abs=1e-2)
    logits = tiny_model.trace("abc").logits[0, -1]
    ids = [tiny_model.single_token(token) for token in "QaZ"]
    assert both.end == pytest.approx(float(logits[ids[:2]].mean() - logits[ids[2]]), abs=1e-5)
