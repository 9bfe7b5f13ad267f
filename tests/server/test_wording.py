"""What is no JSON of a request is refused; what is too long is not sent."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.server import messages
from fluoroscope.server.answers import Refused
from fluoroscope.server.wording import parsed, read, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_objects_come_through_and_nothing_else_does(value):
    text = json.dumps(value)
    if isinstance(value, dict):
        assert parsed(text) == value
        assert json.loads(written(value, 1 << 20)) == value
    else:
        with pytest.raises(Refused, match="no object"):
            parsed(text)


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_noise_is_refused(noise):
    with contextlib.suppress(Refused):
        assert isinstance(parsed(noise), dict)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "{", '{"a": NaN}', '{"a": 1e999}', '{"a": 1, "a": 2}', '{"a": Infinity}', "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": ' + "9" * 5000 + "}", b"\xff\xfe", b'{"a": "\xed\xa0\x80"}', "{'a': 1}", "null", "1", '"a"',
    ],
)  # fmt: skip
def test_json_of_doubtful_meaning_is_refused(text):
    with pytest.raises(Refused) as refused:
        parsed(text)
    assert refused.value.status == 400
    assert len(str(refused.value)) < 500


@given(JSON)
def test_a_message_is_one_of_ours_or_refused(value):
    if isinstance(value, dict):
        with pytest.raises(Refused):
            read(messages.FromPage, value | {"type": "live"})


@pytest.mark.parametrize(
    "given",
    [
        {}, {"type": "live"}, {"type": "live", "run": "a", "prompt": 3}, {"type": "live", "run": "", "prompt": "a"},
        {"type": "live", "run": "a" * 65, "prompt": "a"}, {"type": "live", "run": "a", "prompt": "a", "more": 1},
        {"type": "need", "run": "a", "of": "b", "layer": True, "head": 0}, {"type": ["live"], "run": "a"},
        {"type": "need", "run": "a", "of": "b", "layer": -1, "head": 0},
        {"type": "run", "run": "a", "analysis": "x", "arguments": []},
    ],
)  # fmt: skip
def test_fields_are_exact(given):
    with pytest.raises(Refused) as refused:
        read(messages.FromPage, given, status=400)
    assert (refused.value.status, refused.value.name) == (400, "message")


def test_an_answer_that_is_too_long_is_refused_with_the_numbers():
    assert written({"a": "é"}, 15) == '{"a": "\\u00e9"}'
    with pytest.raises(Refused, match="15 bytes, 14 at most") as refused:
        written({"a": "é"}, 14)
    assert refused.value.status == 413
