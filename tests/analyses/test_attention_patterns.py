"""Where heads look: against Hugging Face's own attentions, and what is refused."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import linear
import tiny
from architectures import common
from fluoroscope.analyses.attention_patterns import AttentionPatterns, attention_patterns
from fluoroscope.errors import ArgumentError, SiteError, TokenError
from fluoroscope.interventions import replace


@pytest.fixture(scope="module")
def attentions(tiny_folder):
    """[layer][head, query, key], none of our code."""
    hf = AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation="eager").eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return [layer[0].double() for layer in hf(ids, output_attentions=True).attentions]


@pytest.mark.parametrize("position", [-1, 4])
def test_every_head_is_described_by_its_own_pattern(tiny_model, attentions, position):
    result = attention_patterns(tiny_model, tiny.PROMPT, position=position)
    assert [head.site for head in result.heads] == [f"z.{layer}.{head}" for layer in range(2) for head in range(3)]
    for place, head in enumerate(result.heads):
        pattern = attentions[place // 3][place % 3]
        assert head.key == int(pattern[position].argmax())
        assert head.share == pytest.approx(float(pattern[position].max()), abs=1e-5)
        assert head.first == pytest.approx(float(pattern[1:, 0].mean()), abs=1e-5)
        assert head.largest == pytest.approx(float(pattern[1:].amax(-1).mean()), abs=1e-5)
        back = [sum(float(pattern[q, k]) * (q - k) for k in range(q)) for q in range(1, len(pattern))]
        assert head.distance == pytest.approx(sum(back) / len(back), abs=1e-4)
        spread = [
            float(torch.special.entr(pattern[q, : q + 1]).sum() / torch.log(torch.tensor(q + 1.0)))
            for q in range(1, len(pattern))
        ]
        assert head.spread == pytest.approx(sum(spread) / len(spread), abs=1e-4)


def test_one_head_shows_its_whole_pattern(tiny_model, attentions):
    result = attention_patterns(tiny_model, tiny.PROMPT, head="L1H2")
    assert result.head == "z.1.2"
    assert torch.allclose(torch.tensor(result.shares).double(), attentions[1][2], atol=1e-5)
    heatmap, *_ = result.views()
    assert heatmap.title == "Where L1H2 looks"
    assert [mark.label for mark in heatmap.rows] == list(result.tokens)


def test_weighting_changes_the_shares_but_not_their_sum(tiny_model):
    plain, moved = (
        attention_patterns(tiny_model, tiny.PROMPT, head="z.0.1", weighting=each) for each in ("pattern", "output")
    )
    assert torch.tensor(moved.shares).sum(-1).tolist() == pytest.approx([1.0] * len(plain.tokens))
    assert not torch.allclose(torch.tensor(plain.shares), torch.tensor(moved.shares), atol=1e-3)
    assert "behind W_O" in moved.views()[0].caption


def test_heads_that_move_nothing_have_no_way_and_their_block_lets_everything_stay():
    """No block of this model writes anything behind W_O, though its patterns are like any others."""
    model = linear.model()
    result = attention_patterns(model, [1, 2, 3, 4], weighting="output", head="L1H1")
    assert {(head.spread, head.distance, head.share) for head in result.heads} == {(None, None, 0.0)}
    assert result.rollout == (0.0, 0.0, 0.0, 1.0)
    assert result.top() == []
    assert AttentionPatterns.from_json(result.to_json()) == result
    assert len(result.views()) == 6


def test_where_a_block_has_no_pattern_there_is_no_way_through_all_blocks():
    """Only the middle block of this model attends, the others are linear attention."""
    result = attention_patterns(common.model("qwen3_next"), common.ids(1))
    assert {head.site.split(".")[1] for head in result.heads} == {"1"}
    assert result.rollout is None
    assert not [view for view in result.views() if "rollout" in view.title]
    assert AttentionPatterns.from_json(result.to_json()) == result


@pytest.mark.parametrize("case", ["mistral", "gemma2", "gpt_oss", "olmo2"])
@pytest.mark.parametrize("weighting", ["pattern", "value", "output"])
def test_a_rollout_sums_to_1_on_every_kind_of_attention(case, weighting):
    """Windows, softcaps, sinks that take a part of every row, post-norms."""
    result = attention_patterns(common.model(case), common.ids(1), weighting=weighting, position=7)
    assert sum(result.rollout) == pytest.approx(1.0, abs=1e-6)
    assert result.rollout[8:] == (0.0,) * 5


def test_a_head_that_looks_hard_at_one_token_is_not_spread_widely():
    """The weights on all other tokens round to 0 at every second token: these looks count, as looks of spread 0."""
    model = common.model("gpt2")
    hidden = torch.finfo(torch.float32).min
    scores = torch.zeros(1, 4, 13, 13).masked_fill(~torch.ones(13, 13, dtype=torch.bool).tril(), hidden)
    scores[..., 1::2, 0] = 1e3
    with model.editing({"scores.1": replace(scores)}):
        result = attention_patterns(model, common.ids(1))
    assert [head.spread for head in result.heads[4:8]] == pytest.approx([0.5] * 4)


def test_what_people_read(tiny_model):
    result = attention_patterns(tiny_model, tiny.PROMPT, top_k=2)
    assert result.shares is None
    assert len(result.top()) <= 2
    assert all(head.key not in (0, result.position) for head in result.top())
    for head in result.top():
        assert head.label in result.summary()
    table, rollout, *grids = result.views()
    assert [row.site for row in table.rows] == [head.site for head in result.top()]
    assert sum(item.value for item in rollout.items) == pytest.approx(1.0)
    assert [grid.values[1][2] for grid in grids] == [
        getattr(result.heads[5], n) for n in ("spread", "first", "distance")
    ]
    assert AttentionPatterns.from_json(result.to_json()) == result


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"top_k": 0}, ArgumentError, "lists nothing"),
        ({"head": "z.1"}, ArgumentError, "no head"),
        ({"head": "mlp_out.1"}, ArgumentError, "no head"),
        ({"head": "k.1.0"}, ArgumentError, "no head"),
        ({"head": "L1H9"}, SiteError, "beyond the last head"),
        ({"position": 99}, TokenError, "99"),
        ({"prompt": "a"}, ArgumentError, "one token"),
    ],
)
def test_refusals(tiny_model, arguments, error, says):
    with pytest.raises(error, match=says):
        attention_patterns(tiny_model, **{"prompt": tiny.PROMPT} | arguments)
