"""What a server may be started with, by hand and by variables of either name."""

import contextlib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import ArgumentError
from fluoroscope.server.settings import Settings, variables

TOKEN = "a-token-of-many-characters"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_this_machine_alone_needs_no_token_and_is_reached_by_its_address(host):
    settings = Settings(host=host)
    assert settings.loopback
    assert settings.address in settings.names
    assert {"localhost", "127.0.0.1", "[::1]"} <= settings.names


@pytest.mark.parametrize("host", ["192.168.0.7", "lab.example", "fe80::1", "0.0.0.0", "::", ""])
def test_others_need_a_token_and_a_name(host):
    with pytest.raises(ArgumentError, match="no token"):
        Settings(host=host, hosts=("lab.example",))
    settings = Settings(host=host, hosts=("lab.example",), token=TOKEN)
    assert settings.address in settings.names
    assert "localhost" not in settings.names


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_every_address_is_no_name(host):
    with pytest.raises(ArgumentError, match="FLUOROSCOPE_HOSTS"):
        Settings(host=host, token=TOKEN)
    assert Settings(host=host, token=TOKEN, hosts=("Lab.Example", "fe80::1")).names == {"lab.example", "[fe80::1]"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": -1}, "no port"), ({"port": 65536}, "no port"), ({"max_tokens": 0}, "max_tokens=0"),
        ({"seconds": float("nan")}, "seconds"), ({"waiting": -1}, "waiting"), ({"held": 0}, "held"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"token": "short"}, "shorter"), ({"token": "ü" * 20}, "others than"), ({"token": "a b" * 9}, "others than"),
        ({"token": TOKEN + "\n"}, "others than"), ({"token": TOKEN + ";x"}, "others than"),
        ({"origins": ("*",)}, "every page"), ({"hosts": ("*",)}, "every page"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(ArgumentError, match=said):
        Settings(**given)


def test_the_token_is_not_shown():
    assert TOKEN not in repr(Settings(token=TOKEN))


SAMPLES = {
    "model": ("gpt2", "gpt2"), "models": ("a, b", ("a", "b")), "device": ("cpu", "cpu"), "host": ("::1", "::1"),
    "port": ("8000", 8000), "hosts": ("a,b", ("a", "b")), "origins": ("http://a:1/, http://b", ("http://a:1", "http://b")),
    "token": (TOKEN, TOKEN), "max_tokens": ("64", 64), "max_cells": ("100", 100), "max_bytes": ("9", 9),
    "seconds": ("2.5", 2.5), "waiting": ("3", 3), "held": ("4", 4),
    "store": ("off", "off"),
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(Settings) if field.name != "token_file"])
def test_every_setting_has_its_variable_and_what_is_given_comes_first(name):
    text, value = SAMPLES[name]
    for variable in variables(name):
        assert getattr(Settings.read({variable: text}), name) == value
        assert getattr(Settings.read({variable: "broken"}, **{name: value}), name) == value
    assert getattr(Settings.read({}, **{name: () if isinstance(value, tuple) else None}), name) == getattr(
        Settings(), name
    )


def test_circuit_traces_variables_are_understood():
    theirs = {"CT_MODEL": "gpt2", "CT_DEVICE": "auto", "CT_PORT": "8000", "CT_HOST": "127.0.0.1", "CT_MAX_TOKENS": "64",
              "CT_CORS": "http://localhost:5173"}  # fmt: skip
    expected = Settings(model="gpt2", port=8000, host="127.0.0.1", max_tokens=64, origins=("http://localhost:5173",))
    assert Settings.read(theirs) == expected
    assert Settings.read(theirs | {"FLUOROSCOPE_PORT": "9000"}).port == 9000


@given(st.text(max_size=8))
def test_a_number_is_a_number_or_refused_with_the_name_of_its_variable(text):
    with contextlib.suppress(ArgumentError):
        assert Settings.read({"FLUOROSCOPE_PORT": text}).port in range(1 << 16)
    with contextlib.suppress(ArgumentError):
        assert 0 < Settings.read({"FLUOROSCOPE_SECONDS": text}).seconds < float("inf")


@pytest.mark.parametrize("text", ["x", "1.5", "nan", "1e999", "²", "0x10"])
def test_the_variable_of_a_wrong_number_is_named(text):
    with pytest.raises(ArgumentError, match="CT_PORT"):
        Settings.read({"CT_PORT": text})
