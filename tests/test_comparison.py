"""What differs between two results is said, value by value, and nothing else."""

import json

import pytest

import tiny
from fluoroscope import registry
from fluoroscope.comparison import Change, Comparison, Difference


def data(result):
    return json.loads(result.to_json())


@pytest.fixture(scope="module")
def found(tiny_model):
    return data(registry.run("logit_lens", tiny_model, prompt=tiny.PROMPT))


def test_what_is_the_same_differs_in_nothing(found):
    same = Comparison.of(found, json.loads(json.dumps(found)))
    assert (same.arguments, same.recipe, same.numbers, same.views()) == ((), (), (), [])
    assert same.summary() == "Asked alike; made alike. All numbers are the same."


def test_each_difference_is_told_with_its_place_and_its_largest_gap():
    recipe = {"model": "m", "versions": {"torch": "2.1", "numpy": "2"}, "seed": None}
    call = {"analysis": "heads", "arguments": {"prompt": "a", "k": 3}, "command": "one", "script": "one"}
    first = {
        "schema": 1, "result": "Heads", "summary": "one", "recipe": recipe, "call": call,
        "score": [[0.5, 0.25], [0.0, -1.0]], "top": [{"id": 7, "piece": "x"}], "rows": [1.0, 2.0], "note": None,
    }  # fmt: skip
    second = json.loads(json.dumps(first)) | {
        "summary": "two", "score": [[0.5, 0.5], [0.0, 1.5]], "top": [{"id": 9, "piece": "x"}], "rows": [1.0],
        "note": 0.5, "recipe": recipe | {"versions": {"torch": "2.2", "jax": "1"}},
        "call": call | {"arguments": {"prompt": "a", "k": 4}, "command": "two"},
    }  # fmt: skip
    told = Comparison.of(first, second)
    assert told.arguments == (Difference("k", 3, 4),)
    assert told.recipe == (
        Difference("version of torch", "2.1", "2.2"),
        Difference("version of numpy", "2", None),
        Difference("version of jax", None, "1"),
    )
    assert told.numbers == (
        Change("score", 4, 2, 0, 2.5, "score[1][1]", -1.0, 1.5),
        Change("top.id", 1, 1, 0, None, "top[0].id", 7, 9),
        Change("rows", 1, 0, 1, None, "rows[1]", 2.0, None),
        Change("note", 1, 1, 0, None, "note", None, 0.5),
    )
    assert told.summary() == (
        "Asked otherwise (k); made otherwise (version of torch, version of numpy, version of jax). "
        "Found otherwise: score (at most by 2.500), top.id, rows, note."
    )
    asked, numbers = told.views(("aa", "bb"))
    assert asked.rows[0].cells == ("k", "3", "4")
    assert [column.name for column in numbers.columns] == ["value", "differ", "at most by", "there", "aa", "bb"]
    assert [row.cells[:4] for row in numbers.rows] == [
        ("score", "2 of 4", 2.5, "[1][1]"), ("top.id", "1 of 1", None, "[0]"),
        ("rows", "0 of 1, 1 in one only", None, "[1]"), ("note", "1 of 1", None, ""),
    ]  # fmt: skip


def test_results_of_two_kinds_are_compared_in_what_they_share(found, tiny_model):
    other = Comparison.of(found, data(registry.run("next_token", tiny_model, prompt=tiny.PROMPT)))
    assert other.arguments[0] == Difference("analysis", "logit_lens", "next_token")
    assert other.numbers == ()
    assert "of two kinds, LogitLens and NextToken, and not compared" in other.summary()


def test_a_result_whose_function_was_called_directly_was_asked_nothing(found):
    assert Comparison.of(found | {"call": None}, found).arguments[0] == Difference("analysis", None, "logit_lens")
