"""Passages against the file itself: nothing lost, nothing twice, every paragraph by itself."""

import pytest
import torch

import tiny
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods import passages

TEXT = "one two\nthree\n\n \t\n\nfour " + "word " * 40 + "\n\nfive"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf8")
    return str(path)


def test_blank_lines_separate_paragraphs_which_know_their_line(file):
    found = list(passages.paragraphs(file))
    assert [(line, text) for line, text, _ in found] == [
        (1, "one two\nthree"), (6, "four " + "word " * 40), (8, "five"),
    ]  # fmt: skip
    assert found[-1][2] == len(TEXT)


def test_every_token_is_in_one_passage(tiny_model, file):
    found = list(passages.passages(tiny_model, file, context=9))
    assert max(len(passage.ids) for passage in found) == 9
    assert [passage.index for passage in found] == list(range(len(found)))
    by_line = {}
    for passage in found:
        assert passage.start == len(by_line.setdefault(passage.line, []))
        by_line[passage.line] += passage.ids[passage.lead :]
    for line, text, _ in passages.paragraphs(file):
        assert "".join(tiny.CHARACTERS[number] for number in by_line[line]) == text


def test_each_passage_begins_as_every_text_does(tiny_model, file, monkeypatch):
    def with_start(text, tokenizer, *, bos=None):
        ids = [tiny.CHARACTERS.index(char) for char in text]
        return ids if bos is False else [7, *ids]

    monkeypatch.setattr(passages, "encode", with_start)
    monkeypatch.setattr(passages, "lead", lambda tokenizer: [7])
    found = list(passages.passages(tiny_model, file, context=9))
    assert {passage.ids[0] for passage in found} == {7}
    assert {passage.lead for passage in found} == {1}
    assert sum(len(passage.ids) - 1 for passage in found) == sum(len(text) for _, text, _ in passages.paragraphs(file))
    batch = [found[0], found[-1]]
    tokens = tiny_model.tokens([list(passage.ids) for passage in batch])
    mask = passages.counted(batch, tokens)
    assert mask.sum(1).tolist() == [len(passage.ids) - 1 for passage in batch]
    assert not mask[:, 0].any()
    with pytest.raises(ArgumentError, match="no token behind the 1"):
        list(passages.passages(tiny_model, file, context=1))


@pytest.mark.parametrize("at_once", [1, 20, 300, None])
def test_batches_hold_every_passage_once_and_stay_within_their_budget(tiny_model, file, at_once):
    found = list(passages.passages(tiny_model, file, context=9))
    batches = list(passages.batches(found, at_once))
    assert sorted((p for batch in batches for p in batch), key=lambda p: p.index) == found
    for batch in batches:
        assert len(batch) == 1 or max(len(p.ids) for p in batch) * len(batch) <= (at_once or 4096)


@pytest.mark.parametrize(("data", "lines"), [(b"\xef\xbb\xbfa\r\n\r\nb\r\n", ["a", "b"]), (b"\n\na", ["a"])])
def test_marks_and_line_ends_of_other_systems_are_no_text(tmp_path, data, lines):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    assert [text for _, text, _ in passages.paragraphs(str(path))] == lines


def test_what_is_no_text_is_refused(tiny_model, tmp_path, file):
    with pytest.raises(ArgumentError, match="does not exist"):
        list(passages.passages(tiny_model, str(tmp_path / "none")))
    with pytest.raises(ArgumentError, match="is a folder"):
        list(passages.passages(tiny_model, str(tmp_path)))
    for data, why in ((b" \n\n", "there is no text"), (b"a\n\xff\xfe", "line 2 of .* is no UTF-8")):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(ArgumentError, match=why):
            list(passages.passages(tiny_model, str(tmp_path / "bad")))
    with pytest.raises(ArgumentError, match="context=0"):
        list(passages.passages(tiny_model, file, context=0))
    with pytest.raises(TokenError, match="beyond the 64 tokens"):
        list(passages.passages(tiny_model, file, context=65))


def test_values_are_those_of_each_passage_alone(tiny_model, tmp_path):
    (tmp_path / "short").write_text("one two\n\nfour words, no more\n\nfive", encoding="utf8")
    path, sites = str(tmp_path / "short"), [tiny_model.site(name) for name in ("resid_pre.0", "resid_post.1")]
    found = passages.values(tiny_model, path, sites, 1000)
    alone = [
        torch.stack([tiny_model.trace(text, sites=sites)[site][0] for site in sites])
        for _, text, _ in passages.paragraphs(path)
    ]
    by_length = torch.cat(sorted(alone, key=lambda each: -each.shape[1]), 1)
    torch.testing.assert_close(found, by_length.double(), rtol=1e-4, atol=1e-4)
    assert torch.equal(passages.values(tiny_model, path, sites, 5), found[:, :5])
