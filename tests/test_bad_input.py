"""What is no input at all: refused by name, before anything runs, never by an error from the depths of a library."""

import math

import pytest
import torch

import tiny
from fluoroscope import interventions as iv
from fluoroscope.errors import ArgumentError, EditError, SiteError, TokenError


@pytest.mark.parametrize(
    ("sites", "says"),
    [([5], "5 is no site"), (5, "no list"), ("z.0", "is one site"), ([None], "None is no site")],
)
def test_sites(tiny_model, sites, says):
    with pytest.raises(SiteError, match=says):
        tiny_model.trace(tiny.PROMPT, sites=sites)


@pytest.mark.parametrize("edits", [["resid_post.0"], "resid_post.0", iv.zero()])
def test_edits_are_functions_by_site(tiny_model, edits):
    with pytest.raises(EditError, match="edits is a"):
        tiny_model.trace(tiny.PROMPT, edits=edits)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iv.scale("2"),
        lambda: iv.scale(math.nan),
        lambda: iv.scale(math.inf),
        lambda: iv.add(1.0, coefficient=None),
        lambda: iv.clamp(2, 1),
        lambda: iv.clamp(math.nan),
        lambda: iv.noise(-1, seed=0),
        lambda: iv.noise("1", seed=0),
        lambda: iv.at(iv.zero(), positions=1.5),
        lambda: iv.at(iv.zero(), positions="0"),
        lambda: iv.at(iv.zero(), positions=[0, None]),
        lambda: iv.at(iv.zero(), positions=slice(0, 1.0)),
        lambda: iv.at(iv.zero(), positions=True),
        lambda: iv.at(iv.zero(), rows=0.0),
    ],
)
def test_interventions_are_checked_where_they_are_made(make):
    with pytest.raises(EditError):
        make()


def test_every_kind_of_integer_is_a_position(tiny_model):
    plain = tiny_model.trace(tiny.PROMPT, edits={"resid_post.0": iv.at(iv.zero(), positions=1)}).logits
    for position in ([1], (1,), range(1, 2), slice(1, 2), torch.tensor(1), torch.tensor([1])):
        edits = {"resid_post.0": iv.at(iv.zero(), positions=position)}
        assert torch.equal(tiny_model.trace(tiny.PROMPT, edits=edits).logits, plain)


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 2.5},
        {"max_new_tokens": True},
        {"temperature": "1"},
        {"temperature": None},
        {"temperature": 1.0, "top_k": 2.0},
        {"temperature": 1.0, "top_p": "half"},
        {"top_k": 5},
        {"top_p": 0.5},
    ],
)
def test_options_of_generation(tiny_model, options):
    with pytest.raises(ArgumentError, match="|".join(options)):
        tiny_model.generate(tiny.PROMPT, **{"max_new_tokens": 4} | options)


def test_half_a_character_is_no_text(tiny_model):
    with pytest.raises(TokenError, match="lone surrogate"):
        tiny_model.trace("a\ud800")
