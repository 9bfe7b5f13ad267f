"""Against the plain model: hooks, softmax and sorting, one position after the other."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from architectures import common
from fluoroscope.analyses import convergence as module
from fluoroscope.analyses.convergence import Convergence, convergence
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.errors import ArgumentError, UnavailableError

SITES = ["resid_pre.0", "resid_post.0", "resid_post.1"]


@pytest.fixture(scope="module")
def plain(tiny_folder):
    """(ids, logits [depth, position, vocabulary]) from hooks on the plain model; none of our code."""
    model = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    streams = []
    model.transformer.h[0].register_forward_pre_hook(lambda module, args: streams.append(args[0]))
    for block in model.transformer.h:
        block.register_forward_hook(
            lambda module, args, output: streams.append(output[0] if isinstance(output, tuple) else output)
        )
    with torch.no_grad():
        logits = model(ids).logits[0]
        read = torch.stack([model.lm_head(model.transformer.ln_f(stream))[0] for stream in streams])
    torch.testing.assert_close(read[-1], logits)
    return ids[0].tolist(), read.double()


def rank(row, token):
    return sorted(row.tolist(), reverse=True).index(float(row[token])) + 1


def test_every_number_is_the_plain_models(tiny_model, plain):
    ids, logits = plain
    result = convergence(tiny_model, tiny.PROMPT)
    assert [depth.site for depth in result.depths] == SITES
    for depth, row in zip(result.depths, logits, strict=True):
        for slot, token in enumerate(ids):
            here, end, start = (value.softmax(-1) for value in (row[slot], logits[-1, slot], logits[0, slot]))
            prediction = int(end.argmax())
            assert depth.kl[slot] == pytest.approx(float((end * (end / here).log()).sum()), abs=1e-5)
            assert depth.kl_from_embedding[slot] == pytest.approx(float((here * (here / start).log()).sum()), abs=1e-5)
            assert depth.rank[slot] == rank(row[slot], prediction)
            assert depth.input_rank[slot] == rank(row[slot], token)
            assert depth.input_probability[slot] == pytest.approx(float(here[token]), abs=1e-6)
            assert depth.top_logit[slot] == pytest.approx(max(row[slot].tolist()), abs=1e-4)
            place = result.positions[slot]
            assert (place.prediction_id, place.token) == (prediction, tiny.PROMPT[slot])
            assert place.probability == pytest.approx(float(end.max()), abs=1e-6)


def test_the_last_depth_is_the_prediction_and_the_first_is_the_embedding(tiny_model):
    result = convergence(tiny_model, tiny.PROMPT)
    assert result.depths[-1].kl == pytest.approx([0] * len(tiny.PROMPT), abs=1e-6)
    assert set(result.depths[-1].rank) == {1}
    assert result.depths[0].kl_from_embedding == pytest.approx([0] * len(tiny.PROMPT), abs=1e-9)


def test_it_settles_where_the_logit_lens_settles(tiny_model):
    result, lens = convergence(tiny_model, tiny.PROMPT), logit_lens(tiny_model, tiny.PROMPT)
    assert [place.settled for place in result.positions] == [place.settled for place in lens.positions]
    for slot, place in enumerate(result.positions):
        ranks = [depth.rank[slot] for depth in result.depths]
        assert SITES.index(place.first) == ranks.index(1)
        assert SITES.index(place.first) <= SITES.index(place.settled)


@pytest.mark.parametrize(
    ("ranks", "first", "settled"),
    [([1, 1, 1], 0, 0), ([1, 4, 1], 0, 2), ([2, 1, 1], 1, 1), ([3, 2, 1], 2, 2), ([3, 2, 2], 2, 2)],
)
def test_first_and_for_good_by_hand(tiny_model, ranks, first, settled):
    place = module._position(tiny_model, "a", 1, 0.5, SITES, ranks)
    assert (place.first, place.settled) == (SITES[first], SITES[settled])


def test_the_size_of_the_pieces_changes_nothing(tiny_model, monkeypatch):
    whole = convergence(tiny_model, tiny.PROMPT)
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", 4 * tiny_model.d_vocab)
    pieces = convergence(tiny_model, tiny.PROMPT)
    for one, other in zip(whole.depths, pieces.depths, strict=True):
        assert one.rank == other.rank
        assert one.kl == pytest.approx(other.kl, abs=1e-5)


@pytest.mark.parametrize("case", ["gemma2", "cohere", "falcon-7b", "qwen2_moe"])
def test_other_families(case):
    model = common.model(case)
    result = convergence(model, [5, 3, 9, 7])
    assert result.depths[-1].kl == pytest.approx([0] * 4, abs=1e-5)
    end = model.trace([5, 3, 9, 7]).logits[0].double().softmax(-1)
    assert [place.probability for place in result.positions] == pytest.approx(end.amax(-1).tolist(), rel=1e-4)


def test_what_cannot_be_read_is_refused(tiny_model, monkeypatch):
    with pytest.raises(ArgumentError, match="2 prompts"):
        convergence(tiny_model, ["ab", "cd"])
    with pytest.raises(UnavailableError, match="norms each sum"):
        convergence(common.model("opt-350m"), [5, 3])
    monkeypatch.setattr(type(tiny_model), "d_vocab", 3)
    with pytest.raises(UnavailableError, match="has no logit"):
        convergence(tiny_model, "z")


def test_what_people_read(tiny_model):
    result = convergence(tiny_model, "a b")
    table, *heatmaps = result.views()
    assert [row.cells[0] for row in table.rows] == [0, 1, 2]
    assert len(heatmaps) == 7
    assert [mark.site for mark in heatmaps[0].rows] == SITES
    assert heatmaps[1].values[-1] == (1, 1, 1)
    assert "of 3 positions settle before the last block" in result.summary()
    assert Convergence.from_json(result.to_json()) == result
