"""Who is known: tokens, links that open once, cookies, and those who guess."""

import hmac

import pytest

from fluoroscope.server import visitors
from fluoroscope.server.visitors import PATIENCE, Visitors
from server.asgi import scope

TOKEN = "a-token-of-many-characters"


def by(word: str, address: str = "1.2.3.4"):
    asked = scope("http", "/api/health", {"authorization": f"Bearer {word}"})
    asked["client"] = (address, 1)
    return asked


def test_without_a_token_everybody_is_known():
    assert Visitors(None).known(scope("http", "/", {})) == 200


@pytest.mark.parametrize(
    "word", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é" * 26, "\xff\xfe", "\xed\xb3\xbf"]
)
def test_what_is_not_the_token_is_not_known(word):
    assert Visitors(TOKEN).known(by(word)) == 401
    asked = scope("http", "/", {})
    asked["query_string"] = b"token=%ff%fe%80" + word.encode()
    assert Visitors(TOKEN).known(asked) == 401


def test_words_are_compared_in_a_time_that_tells_nothing(monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair) or False)
    assert Visitors(TOKEN).known(by(TOKEN)) == 401
    assert (TOKEN.encode(), TOKEN.encode()) in compared


def test_a_link_opens_once():
    doors = Visitors(TOKEN, "once-only")
    assert doors.known(by("once-only")) == 200
    assert doors.known(by("once-only")) == 401
    assert doors.known(by(TOKEN)) == 200


def test_the_cookie_is_not_the_token_and_of_one_server_alone():
    doors = Visitors(TOKEN)
    name, _, value = doors.cookie().decode().split(";")[0].partition("=")
    assert TOKEN not in value
    assert doors.known(scope("websocket", "/x", {"cookie": f"{name}={value}"})) == 200
    assert Visitors(TOKEN).known(scope("websocket", "/x", {"cookie": f"{name}={value}"})) == 401
    assert doors.known(scope("websocket", "/x", {"cookie": "fluoroscope=\x80;=;"})) == 401


def test_who_guesses_waits_longer_and_longer_and_the_owner_does_not():
    now = [0.0]
    doors = Visitors(TOKEN, clock=lambda: now[0])
    assert [doors.known(by("wrong")) for _ in range(PATIENCE)] == [401] * PATIENCE
    assert {doors.known(by(word)) for word in ("wrong", TOKEN)} == {429}  # nothing is tried, the right one neither
    tried = 0
    while now[0] < 3600:
        now[0] += 0.5
        tried += doors.known(by("wrong")) == 401
    assert tried < 3600 / 60 + 10
    assert doors.known(by(TOKEN, "5.6.7.8")) == 200
    cookie = doors.cookie().decode().split(";")[0]
    own = scope("http", "/", {"cookie": cookie})
    own["client"] = ("1.2.3.4", 1)
    assert doors.known(own) == 200
    now[0] += 61
    assert doors.known(by(TOKEN)) == 200
    assert doors.known(by("wrong")) == 401
    assert doors.known(by(TOKEN)) == 200


def test_a_missing_token_is_no_guess_and_addresses_are_not_kept_for_ever(monkeypatch):
    monkeypatch.setattr(visitors, "_ADDRESSES", 8)
    doors = Visitors(TOKEN)
    assert [doors.known(scope("http", "/", {})) for _ in range(100)] == [401] * 100
    assert doors.known(by(TOKEN, "127.0.0.1")) == 200
    for number in range(100):
        doors.known(by("wrong", f"1.1.1.{number}"))
    assert len(doors._wrong) <= 8
