"""Reading calculations: what people write, what only looks like one; Python's own arithmetic as the second opinion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.arithmetic import SIDES, calculate, leading_number, locate, others, parse

PYTHON = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
WORDS = {"+": ("+", "plus"), "-": ("-", "−", "–", "minus"), "*": ("*", "×", "x", "X", "times", "multiplied by")}
FORMS = ("{a} {o} {b} =", "What is {a} {o} {b}?", "Q: {a} {o} {b}\nA:", "1 + 1 = 2. {a} {o} {b} is", "({a} {o} {b})")


@given(
    st.integers(-99999, 99999),
    st.integers(-99999, 99999),
    st.sampled_from([(sign, word) for sign, words in WORDS.items() for word in words]),
    st.sampled_from(FORMS),
    st.booleans(),
)
def test_what_is_written_is_read(a, b, operator, form, thousands):
    sign, word = operator
    first, second = (f"{n:,}" if thousands else str(n) for n in (a, b))
    text = form.format(a=first, o=word, b=second)
    found = parse(text)
    assert (found.left.value, found.operator, found.right.value) == (a, sign, b)
    assert found.result == PYTHON[sign](a, b)
    assert text[found.left.start : found.left.end] == first
    assert text[found.right.start : found.right.end] == second


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("67-28=", "67 − 28"),
        ("7x8=", "7 × 8"),
        ("3 -5", "3 − 5"),
        ("3 - -5", "3 − -5"),
        ("2022-2023 =", "2022 − 2023"),
        ("In 2022-2023 and on 12/05, 5 + 6 =", "5 + 6"),
        ("- 3 + 4 =", "3 + 4"),
        ("007 + 1", "7 + 1"),
        ("3 + 4.", "3 + 4"),
        ("GPT-2 says 3 + 4 =", "3 + 4"),
    ],
)
def test_forms(text, read):
    assert str(parse(text)) == read


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3-4 and 2022-2023", "no calculation"),
        ("from 2022–2023", "no calculation"),
        ("on 2022-01-15", "no calculation"),
        ("555-1234-567", "no calculation"),
        ("covid-19", "no calculation"),
        ("a - b", "no calculation"),
        ("- 3 apples", "no calculation"),
        ("x2 + 3", "no calculation"),
        ("GPT-2 + 3", "no calculation"),
        ("12:30 - 13:45", "no calculation"),
        ("1,23 + 4", "no calculation"),
        ("9 apples + 3 apples", "no calculation"),
        ("", "no calculation"),
        ("__import__('os') + 1", "no calculation"),
        ("2 + 3 + 4 =", "not just two whole numbers"),
        ("2 ** 10 =", "not just two"),
        ("8 / 2 =", "not just two"),
        ("8 divided by 2 is", "not just two"),
        ("2.5 + 3 =", "not just two"),
        ("5% + 3% =", "not just two"),
        ("(2 + 3) * 4 =", "not just two"),
        ("4 * (2 + 3) =", "not just two"),
        ("2 + 3 + x =", "not just two"),
        ("3 + 4 = 7", "stands in the text already"),
        ("3 + 4 is 7, is it not?", "stands in the text already"),
    ],
)
def test_what_is_no_calculation_is_refused(text, why):
    with pytest.raises(ArgumentError, match=why):
        parse(text)


@given(st.text("0123456789+-−x* =.,()/", max_size=20))
def test_any_text_is_read_rightly_or_refused(text):
    try:
        found = parse(text)
    except ArgumentError:
        return
    for operand in (found.left, found.right):
        written = text[operand.start : operand.end].replace(",", "").replace("−", "-")
        assert int(written) == operand.value
    between = text[found.left.end : found.right.start].strip()
    assert between in WORDS[found.operator]


def test_a_word_problem_is_read_where_its_numbers_stand_last():
    text = "On day 3 John has 3 apples. He buys 2 more. How many?"
    found = locate(text, "3 + 2")
    assert (found.left.start, found.right.start, found.result) == (text.rindex("3"), text.index("2"), 5)
    twice = locate("3 and then 3", "3 + 3")
    assert {twice.left.start, twice.right.start} == {0, 11}
    with pytest.raises(ArgumentError, match="does not hold the number 4"):
        locate(text, "4 + 2")
    with pytest.raises(ArgumentError, match="no calculation"):
        locate(text, "apples")


@pytest.mark.parametrize("text", ["23 + 45 =", "1,234 - 17 =", "What is −3 times 12?", "7 x 8 =", "0 + 5 ="])
@pytest.mark.parametrize("side", SIDES)
def test_other_numbers_keep_the_form_of_the_text(text, side):
    asked = parse(text)
    drawn = list(others(asked, side, seed=3))
    assert drawn
    assert len({each.operand(side).value for each in drawn}) == len(drawn)
    for other in drawn:
        assert len(other.text) == len(text)
        assert parse(other.text) == other
        old, new = asked.operand(side), other.operand(side)
        assert other.text[: old.start] == text[: old.start]
        assert other.text[old.end :] == text[old.end :]
        assert new.value != old.value
        assert other.result != asked.result
        assert len(str(other.result)) == len(str(asked.result))
    assert [each.text for each in others(asked, side, seed=3)] == [each.text for each in drawn]
    if len(drawn) > 5:
        assert [each.text for each in others(asked, side, seed=4)] != [each.text for each in drawn]


def test_a_factor_of_nothing_has_no_other():
    assert list(others(parse("5 x 0 ="), "left", seed=0)) == []
    assert [each.text for each in others(parse("5 x 0 ="), "right", seed=0)] == ["5 x 1 ="]


def test_many_digits_are_drawn_from_not_listed():
    drawn = list(others(parse("123456789012345 + 1 ="), "left", seed=0))
    assert 0 < len(drawn) <= 400


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (" 68.", 68), ("68", 68), ("\n -5 apples", -5), ("−5", -5), (" 1,234,", 1234), ("12,5", 12), (" 6.5", None),
        ("The answer is 68", None), ("", None), ("x68", None),
    ],
)  # fmt: skip
def test_what_a_continuation_begins_with(text, number):
    assert leading_number(text) == number


@given(st.integers(), st.integers(), st.sampled_from("+-*"))
def test_python_agrees(a, b, operator):
    assert calculate(a, operator, b) == PYTHON[operator](a, b)
