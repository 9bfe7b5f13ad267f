"""Target and foil by hand, and as a parameter names them."""

from math import inf, log

import pytest
import torch

from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods import contrast
from fluoroscope.methods.contrast import Contrast

LOGITS = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("about", "weights", "score"),
    [
        (Contrast((3,)), [0, 0, 0, 1], 8),
        (Contrast((3,), (0,)), [-1, 0, 0, 1], 7),
        (Contrast((3, 0)), [0.5, 0, 0, 0.5], 4.5),
        (Contrast((3, 0), (1,)), [0.5, -1, 0, 0.5], 2.5),
        (Contrast((3,), (0, 1)), [-0.5, -0.5, 0, 1], 6.5),
    ],
)
def test_a_set_is_a_mean_and_a_foil_is_taken_off(about, weights, score):
    assert about.weights(4).tolist() == weights
    assert float(about.score(LOGITS)) == float(about.weights(4) @ LOGITS) == score
    assert about.score(torch.stack([LOGITS, 2 * LOGITS])).tolist() == [score, 2 * score]


def test_a_common_shift_of_the_logits_is_nothing_where_there_is_a_foil():
    about = Contrast((3, 0), (1,))
    assert float(about.score(LOGITS.log_softmax(-1))) == pytest.approx(2.5, abs=1e-12)


def test_a_set_comes_when_one_of_it_does():
    log_p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64).log()
    assert float(Contrast((1, 3)).log_probability(log_p)) == pytest.approx(log(0.6))
    assert float(Contrast((0, 1, 2, 3)).log_probability(log_p.float())) <= 0
    assert float(Contrast((1,)).log_probability(log_p)) == float(log_p[1])
    assert float(Contrast((0, 1)).log_probability(torch.tensor([-inf, -inf, 0.0]))) == -inf


def test_what_is_not_named_is_the_likeliest():
    assert Contrast().at(LOGITS) == Contrast((3,))
    assert Contrast((1,)).at(LOGITS) == Contrast((1,))
    assert Contrast((3,)).against_likeliest(LOGITS) == Contrast((3,), (2,))
    assert Contrast((1,)).against_likeliest(LOGITS) == Contrast((1,), (3,))
    assert Contrast((3, 2)).against_likeliest(LOGITS) == Contrast((3, 2), (1,))
    with pytest.raises(ArgumentError, match="the target is all tokens"):
        Contrast((0, 1, 2, 3)).against_likeliest(LOGITS)


def test_a_token_is_not_in_both():
    with pytest.raises(ArgumentError, match=r"target and foil are both token 3\. Their difference is 0"):
        Contrast((3,), (3,))
    with pytest.raises(ArgumentError, match=r"target and foil share token 1\. It would cancel"):
        Contrast((3, 1), (1, 0))
    with pytest.raises(ArgumentError, match="both token 3"):
        Contrast((), (3,)).at(LOGITS)


def test_names_are_read_and_written_alike(tiny_model):
    about = contrast.asked(tiny_model, "Q|a| ", "b")
    ids = [tiny_model.single_token(token) for token in "Qa b"]
    assert about == Contrast(tuple(ids[:3]), (ids[3],))
    assert contrast.label(tiny_model, about.target) == "Q|a| "
    assert contrast.asked(tiny_model, contrast.spelled(about.target), contrast.spelled(about.foil)) == about
    assert contrast.asked(tiny_model, None, None) == Contrast()
    with pytest.raises(ArgumentError, match="share token 0"):
        contrast.asked(tiny_model, "Q|a", "#0|c")
    with pytest.raises(TokenError, match="'ab' is 2 tokens"):
        contrast.asked(tiny_model, "Q", "c|ab")
