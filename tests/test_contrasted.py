"""How results speak of a target and a foil."""

import pytest

from fluoroscope.contrasted import named, wording
from fluoroscope.methods.contrast import Contrast


@pytest.mark.parametrize(
    ("target", "foil", "several", "says"),
    [
        (" Mary", None, False, "logit of ‘·Mary’"),
        (" Mary", " John", False, "lead of ‘·Mary’ over ‘·John’"),
        (" Mary| Anna", None, True, "mean logit of ‘·Mary|·Anna’"),
        (" Mary| Anna", " John", True, "mean lead of ‘·Mary|·Anna’ over ‘·John’"),
    ],
)
def test_a_logit_a_lead_or_their_means(target, foil, several, says):
    assert wording(target, foil, several=several) == says


def test_names_are_those_of_the_parameters(tiny_model):
    q, bar = (tiny_model.single_token(token) for token in "Q|")
    assert named(tiny_model, Contrast((0, q), (bar,))) == {
        "target": "a|Q", "target_ids": (0, q), "foil": "|", "foil_ids": (bar,)
    }  # fmt: skip
    assert named(tiny_model, Contrast()) == {"target": None, "target_ids": (), "foil": None, "foil_ids": ()}
