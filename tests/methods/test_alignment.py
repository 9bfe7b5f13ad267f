"""Tokens that face each other have read the same text, by what their prefixes decode to."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings

import tiny
from architectures.common import ids, model
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods import alignment
from fluoroscope.methods.alignment import Reading
from fluoroscope.tokens import decode
from tokenizer_kinds import TEXTS, tokenizer_of

PAIRS = [("bytes", "byte-bpe"), ("byte-fallback", "byte-bpe"), ("gpt2", "stories"), ("gpt2", "byte-fallback")]
every_pair = pytest.mark.parametrize("names", PAIRS, ids="-".join)


def reader(name):
    return SimpleNamespace(tokenizer=tokenizer_of(name), n_input=10**6)


def read(names, text):
    return [reader(name) for name in names], alignment.facing(*(reader(name) for name in names), text)


def prefixes(one, reading):
    """What each token has read, decoded; None in the middle of a character."""
    body = reading.ids[reading.lead :]
    whole = decode(body, one.tokenizer).lstrip()
    texts = [decode(body[: end + 1], one.tokenizer).lstrip() for end in range(len(body))]
    return [text if whole.startswith(text) and not text.endswith("\ufffd") else None for text in texts]


@every_pair
@settings(deadline=None, max_examples=25)
@given(text=TEXTS.filter(lambda text: "<" not in text and "\ufffd" not in text))
def test_tokens_face_each_other_where_both_have_read_the_same(names, text):
    try:
        models, pair = read(names, "a" + text)
    except ArgumentError:  # only TinyStories' and the fallback's tokenizers lose characters
        assert {"stories", "byte-fallback"} & set(names)
        return
    read_by = [prefixes(one, reading) for one, reading in zip(models, pair, strict=True)]
    assert len(pair[0].slots) == len(pair[1].slots)
    for a, b in zip(pair[0].slots, pair[1].slots, strict=True):
        assert read_by[0][a - pair[0].lead] == read_by[1][b - pair[1].lead] is not None
    assert [slots[-1] for slots in (pair[0].slots, pair[1].slots)] == [len(each.ids) - 1 for each in pair]
    both = {text for text in read_by[0] if text} & {text for text in read_by[1] if text}
    assert len(pair[0].slots) == len(both), "none is left out"


def test_by_hand():
    """GPT-2: Un|bel|iev|able|, indeed; TinyStories' 512 pieces end tokens inside these words, too."""
    models, (one, two) = read(("gpt2", "stories"), "The dog is 🎉 unbelievable")
    shown = [
        [decode(each.ids[each.lead : slot + 1], found.tokenizer).strip() for slot in each.slots]
        for found, each in zip(models, (one, two), strict=True)
    ]
    assert shown[0] == shown[1]
    assert shown[0][:4] == ["The", "The dog", "The dog is", "The dog is 🎉"]
    assert (one.lead, two.lead) == (0, 1)


def test_the_same_tokens_face_each_other_one_by_one(tiny_model):
    one, two = alignment.facing(tiny_model, tiny_model, tiny.PROMPT)
    assert one == two
    assert one.slots == tuple(range(len(tiny.PROMPT)))
    assert alignment.facing(model("gpt2"), model("llama"), ids(1))[0].slots == tuple(range(13))


def test_what_cannot_be_aligned_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match=r"'é' where the other reads '\.' \(character 1\)"):
        alignment.facing(reader("bytes"), tiny_model, "aé")
    with pytest.raises(ArgumentError, match="these ids are other tokens"):
        alignment.facing(tiny_model, model("gpt2"), [[3, 4, 5]])
    with pytest.raises(ArgumentError, match="2 prompts"):
        alignment.facing(tiny_model, tiny_model, ["a", "b"])
    with pytest.raises(TokenError, match="needs a tokenizer"):
        alignment.facing(tiny_model, model("gpt2"), "abc")


@every_pair
@pytest.mark.parametrize("rooms", [(9, 9), (30, 12), (64, 64)])
def test_pieces_are_the_whole_text_and_fit_both(names, rooms):
    text = "the cat 🎉 sat on the mat\nand the user said hello world to the model " * 3
    models, whole = read(names, text)
    pieces = list(alignment.cut(whole, rooms))
    for side, one in enumerate(models):
        readings = [piece[side] for piece in pieces]
        assert max(len(reading.ids) for reading in readings) <= rooms[side]
        assert all(reading.ids[: reading.lead] == whole[side].ids[: whole[side].lead] for reading in readings)
        body = [token for reading in readings for token in reading.ids[reading.lead :]]
        assert tuple(body) == whole[side].ids[whole[side].lead :]
        faced = [reading.ids[slot] for reading in readings for slot in reading.slots]
        assert faced == [whole[side].ids[slot] for slot in whole[side].slots]
        assert all(reading.slots[-1] == len(reading.ids) - 1 for reading in readings), one.tokenizer


def test_a_stretch_without_a_common_end_is_refused():
    one, two = Reading((1, 2, 3, 4), 0, (3,)), Reading((5, 6), 1, (1,))
    assert list(alignment.cut((one, two), (4, 2))) == [(one, two)]
    with pytest.raises(ArgumentError, match="no token together within 3"):
        list(alignment.cut((one, two), (3, 4)))


def test_a_limit_shortens_the_last_reading():
    pairs = [(Reading((9, 1, 2, 3), 1, (1, 3)), Reading((1, 2), 0, (0, 1)))] * 3
    assert alignment.limited(pairs, 6) == alignment.limited(pairs, 99) == pairs
    cut = alignment.limited(pairs, 3)
    assert cut == [pairs[0], (Reading((9, 1), 1, (1,)), Reading((1,), 0, (0,)))]
    assert alignment.limited(pairs, 2) == pairs[:1]


def test_a_file_is_read_paragraph_by_paragraph(tiny_model, tmp_path):
    path = tmp_path / "text"
    path.write_text("one two\n\n" + "word " * 30 + "\n\nfive", encoding="utf8")
    pairs = list(alignment.read(tiny_model, tiny_model, str(path)))
    texts = ["".join(tiny.CHARACTERS[token] for token in one.ids) for one, _ in pairs]
    assert texts == ["one two", ("word " * 30)[:64], ("word " * 30)[64:128], ("word " * 30)[128:], "five"]
    (tmp_path / "empty").write_text("\n \n", encoding="utf8")
    for name, why in (("none", "does not exist"), ("empty", "there is no text")):
        with pytest.raises(ArgumentError, match=why):
            list(alignment.read(tiny_model, tiny_model, str(tmp_path / name)))


def test_states_are_those_of_each_reading_alone(tiny_model):
    rows = [Reading(tuple(range(1, 4 + k % 5)), 0, (0, 2)) for k in range(20)]
    sites = [tiny_model.site(name) for name in ("resid_pre.0", "resid_post.1")]
    found = alignment.states(tiny_model, rows, sites)
    alone = [tiny_model.trace([list(row.ids)], sites=sites) for row in rows]
    expected = torch.cat([torch.stack([trace[site][0, [0, 2]] for site in sites]) for trace in alone], 1)
    torch.testing.assert_close(found, expected.double(), rtol=1e-4, atol=1e-4)
