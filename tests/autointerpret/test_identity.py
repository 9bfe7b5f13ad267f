"""The same experiment is recognised under another name, layout or comment; another one never passes for it."""

from functools import partial

import pytest
import torch

from fluoroscope.autointerpret import identity
from fluoroscope.errors import ArgumentError

SOURCE = '"""What."""\nNAME = "one"\n\ndef run(model, prompts, *, k=1):\n    return {"k": k}\n'
WORD = "one"


def helper(number):
    return number + 1


def test_a_source_counts_by_what_it_does():
    same = identity.of_source(SOURCE, "e.py")
    for other in (
        SOURCE.replace('"one"', '"two"'),
        SOURCE.replace("What.", "Something else."),
        SOURCE.replace("    return", "    # why\n    return"),
        SOURCE.replace("return {", "return {\n        "),
        SOURCE + "\ndef propose(history):\n    return None\n",
        SOURCE.replace("k=1):\n", 'k=1):\n    """One."""\n'),
    ):
        assert identity.of_source(other, "e.py") == same
    for other in (SOURCE.replace("k=1", "k=2"), SOURCE.replace('"k": k', '"k": k + 1'), SOURCE + "X = 1\n"):
        assert identity.of_source(other, "e.py") != same
    with pytest.raises(ArgumentError, match=r"e\.py cannot be read as Python.*line 1"):
        identity.of_source("def", "e.py")


def test_a_function_counts_by_its_code_and_what_it_is_given(tiny_model, monkeypatch):
    def made(number, vector):
        return lambda: helper(number) * vector.sum() + len(WORD)

    one = identity.of_function(made(1, torch.ones(3)))
    assert identity.of_function(made(1, torch.ones(3))) == one
    assert identity.of_function(made(2, torch.ones(3))) != one
    assert identity.of_function(made(1, torch.ones(3) * 2)) != one
    assert identity.of_function(made(1, torch.ones(4))) != one
    assert identity.of_function(lambda: helper(1)) == identity.of_function(lambda: helper(1))
    assert identity.of_function(partial(helper, 1)) != identity.of_function(partial(helper, 2))
    assert identity.of_function(lambda: tiny_model) == identity.of_function(lambda: tiny_model)
    monkeypatch.setitem(globals(), "WORD", "another")
    assert identity.of_function(made(1, torch.ones(3))) != one
    monkeypatch.setitem(globals(), "WORD", "one")
    monkeypatch.setitem(globals(), "helper", lambda number: number - 1)
    assert identity.of_function(made(1, torch.ones(3))) != one


def test_what_cannot_be_compared_is_never_the_same():
    class Thing:
        pass

    held = [Thing(), Thing()]
    assert identity.of_value(held[0]) != identity.of_value(held[1])
    assert identity.of_value({"a": 1, "b": {2, 3}}) == identity.of_value({"b": {3, 2}, "a": 1})
    loop = []
    loop.append(loop)
    assert identity.of_value(loop) == identity.of_value(loop)
