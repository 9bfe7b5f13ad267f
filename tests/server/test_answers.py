"""Every error of ours has a status and a word, and says three things."""

import json

import pytest

from fluoroscope import errors
from fluoroscope.server import answers
from fluoroscope.server.answers import Refused


def every(kind):
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


@pytest.mark.parametrize(
    "kind", [kind for kind in every(errors.FluoroscopeError) if kind.__module__ == errors.__name__]
)
def test_every_error_is_answered_by_what_it_says(kind):
    status, said = answers.told(kind("what", "instead"))
    assert 400 <= status < 500
    assert said == {"error": said["error"], "message": "what", "hint": "instead"}
    response = answers.response(kind("<b>\u2028", "é"))
    assert response.status_code == status
    assert json.loads(response.body)["message"] == "<b>\u2028"


def test_a_refusal_has_its_own_status_and_word():
    assert answers.told(Refused(429, "busy", "wait")) == (429, {"error": "busy", "message": "wait", "hint": ""})
    assert json.loads(answers.body("refused", "é", "ü")) == {"error": "refused", "message": "é", "hint": "ü"}
