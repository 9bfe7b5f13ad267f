"""Which token a word names, and what is said where it names none."""

import pytest

import fluoroscope
from fluoroscope.server import words


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def test_a_word_is_the_token_that_a_parameter_would_read(specimen):
    (token,) = words.word(specimen, " Mary").named
    assert (token.id, token.label) == (specimen.single_token(" Mary"), " Mary")
    assert words.word(specimen, f"#{token.id}").named == [token]
    assert [each.label for each in words.word(specimen, " Mary| John").named] == [" Mary", " John"]


def test_what_is_no_token_says_how_it_is_read_and_what_begins_so(specimen):
    found = words.word(specimen, "Joh")
    assert found.named == []
    assert "tokens" in found.trouble["message"]
    assert found.trouble["hint"]
    assert " John" in [each.label for each in found.alike]
    assert words.word(specimen, "#99999999").trouble["error"] == "tokens"
    assert words.word(specimen, " ").alike == []


def test_the_address_takes_one_text(client):
    assert client.post("/api/word", json={"text": "a"}).json()["trouble"] is None
    for wrong in ({}, {"text": ""}, {"text": 3}, {"text": "a" * 201}, {"word": "a"}):
        assert client.post("/api/word", json=wrong).status_code == 422
