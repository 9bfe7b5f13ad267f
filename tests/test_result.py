import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from fluoroscope import registry
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.render.text import prose
from fluoroscope.result import SCHEMA, SUFFIXES, Recipe, Record, Result, number
from render.samples import HOSTILE, every_view

RECIPE = Recipe(
    model="m",
    weights="abc",
    tokenizer=None,
    dtype="float32",
    device="cpu",
    attention="sdpa",
    versions={"torch": "2"},
    seed=3,
    edits=("zero z.1.2",),
    tokens=((1, 2),),
)


class Part(Record):
    name: str
    value: float | None


class HeadCount(Result):
    count: int
    share: float
    parts: tuple[Part, ...] = ()
    by_layer: dict[int, float] = Field(default_factory=dict)

    def summary(self) -> str:
        return f"{self.count} heads {HOSTILE}"

    def views(self):
        return every_view()


class OtherCount(HeadCount):
    pass


def result(**fields):
    return HeadCount(**({"recipe": RECIPE, "count": 12, "share": 0.1} | fields))


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    count=st.integers(),
    share=FINITE,
    parts=st.lists(st.tuples(st.text(), st.none() | FINITE)),
    by_layer=st.dictionaries(st.integers(), FINITE),
)
def test_json_brings_back_the_same_result(count, share, parts, by_layer):
    made = result(count=count, share=share, parts=tuple(Part(name=n, value=v) for n, v in parts), by_layer=by_layer)
    back = HeadCount.from_json(made.to_json())
    assert back == made
    assert type(back.count) is int


def test_a_prompt_of_python_shows_one_line(tiny_model):
    made = result(parts=tuple(Part(name="x" * 50, value=0.0) for _ in range(100)))
    assert repr(made) == str(made) == f"{made}" == f"HeadCount: {prose(made.summary())}"
    assert repr(made).isprintable()
    assert repr(OtherCount(recipe=RECIPE, count=1, share=0.5)).startswith("OtherCount: 1 heads")
    found = registry.run("explain", tiny_model, prompt="abc")
    assert repr(found) == f"Explanation: {prose(found.summary())}"
    assert len(repr(found)) < 400
    assert "value=0.0" in repr(made.parts[0])  # a part is a value, and shows itself


def test_json_is_strict_and_says_what_it_is():
    data = json.loads(result().to_json(), parse_constant=pytest.fail)
    assert (data["schema"], data["result"], data["summary"]) == (SCHEMA, "HeadCount", result().summary())
    assert data["count"] == 12
    assert data["recipe"]["tokens"] == [[1, 2]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused_or_missing_but_never_zero(value):
    with pytest.raises(ValidationError, match="finite"):
        result(share=value)
    assert number(value) is None
    assert number(0.5) == 0.5


def test_results_are_frozen_and_know_all_their_fields():
    with pytest.raises(ValidationError, match="frozen"):
        result().count = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        result(cuont=3)


def damaged(**changes):
    return json.dumps(json.loads(result().to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (result().to_json()[:-30], "no JSON"),
        ("[1, 2]", "found 'list'"),
        (damaged(schema=2), "schema version 2"),
        (damaged(count="many"), "damaged"),
        (damaged(extra=1), "damaged"),
        (damaged(share=None), "damaged"),
        (result().to_json().replace("0.1", "NaN"), "it holds NaN"),
        (OtherCount(recipe=RECIPE, count=1, share=1).to_json(), "expected the JSON of HeadCount, found 'OtherCount'"),
    ],
)
def test_damaged_and_foreign_json_is_refused(text, message):
    with pytest.raises(ArtifactError, match=message):
        HeadCount.from_json(text)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_decides_what_is_saved(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(HeadCount, "views", lambda self: [view for view in every_view() if view.kind == "graph"])
    path = result().save(tmp_path / f"r{suffix.upper()}")
    data = Path(path).read_bytes()
    starts = {".json": b"{", ".md": b"# Head count", ".html": b"<!DOCTYPE", ".png": b"\x89PNG", ".svg": b"<?xml"}
    starts |= {".dot": b"digraph ", ".graphml": b"<?xml "}
    assert data.startswith(starts[suffix])


def test_a_result_without_a_graph_is_no_dot_file(tmp_path):
    class Plain(HeadCount):
        def views(self):
            return every_view()[:1]

    with pytest.raises(ArgumentError, match="Plain draws no graph"):
        Plain(recipe=RECIPE, count=1, share=1.0).save(tmp_path / "r.dot")
    assert list(tmp_path.iterdir()) == []


def test_another_suffix_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ArgumentError, match=r"Known suffixes: \.json, \.md, \.html, \.png, \.svg"):
        result().save(tmp_path / "r.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_a_fragment_without_scripts():
    shown = result()._repr_html_()
    assert "<script" not in shown
    assert "Head count" in shown
    assert "&lt;script&gt;" in shown


def test_a_notebook_is_offered_html_markdown_and_the_sentence():
    offered = result()._repr_mimebundle_(include=None, exclude=None)
    assert offered["text/html"] == result()._repr_html_()
    assert offered["text/markdown"] == result().to_markdown()
    assert offered["text/plain"] == f"Head count: {prose(result().summary())}"


def test_a_base_result_has_no_answer():
    with pytest.raises(NotImplementedError, match="Result does not define summary"):
        Result(recipe=RECIPE).summary()
    with pytest.raises(NotImplementedError, match="Result does not define views"):
        Result(recipe=RECIPE).views()


def test_titles_are_words():
    assert HeadCount.title() == "Head count"
