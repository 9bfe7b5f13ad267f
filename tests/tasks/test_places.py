"""Places against the tokens that stand there."""

import pytest

import fluoroscope
from fluoroscope import tasks
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.tasks import places


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def test_roles_and_indices_are_the_tokens_of_each_pair(specimen):
    dataset = tasks.make("ioi", specimen, 6)
    tokens = [specimen.tokens(pair.clean) for pair in dataset]
    s2, end, second = places.named(dataset, tokens, ["S2", "-1", "1"])
    assert [s2.label, end.label, second.label] == ["S2", "the end", "token 1"]
    for pair, each, at_s2, at_end, at_second in zip(
        dataset, tokens, s2.positions, end.positions, second.positions, strict=True
    ):
        assert "".join(each.pieces[0][index] for index in at_s2) == pair.foil
        assert at_end == (len(each.rows[0]) - 1,)
        assert at_second == (1,)


def test_a_role_of_several_tokens_is_all_of_them(specimen):
    dataset = tasks.make("facts", specimen, 8, variant="landmark")
    tokens = [specimen.tokens(pair.clean) for pair in dataset]
    (subject,) = places.named(dataset, tokens, ["subject"])
    texts = ["".join(t.pieces[0][i] for i in where).strip() for t, where in zip(tokens, subject.positions, strict=True)]
    assert texts == [pair.clean[slice(*pair.spans["subject"])].strip() for pair in dataset]
    assert max(map(len, subject.positions)) > 1


def test_roles_are_those_that_all_pairs_have(specimen):
    mixed = tasks.Dataset("mixed", (tasks.make("ioi", specimen, 1).pairs[0], tasks.make("facts", specimen, 1).pairs[0]))
    assert places.roles(mixed) == []
    assert places.roles(tasks.make("ioi", specimen, 5, variant="swap-abba")) == ["IO", "S1", "place", "S2", "object"]
    assert places.everywhere(mixed).positions == (None, None)


@pytest.mark.parametrize(
    ("texts", "error", "why"),
    [
        (["S3"], ArgumentError, "S2"),
        (["40"], TokenError, "no token 40"),
        (["-1", "-1"], ArgumentError, "twice"),
        ([], ArgumentError, "no position"),
    ],
)
def test_refusals(specimen, texts, error, why):
    dataset = tasks.make("ioi", specimen, 2, variant="swap-abba")
    with pytest.raises(error, match=why):
        places.named(dataset, [specimen.tokens(pair.clean) for pair in dataset], texts)
