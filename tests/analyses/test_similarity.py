"""Depths against Hugging Face's hidden states; what is read from a file; what people read."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import tiny
from architectures.common import ids, model
from fluoroscope import specimen
from fluoroscope.analyses.similarity import Similarity, similarity
from fluoroscope.errors import ArgumentError, LoadError
from fluoroscope.loading import load
from fluoroscope.methods import geometry
from fluoroscope.render.text import number
from shared import SHARED

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
    assert result.against == "prompt"
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


@pytest.fixture(scope="module")
def llamas(tiny_folder, tmp_path_factory):
    """Two folders: a Llama in float64 and the same function in turned coordinates."""
    config = LlamaConfig(
        vocab_size=len(tiny.CHARACTERS) + 3, hidden_size=24, intermediate_size=40, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    hf = LlamaForCausalLM(config).double().eval()
    turn = torch.linalg.qr(torch.randn(24, 24, dtype=torch.float64)).Q
    folders = [str(tmp_path_factory.mktemp(name, numbered=False)) for name in ("plain", "turned")]
    with torch.no_grad():
        for parameter in hf.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
        hf.save_pretrained(folders[0])
        for name, parameter in hf.named_parameters():
            if parameter.ndim > 1:
                outward = any(part in name for part in ("o_proj", "down_proj"))
                parameter.copy_(turn.T @ parameter if outward else parameter @ turn)
        hf.save_pretrained(folders[1])
    for folder in folders:
        AutoTokenizer.from_pretrained(tiny_folder).save_pretrained(folder)
    return folders


def test_a_model_is_like_itself_and_like_its_turned_copy(llamas):
    plain, turned = llamas
    found = load(plain)
    alone = similarity(found, tiny.PROMPT)
    itself, copy = (similarity(found, tiny.PROMPT, other_model=folder) for folder in (plain, turned))
    assert (itself.against, itself.tokens, itself.other_model.read) == ("model", 18, (18, 18))
    assert itself.other_model.sites == itself.sites == alone.sites
    for result in (itself, copy):
        assert [result.cka[place][place] for place in range(4)] == pytest.approx([1] * 4, abs=1e-5)
        for row, expected in zip(result.cka, alone.cka, strict=True):
            assert row == pytest.approx(expected, abs=1e-5)
        assert result.best() == [(place, pytest.approx(1, abs=1e-5)) for place in range(4)]
    assert [itself.cosine[place][place] for place in range(4)] == pytest.approx([1] * 4)
    assert max(abs(copy.cosine[place][place]) for place in range(4)) < 0.7, "coordinates are turned, geometry is not"
    assert "the other plain" in itself.summary()
    assert "plain at resid_" in copy.summary()
    assert "turned at resid_" in copy.summary()


def test_models_of_different_widths_have_no_cosine(tiny_model, tiny_folder, llamas):
    narrow = similarity(tiny_model, tiny.PROMPT, other_model=llamas[0])
    assert narrow.cosine is not None, "both have 24"
    first, second = (load(name) for name in specimen.NAMES)
    prompt = "When Mary and John went to the store, John gave a drink to"
    result = similarity(first, prompt, other_model=specimen.NAMES[1])
    assert result.cosine is None
    assert "different widths, so there is no cosine" in result.views()[0].caption
    for x, row in zip((f"resid_post.{k}" for k in range(first.n_layers)), result.cka[1:], strict=True):
        for y, value in zip((f"resid_post.{k}" for k in range(second.n_layers)), row[1:], strict=True):
            a, b = (one.trace(prompt, sites=[site])[site][0].double() for one, site in ((first, x), (second, y)))
            assert value == pytest.approx(geometry.linear_cka(a, b), abs=1e-4)
    assert len(result.other_model.sites) == second.n_layers + 1
    assert result.other_model.recipe.model == specimen.NAMES[1]
    assert Similarity.from_json(result.to_json()) == result


@pytest.mark.skipif(not (SHARED / "models" / "stories260k").is_dir(), reason="stories260k is not there")
def test_other_tokenizers_face_each_other_where_both_end_a_token(tmp_path):
    """Which tokens: by the offsets of the tokenizers' own library. Their states: by Hugging Face's models."""
    folders = [str(specimen.folder()), str(SHARED / "models" / "stories260k")]
    text = "Mary gave a little unbelievable dog to John, and the dog was happy to go home."
    ends, streams = [], []
    for folder in folders:
        hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        coded = AutoTokenizer.from_pretrained(folder)(text, return_offsets_mapping=True, return_tensors="pt")
        ends.append({end: place for place, (_, end) in enumerate(coded["offset_mapping"][0].tolist()) if end})
        with torch.no_grad():
            hidden = hf(coded["input_ids"], output_hidden_states=True).hidden_states
        streams.append([each[0].double() for each in hidden[:-1]])
    shared = sorted(ends[0].keys() & ends[1].keys())
    result = similarity(load(folders[0]), text, other_model=folders[1])
    assert result.tokens == len(shared)
    assert result.other_model.read == (len(ends[0]), len(ends[1]))
    assert f"Of {len(ends[0])} and {len(ends[1])} tokens" in result.views()[0].caption
    for a, x in enumerate(streams[0]):
        for b, y in enumerate(streams[1]):
            faced = [each[[place[end] for end in shared]] for each, place in ((x, ends[0]), (y, ends[1]))]
            assert result.cka[a][b] == pytest.approx(geometry.linear_cka(*faced), abs=1e-4)


def test_a_file_is_read_by_both_models(tiny_model, tiny_folder, llamas, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("Some words, and more. " * 5 + "\n\nQuite another line <b>?", encoding="utf8")
    result = similarity(tiny_model, tiny.PROMPT, other_model=tiny_folder, text=str(path))
    assert result.tokens == 18 + 110 + 23, "every character of the prompt and of two paragraphs"
    assert [result.cka[place][place] for place in range(3)] == pytest.approx([1] * 3)
    assert result.dimension == pytest.approx(result.other_model.dimension)
    assert similarity(tiny_model, tiny.PROMPT, other_model=llamas[0], text=str(path), tokens=50).tokens == 50
    table, lines, more = (result.views()[place] for place in (1, 3, 4))
    assert table.rows[1].cells == ("resid_post.0", "resid_post.0", pytest.approx(1))
    assert [{mark.site is None for mark in view.x} for view in (lines, more)] == [{False}, {True}], "not of this model"
    assert (lines.series[0].values, more.series[0].values) == (result.dimension, result.other_model.dimension)


@pytest.mark.parametrize("case", ["gemma2", "mixtral", "phi", "gpt_neox"])
def test_other_families(case):
    result = similarity(model(case), ids(1))
    assert len(result.cka) == 4


def test_wrong_arguments_are_refused(tiny_model):
    with pytest.raises(ArgumentError, match="3 tokens cannot be compared"):
        similarity(tiny_model, "abc")
    with pytest.raises(ArgumentError, match="leave one out"):
        similarity(tiny_model, "abcd", other="abce", text="x.txt")
    with pytest.raises(ArgumentError, match="other and other_model were given"):
        similarity(tiny_model, "abcd", other="abce", other_model="specimen")
    with pytest.raises(LoadError, match="no folder"):
        similarity(tiny_model, "abcd", other_model="./nowhere")
    with pytest.raises(ArgumentError, match="one model reads 'é"):
        similarity(load(), "aé bcd", other_model=tiny_model.name)
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        similarity(tiny_model, ["abcd", "efgh"])
    for tokens in (0, 5):
        for other in (None, tiny_model.name):
            with pytest.raises(ArgumentError, match=f"tokens={tokens}"):
                similarity(tiny_model, tiny.PROMPT, tokens=tokens, other_model=other)


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
