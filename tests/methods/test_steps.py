"""Steps of a text: cases by hand, and what must hold for any text, any tokens and any separator."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.steps import borders, split


def parts(text, separator=None):
    """The texts of the steps, every character being a token."""
    return [text[step.start : step.end].strip() for step in split(list(text), separator)]


@pytest.mark.parametrize(
    "steps",
    [
        ["he eats 1.", "then 2 remain!", "3 is odd."],
        ["Pi is 3.14, or 22/7.", "It is 3.5 cm wide, e.g. here.", "Done"],
        ['"Good?" he asked.', '"Stop."', "'Go.'", "He went."],
        ["Tell me about P...", "Then if Q is... the P must be..."],
        ["How many?", "5.", "The answer is B.", "Therefore no."],
        ["Mr. Smith and J. R. Tolkien met Dr. Who, see Fig. 3.", "No.", "He left at 5 p.m. sharp, etc.", "Then"],
        ["1. Add 3 and 4.", "2. Double it.", "3) Stop."],
        ["First:", "1) add 3,", "2) double;", "3) stop"],
        ["Step 1: add 3.", "Step 2: double", "Step 3: go"],
        ["Step 1. Add 3.", "Step 2. As in step 1, double."],
        ["The sum 1 + 1 = 2.", "2 is even (really).", "7 is not."],
        ["今天。", "明天！", "后天"],
        ["If John has 3 apples..."],
        ["version 2.0.1 of example.com"],
    ],
)
@pytest.mark.parametrize("space", [" ", "  ", "\n", " \n\n "])
def test_cases_by_hand(steps, space):
    assert parts(space.join(steps)) == steps


def test_every_line_is_a_step_even_within_a_sentence():
    assert parts("John has\n3 apples\n\n  - and Mr.\nSmith") == ["John has", "3 apples", "- and Mr.", "Smith"]


def test_a_step_begins_with_ink_and_keeps_the_space_behind_it():
    text = " \n It is so. \n\n 2 + 2 = 4. "
    assert [text[step.start : step.end] for step in split(list(text))] == [" \n It is so. \n\n ", "2 + 2 = 4. "]


def test_an_own_separator_ends_its_step_and_replaces_the_rule():
    assert parts("a. B###c\n### d###e###", "###") == ["a. B###", "c\n###", "d###", "e###"]
    assert parts("###a######b", "###") == ["###a######", "b"]
    assert parts("a+b.c", ".") == ["a+b.", "c"], "a separator is no pattern"


@pytest.mark.parametrize("separator", ["", "#", "\\n"])
def test_a_separator_that_separates_nothing_is_refused(separator):
    with pytest.raises(ArgumentError, match="separates nothing"):
        split(list("a. b"), separator)


@pytest.mark.parametrize("starts", [[2, 5], [0, 2, 5]])
def test_own_starts_replace_the_rule(starts):
    found = split(list("<s>a. B. c"), lead=3, starts=starts)
    assert [(step.start, step.end, step.first, step.last) for step in found] == [
        (0, 2, 3, 5), (2, 5, 5, 8), (5, 7, 8, 10),
    ]  # fmt: skip


@pytest.mark.parametrize("starts", [[], [3, 2], [2, 2], [-1], [4]])
def test_starts_that_do_not_cut_the_text_are_refused(starts):
    with pytest.raises(ArgumentError, match="4 characters"):
        split(list("a. b"), starts=starts)


def test_starts_and_a_separator_are_one_too_many():
    with pytest.raises(ArgumentError, match="one of both"):
        split(list("a. b"), ".", starts=[2])


def test_a_token_across_a_border_belongs_to_where_it_ends():
    pieces = ["<s>", "It", " is", ".", " Then", " no", ".\n", "Yes"]
    assert [pieces[step.tokens] for step in split(pieces, lead=1)] == [
        ["It", " is", "."], [" Then", " no", ".\n"], ["Yes"],
    ]  # fmt: skip
    assert [(step.start, step.end) for step in split(pieces, lead=1)] == [(0, 7), (7, 16), (16, 19)]


def test_a_step_without_a_token_of_its_own_joins_the_next():
    assert [(step.start, step.end, step.first, step.last) for step in split(["a. ", "B. C. D", "!"])] == [
        (0, 3, 0, 1), (3, 11, 1, 3),
    ]  # fmt: skip


LIKELY = st.text(alphabet='aB1. \n?")Step:2é。#,', max_size=60)
pieces_of = st.lists(st.one_of(st.text(max_size=4), LIKELY), min_size=1, max_size=12)


@given(pieces_of, st.one_of(st.none(), st.sampled_from([".", "##", " "])), st.integers(0, 2))
def test_every_character_and_every_token_is_in_exactly_one_step(pieces, separator, lead):
    lead = min(lead, len(pieces) - 1)
    text = "".join(pieces[lead:])
    if separator is not None and separator not in text:
        return
    found = split(pieces, separator, lead)
    assert [char for step in found for char in range(step.start, step.end)] == list(range(len(text)))
    assert [token for step in found for token in range(step.first, step.last)] == list(range(lead, len(pieces)))
    assert all(step.first < step.last for step in found)
    limits = {0, *borders(text, separator), len(text)}
    assert {step.start for step in found} | {step.end for step in found} <= limits


@given(st.one_of(st.text(max_size=80), LIKELY))
def test_the_rule_cuts_in_order_and_never_leaves_a_blank_step(text):
    found = borders(text)
    assert found == sorted(set(found))
    steps = [text[start:end] for start, end in zip([0, *found], [*found, len(text)], strict=True)]
    assert "".join(steps) == text
    assert len(steps) == 1 or all(step.strip() for step in steps)
    assert all(text[start - 1].isspace() or not text[start].isspace() for start in found)


@given(st.floats(min_value=-1e6, max_value=1e6), st.sampled_from(["{} is it", "it is {} now", "it is {}"]))
def test_no_number_is_ever_cut(number, form):
    assert borders(form.format(number)) == []
