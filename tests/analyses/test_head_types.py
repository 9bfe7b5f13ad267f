"""Labels against a model whose heads are set by hand, and against the card of the specimen."""

import json

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from fluoroscope import specimen
from fluoroscope.analyses.head_types import HeadTypes, head_types
from fluoroscope.errors import ArgumentError
from fluoroscope.loading import load

V, WIDTH, HEADS, CONTEXT = 96, 120, 4, 100
FREQUENCIES = torch.linspace(0.3, 3.0, 12) ** 1.1
TOKEN, BEFORE, PLACE = slice(0, V), slice(V, 2 * V), slice(2 * V, 2 * V + 48)


def place(position):
    """Twelve turning hands and their opposites, so that every position has the same norm and the mean zero."""
    hands = torch.cat((torch.cos(FREQUENCIES * position), torch.sin(FREQUENCIES * position)))
    return torch.cat((hands, -hands))


def turned(distance):
    """The matrix that turns the hands of a position to those of the position `distance` earlier."""
    c, s = (f(FREQUENCIES * distance).diag() for f in (torch.cos, torch.sin))
    return torch.cat((torch.cat((c, -s), 1), torch.cat((s, c), 1)))


@pytest.fixture(scope="module")
def by_hand():
    """Block 0: previous token (which it copies), fixed distance of 26, duplicate token, nothing.
    Block 1: induction on what block 0 copied, current token, first token, nothing."""
    config = GPT2Config(
        vocab_size=V,
        n_embd=WIDTH * HEADS,
        n_layer=2,
        n_head=HEADS,
        n_positions=CONTEXT,
        n_inner=8,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "ln_" in name and name.endswith("weight") else 0.0)
        model.transformer.wte.weight[:, TOKEN] = torch.eye(V) * 4
        for position in range(CONTEXT):
            model.transformer.wpe.weight[position, PLACE] = place(position)
        first, second = (block.attn for block in model.transformer.h)
        look(first, 0, (PLACE, turned(1)), PLACE)
        look(first, 1, (PLACE, turned(26)), PLACE)
        look(first, 2, (TOKEN, 6 * torch.eye(V)), TOKEN, (PLACE, -9 * turned(0)))
        d = config.n_embd
        first.c_attn.weight[TOKEN, 2 * d : 2 * d + V] = torch.eye(V)
        first.c_proj.weight[:V, BEFORE] = torch.eye(V) * 4
        look(second, 0, (TOKEN, torch.eye(V)), BEFORE)
        look(second, 1, (PLACE, turned(0)), PLACE)
        second.c_attn.bias[2 * WIDTH : 2 * WIDTH + 24] = place(0)[:24] * 60
        second.c_attn.weight[2 * V : 2 * V + 24, d + 2 * WIDTH : d + 2 * WIDTH + 24] = torch.eye(24)
    return load(model)


def look(attention, head, query, key, *others):
    """Gives a head queries and keys: parts of the stream, the former through a matrix."""
    d, at = WIDTH * HEADS, head * WIDTH
    for part, matrix, read in [(*query, key), *((part, matrix, part) for part, matrix in others)]:
        size = len(matrix)
        rows = slice(part.start, part.start + size)
        attention.c_attn.weight[rows, at : at + size] = matrix * 60
        attention.c_attn.weight[slice(read.start, read.start + size), d + at : d + at + size] = torch.eye(size)
        at += size


def test_heads_made_by_hand_get_exactly_their_labels(by_hand):
    labels = {head.label: head.labels for head in head_types(by_hand).heads}
    assert labels == {
        "L0H0": ("previous",), "L0H1": (), "L0H2": ("duplicate",), "L0H3": (),
        "L1H0": ("induction",), "L1H1": ("current",), "L1H2": ("first",), "L1H3": (),
    }  # fmt: skip


def test_a_fixed_distance_is_no_induction_even_where_it_fits(by_hand):
    """With one seed of period 27 the head of block 0 looks exactly where an induction head would."""
    by_distance = head_types(by_hand, seeds=3).heads[1].score("induction")
    assert by_distance.control > 0.2
    assert abs(by_distance.mean) < 0.05


def test_on_a_prompt_too_the_first_token_is_no_earlier_occurrence(by_hand):
    """L1H2 rests on the first token wherever it is, so it is no duplicate-token head where only this one returns."""
    resting = head_types(by_hand, prompt=[[5, 9, 11, 42, 5]], seeds=1).heads[6]
    assert resting.label == "L1H2"
    assert (resting.on_prompt.label, resting.on_prompt.shares[1]) == ("diffuse", None)
    copying = head_types(by_hand, prompt=[[7, 5, 9, 11, 42, 5]], seeds=1).heads
    assert [copying[place].on_prompt.label for place in (2, 6)] == ["duplicate", "diffuse"]


def test_the_specimens_heads_are_those_of_its_card():
    """The card was measured by the trainer's own battery, on tokens of its own; heads on the brink may differ."""
    model = load()
    result = head_types(model, prompt="The cat sat on the mat. The cat sat on the")
    measured = json.loads((specimen.folder() / "measured.json").read_text(encoding="utf8"))["gate"]
    for kind, finding in (("previous", "previous-token"), ("induction", "induction")):
        [named] = [each for each in measured if each["name"] == f"copying: best {finding} score"]
        scores, found = named["details"]["scores"], {head.label: head.score(kind).mean for head in result.of(kind)}
        assert set(named["heads"]) <= set(found)
        assert {head for head, score in scores.items() if score > 0.6} <= set(found)
        assert {head for head, score in found.items() if score > 0.5} <= set(scores)
    induction = [head.label for head in result.of("induction")]
    here = {head.label: head.on_prompt for head in result.heads}
    at_work = [label for label in induction if here[label].label == "induction"]
    assert at_work, "on a sentence that repeats, some of them do what they do on random tokens"
    assert here[at_work[0]].weight > 0.5
    assert f"induction ({induction[0]}" in result.summary()


def test_a_label_at_the_cut_says_so():
    """The cut is set between the scores of single seeds and inside the interval of all of them."""
    model = load()
    result = head_types(model, seeds=5)
    wide = max((h for h in result.heads), key=lambda h: h.score("induction").high - h.score("induction").low)
    score = wide.score("induction")
    assert score.low < score.mean < score.high
    for cut, earned in ((score.mean - 1e-6, "yes"), (score.mean + 1e-6, "no")):
        again = head_types(model, seeds=5, threshold=cut)
        head = next(each for each in again.heads if each.site == wide.site)
        assert "induction" in head.unsure
        assert ("induction" in head.labels) == (earned == "yes")
        assert head in again.near("induction")
        row = next(r for r in again.views()[0].rows if r.site == wide.site and r.cells[1] == "induction")
        assert row.cells == (
            wide.label, "induction", score.mean, score.low, score.high, score.control, f"{earned}, hangs on the seeds"
        )  # fmt: skip
        assert f"hang{'' if 's hang on' in again.summary() else 's'} on the seeds" in again.summary()
        assert f"{wide.label} induction {score.mean:.2f}" in again.summary()
    sure = head_types(model, seeds=5, threshold=score.high + 1e-6)
    head = next(each for each in sure.heads if each.site == wide.site)
    assert "induction" not in (*head.unsure, *head.labels)


def test_one_seed_tells_no_interval():
    result = head_types(load(), seeds=1)
    assert {score.low for head in result.heads for score in head.scores} == {None}
    assert {head.unsure for head in result.heads} == {()}
    assert "One seed tells no interval" in result.views()[0].caption
    assert "hang" not in result.summary()
    assert HeadTypes.from_json(result.to_json()) == result


def test_bad_requests_are_refused(tiny_model, by_hand):
    with pytest.raises(ArgumentError, match=r"threshold=1\.5"):
        head_types(by_hand, threshold=1.5)
    with pytest.raises(ArgumentError, match="no seed"):
        head_types(by_hand, seeds=0)
    shape = {"vocab_size": 30, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 64}
    small = load(GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)))
    with pytest.raises(ArgumentError, match="cannot repeat"):
        head_types(small)
    with pytest.raises(ArgumentError, match="one prompt"):
        head_types(tiny_model, prompt=["a", "b"])
