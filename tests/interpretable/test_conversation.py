"""Turns are what their tokens decode to; attention between them is that of the pattern."""

import math

import pytest
import torch

from fluoroscope.interpretable.conversation import Turn, TurnList, detect_turns
from fluoroscope.interpretable.results import ConversationResult

CHAT = [
    {"role": "user", "content": "The ball is red."},
    {"role": "assistant", "content": "That is right."},
    {"role": "user", "content": "What is red?"},
]


def test_turns_hold_their_contents(specimen):
    turns = detect_turns(specimen.tokenizer, CHAT)
    with specimen.conversation_trace(CHAT) as trace:
        pass
    ids = trace.tokens.rows[0]
    assert [specimen.decode(ids[turn.content_positions]).strip() for turn in turns] == [m["content"] for m in CHAT]
    assert list(turns) == list(trace.turns)
    assert turns.roles == ["user", "assistant", "user"]
    assert [turn.index for turn in turns.by_role("user")] == [0, 2]
    assert isinstance(turns[:2], TurnList)
    assert len(turns.content_positions()) == sum(turn.n_content_tokens for turn in turns)
    assert turns[0].full_end == turns[1].full_start
    assert "content=" in repr(turns)


def test_ids_of_another_text_and_no_template_are_refused(specimen):
    turns = detect_turns(specimen.tokenizer, CHAT)
    with pytest.raises(ValueError, match="not those of the chat template"):
        detect_turns(specimen.tokenizer, CHAT, token_ids=[1, 2, 3])
    with pytest.raises(ValueError, match="None"):
        detect_turns(specimen.tokenizer, [{"role": "user"}])
    assert turns[0] == Turn(0, "user", *[getattr(turns[0], name) for name in
                                        ("full_start", "full_end", "content_start", "content_end")])  # fmt: skip


def test_activations_of_a_turn_are_its_slice(specimen):
    with specimen.conversation_trace(CHAT) as trace:
        stream = trace.activations["layers.3"][0]
        turn = trace.turns[1]
        assert torch.equal(trace.get_turn_activation(1, "layers.3"), stream[turn.content_positions])
        assert torch.equal(trace.get_turn_activation(-2, "layers.3", content_only=False), stream[turn.full_positions])
        with pytest.raises(IndexError, match="no turn 3"):
            trace.get_turn_activation(3, "layers.3")
        with pytest.raises(KeyError):
            trace.get_turn_activation(0, "layers.9")


def test_attention_between_turns_is_summed_over_sources_and_averaged_over_readers(specimen):
    with specimen.conversation_trace(CHAT) as trace:
        found = trace.cross_turn_attention(layer=3, head=0)
        result = trace.to_result()
    pattern = trace.activations["pattern.3"][0, 0].double()
    for reader, turn in enumerate(trace.turns):
        rows = pattern[turn.content_positions]
        for source, other in enumerate(trace.turns):
            expected = float(rows[:, max(1, other.content_start) : other.content_end].sum(-1).mean())
            assert float(found[reader, source]) == pytest.approx(expected, abs=1e-6)
    assert all(math.isclose(sum(row), 1.0, abs_tol=1e-4) for row in result.attention)  # type: ignore[arg-type]
    assert (found.triu(1) == 0).all()
    assert ConversationResult.from_json(result.to_json()) == result
    assert "turn" in result.summary()
    assert result.views()[0].title == "Attention between turns"
