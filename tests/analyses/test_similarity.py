"""Depths against Hugging Face's hidden states; what is read from a file; what people read."""

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from architectures.common import ids, model
from fluoroscope.analyses.similarity import Similarity, similarity
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import geometry
from fluoroscope.render.text import number

OTHER = "And <i>it</i> was "


@pytest.fixture(scope="module")
def states(tiny_model, tiny_folder):
    """prompt -> the stream before each block, of the plain model."""
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    with torch.no_grad():
        return lambda prompt: [
            each[0].detach().double()
            for each in plain(tiny_model.tokens(prompt).ids, output_hidden_states=True).hidden_states[:-1]
        ]


def test_depths_are_those_of_hugging_face(tiny_model, states):
    result = similarity(tiny_model, tiny.PROMPT)
    assert result.sites == ("resid_pre.0", "resid_post.0", "resid_post.1")
    for a, x in enumerate(states(tiny.PROMPT)):
        for b, y in enumerate(states(tiny.PROMPT)):
            assert result.cka[a][b] == pytest.approx(geometry.linear_cka(x, y), abs=1e-4)
            cosine = (x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1))
            assert result.cosine[a][b] == pytest.approx(float(cosine.mean()), abs=1e-5)
    assert [result.cka[place][place] for place in range(3)] == pytest.approx([1, 1, 1])
    assert result.dimension == (None, None, None)
    assert result.distinct == (len(tiny.PROMPT),) * 3


def test_two_prompts_face_each_other_token_by_token(tiny_model, states):
    result = similarity(tiny_model, tiny.PROMPT, other=OTHER)
    assert result.between
    for a, x in enumerate(states(tiny.PROMPT)):
        for b, y in enumerate(states(OTHER)):
            assert result.cka[a][b] == pytest.approx(geometry.linear_cka(x, y), abs=1e-4)
            assert result.cosine[a][b] == pytest.approx(geometry.mean_cosine(x, y), abs=1e-5)
    best = max(range(3), key=lambda place: result.cka[place][place])
    assert f"most alike at {result.sites[best]} (CKA {number(result.cka[best][best])})" in result.summary()
    assert len(result.views()) == 2
    with pytest.raises(ArgumentError, match="18 and 3 tokens, so no token faces another"):
        similarity(tiny_model, tiny.PROMPT, other="abc")


def test_a_file_adds_its_tokens_up_to_a_limit(tiny_model, tmp_path):
    path = tmp_path / "text.txt"
    paragraphs = ["Some words, and more. " * 2, "Quite another line <b>?", "0123456789 " * 3]
    path.write_text("\n\n".join(paragraphs), encoding="utf8")
    result = similarity(tiny_model, tiny.PROMPT, text=str(path))
    traces = [tiny_model.trace(text, sites=["resid_post.1"])["resid_post.1"][0] for text in (tiny.PROMPT, *paragraphs)]
    values = torch.cat(traces)
    assert result.tokens == len(values)
    assert result.dimension[-1] == pytest.approx(geometry.two_nn(values)[0], rel=1e-3)
    assert result.distinct[-1] == geometry.two_nn(values)[1]
    assert similarity(tiny_model, tiny.PROMPT, text=str(path), tokens=50).tokens == 50
    assert similarity(tiny_model, tiny.PROMPT, text=str(path), tokens=10**6).cka == result.cka
    lines = result.views()[-1]
    assert lines.series[0].values == result.dimension
    assert "it fills from " in result.summary()
    assert Similarity.from_json(result.to_json()) == result


@pytest.mark.parametrize("case", ["gemma2", "mixtral", "phi", "gpt_neox"])
def test_other_families(case):
    result = similarity(model(case), ids(1))
    assert len(result.cka) == 4


def test_wrong_arguments_are_refused(tiny_model):
    with pytest.raises(ArgumentError, match="3 tokens cannot be compared"):
        similarity(tiny_model, "abc")
    with pytest.raises(ArgumentError, match="leave one out"):
        similarity(tiny_model, "abcd", other="abce", text="x.txt")
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        similarity(tiny_model, ["abcd", "efgh"])
    for tokens in (0, 5):
        with pytest.raises(ArgumentError, match=f"tokens={tokens}"):
            similarity(tiny_model, tiny.PROMPT, tokens=tokens)


def test_what_people_read(tiny_model):
    result = similarity(tiny_model, tiny.PROMPT)
    steps = [(result.cka[place][place + 1], result.sites[place + 1]) for place in range(2)]
    value, where = min(steps)
    assert result.summary() == (
        f"Over 18 tokens the stream changes most on its way to {where} (CKA {number(value)}); 18 distinct states are "
        "too few to tell how many dimensions it fills."
    )
    cka, cosine = result.views()
    assert cka.values == result.cka
    assert cosine.values == result.cosine
    assert [mark.label for mark in cka.rows] == ["emb", "L0", "L1"]
