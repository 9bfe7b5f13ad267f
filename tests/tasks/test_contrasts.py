"""Texts in two sides: each kind of file gives the same, and what is broken is refused by its line."""

import json

import pytest

from fluoroscope import load
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.methods import directions
from fluoroscope.methods.contrast import Contrast
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts

PAIRS = [("It was good.\nYes", "It was bad.\nYes"), ("Fine", "Awful")]
CAA = [
    {"question": "Q", "answer_matching_behavior": " (A)", "answer_not_matching_behavior": " (B)"},
    {"question": "R", "answer_matching_behavior": " (B)", "answer_not_matching_behavior": " (A)"},
]
FILES = {
    "a.txt": "It was good.\\nYes\tIt was bad.\\nYes\n\nFine\tAwful\n",
    "b.csv": 'positive,negative\n"It was good.\nYes","It was bad.\nYes"\nFine,Awful\n',
    "c.json": json.dumps([{"positive": a, "negative": b} for a, b in PAIRS]),
    "d.jsonl": "\n".join(json.dumps({"text": t, "label": 1 - n}) for pair in PAIRS for n, t in enumerate(pair)),
    "e.tsv": "text\tlabel\nFine\ttrue\nAwful\tfalse\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_gives_the_same_sides(name, tmp_path):
    path = tmp_path / name
    path.write_text(FILES[name], encoding="utf8")
    found = contrasts.read(path)
    pairs = PAIRS if name != "e.tsv" else PAIRS[1:]
    assert found == directions.sides(*zip(*pairs, strict=True), name=name)


def test_pairs_of_contrastive_activation_addition_begin_alike(tmp_path):
    path = tmp_path / "caa.json"
    path.write_text(json.dumps(CAA), encoding="utf8")
    assert contrasts.read(path) == directions.Sides(("Q (A)", "R (B)"), ("Q (B)", "R (A)"), "caa.json")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "good\tbad\nalone\n", "line 2: no pair"),
        ("b.csv", "text,label\nFine,7\n", "line 2: no pair and no text with a label"),
        ("c.jsonl", '{"text": "Fine", "label": 1}\n', "texts on one side alone"),
        ("d.pkl", "x", "no file of prompt pairs"),
        ("e.txt", "", "texts on one side alone"),
    ],
)
def test_a_broken_file_is_refused_by_its_line(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text, encoding="utf8")
    with pytest.raises(ArtifactError, match=message):
        contrasts.read(path)


def test_texts_are_named_in_one_way_only(tmp_path):
    assert contrasts.texts(None, None).name == "sentiment"
    assert contrasts.texts(None, None, default="refusal").name == "refusal"
    assert contrasts.texts(positive=["a"], negative=["b"]).texts == directions.Sides(("a",), ("b",))
    for given in ({"name": "refusal", "positive": ["a"]}, {"pairs": "x.txt", "negative": ["a"]}):
        with pytest.raises(ArgumentError, match="all name texts"):
            contrasts.texts(**given)
    with pytest.raises(ArgumentError, match="both sides"):
        contrasts.texts(positive=["a"])
    with pytest.raises(ArtifactError, match="there is no file"):
        contrasts.texts(pairs=str(tmp_path / "none.txt"))


def test_a_kept_direction_stands_for_its_texts(tiny_model, tmp_path):
    made = directions.direction(tiny_model, ["good"], ["bad"], Site("resid_post", 1))
    path = str(made.save(tmp_path / "own.safetensors"))
    source = contrasts.source(tiny_model, vector=path)
    assert [each.site for each in source.directions(tiny_model, [Site("resid_post", 0)], "mean", "last")] == [made.site]
    with pytest.raises(ArgumentError, match="both name a direction"):
        contrasts.source(tiny_model, "refusal", vector=path)


def test_an_embedded_set_brings_its_words_where_they_are_tokens(tiny_model):
    specimen = load()
    about = contrasts.texts("refusal").about(specimen, None, None)
    assert about == Contrast((specimen.single_token(" I"),), (specimen.single_token(" Sure"),))
    assert contrasts.texts("refusal").about(specimen, " sad", None).foil == ()
    assert contrasts.texts("sentiment").about(tiny_model, None, None) == Contrast()
    for held in contrasts.EMBEDDED.values():
        assert len(held.sides.positive) == len(held.sides.negative) >= 20
        assert not set(held.sides.positive) & set(held.sides.negative)
