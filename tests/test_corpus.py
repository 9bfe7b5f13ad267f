import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from fluoroscope import corpus
from fluoroscope.errors import ArgumentError


def test_a_paragraph_ends_at_a_blank_line(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\nOne.\nStill one.\n \t\nTwo.\n\n\nThree.", encoding="utf8")
    assert list(corpus.paragraphs(path)) == ["One.\nStill one.", "Two.", "Three."]


def test_rows_are_the_paragraphs_cut_to_the_context(tiny_model, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abcdefg\n\nh\n\nij\n\nklmno", encoding="utf8")
    found = corpus.load(tiny_model, path, 4)
    texts = ["".join(tiny.CHARACTERS[token] for token in row) for row in found.rows]
    assert texts == ["abcd", "efg", "ij", "klmn"]
    assert found.tokens == 13
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def test_every_paragraph_begins_as_a_prompt_does(tmp_path):
    import fluoroscope

    model = fluoroscope.load()
    path = tmp_path / "text.txt"
    path.write_text("The capital of France is Paris.\n\nMary has 3 apples.", encoding="utf8")
    rows = corpus.load(model, path, 64).rows
    assert rows == [model.tokens(text).ids[0].tolist() for text in corpus.paragraphs(path)]


@pytest.mark.parametrize("context", [0, 1, 65])
def test_a_context_that_is_none_is_refused(tiny_model, tmp_path, context):
    with pytest.raises(ArgumentError, match=f"context={context} is no length of a row. Give 2 to 64"):
        list(corpus.rows(tiny_model, tmp_path / "text.txt", context))


def test_no_file_no_text_and_no_words_are_refused(tiny_model, tmp_path):
    with pytest.raises(ArgumentError, match=r"as text: .*No such file"):
        corpus.load(tiny_model, tmp_path / "none.txt", 8)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match=r"Name a text file in UTF-8"):
        corpus.load(tiny_model, tmp_path / "binary", 8)
    (tmp_path / "blank.txt").write_text(" \n\n a\n")
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(ArgumentError, match="holds no text"):
        corpus.load(tiny_model, tmp_path / "empty.txt", 8)
    with pytest.raises(ArgumentError, match="1 row of tokens"):
        corpus.load(tiny_model, tmp_path / "blank.txt", 8).split()


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
