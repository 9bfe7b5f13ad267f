"""Pairs of heads: the specimen's induction heads, the order of blocks, and what is refused."""

import pytest
import torch

from architectures import common
from fluoroscope.analyses.composition import Composition, composition
from fluoroscope.analyses.head_types import head_types
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.loading import load
from fluoroscope.methods import composition as method
from fluoroscope.render.text import number
from fluoroscope.sites import Site


def test_the_specimens_induction_heads_read_previous_token_heads_through_their_keys():
    model = load()
    types, result = head_types(model, seeds=2), composition(model)
    previous, induction = ({head.site for head in types.of(kind)} for kind in ("previous", "induction"))
    means = {}
    for grid in result.grids:
        scores = [
            grid.scores[grid.earlier.index(a)][grid.later.index(b)]
            for a in previous
            for b in induction
            if Site.parse(a).layer < Site.parse(b).layer
        ]
        means[grid.kind] = sum(scores) / len(scores) - result.chance
    assert means["k"] > 0.02
    assert means["k"] > 2 * max(means["q"], means["v"])


@pytest.mark.parametrize("case", ["gpt2", "llama", "phi3"])
def test_every_pair_of_earlier_and_later_heads_has_its_score(case):
    model = common.model(case)
    result = composition(model)
    heads = tuple(f"z.{layer}.{head}" for layer in range(3) for head in range(4))
    assert [grid.kind for grid in result.grids] == ["q", "k", "v"]
    for grid in result.grids:
        assert grid.earlier == grid.later == heads
        for place, row in enumerate(grid.scores):
            for other, score in enumerate(row):
                assert (score is not None) == (place // 4 < other // 4)
        found = method.scores(method.sender(model, 0), method.receiver(model, 2, grid.kind))
        assert torch.tensor([row[8:] for row in grid.scores[:4]]).double() == pytest.approx(found)


def test_one_head_has_the_same_scores_as_among_all():
    model = common.model("qwen2")
    whole = {grid.kind: grid for grid in composition(model).grids}
    result = composition(model, head="L1H2")
    assert [(grid.kind, len(grid.earlier), len(grid.later)) for grid in result.grids] == [
        *((kind, 1, 4) for kind in "qkv"),
        *((kind, 4, 1) for kind in "qkv"),
    ]
    for grid in result.grids:
        for a, row in zip(grid.earlier, grid.scores, strict=True):
            for b, score in zip(grid.later, row, strict=True):
                full = whole[grid.kind]
                assert score == pytest.approx(full.scores[full.earlier.index(a)][full.later.index(b)], rel=1e-12)
    assert {grid.kind for grid in composition(model, head="L0H0").grids if grid.later == ("z.0.0",)} == set()
    assert len(composition(model, head="L2H3", kind="k").grids) == 1


def test_what_people_read(tiny_model):
    result = composition(tiny_model, top_k=4)
    pairs = result.pairs()
    assert len(pairs) == 4
    assert [pair.score for pair in pairs] == sorted((pair.score for pair in pairs), reverse=True)
    assert all(pair.above == pytest.approx(pair.score - result.chance) for pair in pairs)
    assert result.chance == pytest.approx(23**-0.5)
    for pair in pairs:
        senders, receivers = method.sender(tiny_model, 0), method.receiver(tiny_model, 1, pair.kind)
        spread = method.leeway(senders, 23)[int(pair.earlier[-1])] * method.leeway(receivers, 23)[int(pair.later[-1])]
        assert pair.deviations == pytest.approx((pair.score**2 - 1 / 23) / float(spread))
    assert f"{number(pairs[0].deviations)} standard deviations" in result.summary()
    table, *maps = result.views()
    assert [row.cells[1] for row in table.rows] == [pair.label for pair in pairs]
    assert [[mark.label for mark in view.rows] for view in maps] == [["L0H0", "L0H1", "L0H2"]] * 3
    assert maps[0].values[1][2] == pytest.approx(result.grids[0].scores[1][5] - result.chance)
    assert "rotary" not in table.caption
    assert "distance 0" not in table.caption
    assert result.summary().startswith("The ")
    assert Composition.from_json(result.to_json()) == result
    one = composition(tiny_model, head="L0H1")
    assert [view.title for view in one.views()[1:]] == [
        "Whose queries read L0H1", "Whose keys read L0H1", "Whose values read L0H1"
    ]  # fmt: skip
    assert one.views()[1].values[0] == (None, None, None)
    assert "at distance 0" in composition(common.model("llama")).views()[0].caption


def test_heads_of_zeros_have_no_pairs(tiny_model):
    weight = tiny_model.hf.transformer.h[0].attn.c_proj.weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.zero_()
        try:
            result = composition(tiny_model)
        finally:
            weight.copy_(before)
    assert result.pairs() == []
    assert "No head" in result.summary()
    assert result.views()


def test_refusals(tiny_model, monkeypatch):
    with pytest.raises(ArgumentError, match="lists nothing"):
        composition(tiny_model, top_k=0)
    with pytest.raises(ArgumentError, match="no head"):
        composition(tiny_model, head="mlp_out.0")
    with pytest.raises(UnavailableError, match="query_layernorm"):
        composition(common.model("hunyuan_v1_dense"))
    assert composition(common.model("hunyuan_v1_dense"), kind="v").pairs()
    with pytest.raises(UnavailableError, match="norms each sum"):
        composition(common.model("opt-350m"))
    monkeypatch.setattr("fluoroscope.analyses.composition._MOST_PAIRS", 50)
    with pytest.raises(ArgumentError, match="108 pairs"):
        composition(tiny_model)
    assert composition(tiny_model, head="L0H1").pairs()
