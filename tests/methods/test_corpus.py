import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import corpus


def test_rows_are_the_passages_of_the_file(tiny_model, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcdefg\n\nh\n\nij\n\nklmno", encoding="utf8")
    found = corpus.load(tiny_model, str(path), 4)
    texts = ["".join(tiny.CHARACTERS[token] for token in row) for row in found.rows]
    assert texts == ["abcd", "efg", "h", "ij", "klmn", "o"]
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_one_passage_cannot_be_split():
    with pytest.raises(ArgumentError, match="is one passage"):
        corpus.Corpus([[1, 2]], "").split()


rows = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=9), min_size=2, max_size=40)


@given(rows)
def test_a_split_keeps_every_row_once(found):
    fitted, held = corpus.Corpus(found, "").split()
    assert sorted(fitted + held) == sorted(found)
    assert fitted
    assert len(held) == max(1, len(found) // 10)


@given(rows, st.integers(1, 30))
def test_batches_keep_order_and_bound(found, tokens):
    groups = list(corpus.batches(found, tokens))
    assert [row for group in groups for row in group] == found
    assert all(len(group) == 1 or max(map(len, group)) * len(group) <= tokens for group in groups)


@given(rows, st.integers(0, 3), st.integers(1, 7))
def test_each_round_of_the_walk_sees_every_row_once(found, seed, count):
    found = [[number, *row] for number, row in enumerate(found)]
    steps = -(-2 * len(found) // count)
    walk = [row for step in range(steps) for row in corpus.shuffled(found, seed, step, count)]
    assert sorted(walk[: len(found)]) == found
    assert sorted(walk[len(found) : 2 * len(found)]) == found
