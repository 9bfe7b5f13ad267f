"""Against the json module of Python, which is less strict; `test_artifact.py` tries many more forms in files."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluoroscope.errors import ArtifactError
from fluoroscope.strict_json import NotJson, dump, load

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@settings(deadline=None, max_examples=60)
@given(value=VALUES)
def test_text_and_bytes_come_back_as_pythons_own(value):
    text = dump(value, indent=1)
    assert load(text) == load(text.encode("utf8")) == json.loads(json.dumps(value)) == value


WHY = {"[NaN]": "it holds NaN", "1e999": "out of range", '{"a": 1, "a": 2}': "'a' is there twice", "{": "Expecting"}


@pytest.mark.parametrize(("data", "why"), WHY.items())
def test_what_python_would_let_pass_is_no_json(data, why):
    for form in (data, data.encode()):
        with pytest.raises(NotJson, match=why):
            load(form)


def test_what_is_no_json_says_where_it_is():
    with pytest.raises(ArtifactError, match=r"value.a\[1\] is nan"):
        dump({"a": [0.0, float("nan")]})
    with pytest.raises(ArtifactError, match=r"^answer.a is nan"):
        dump({"a": float("nan")}, what="answer")
    with pytest.raises(ArtifactError, match="value has the key 1"):
        dump({1: 2})
