"""Generation under mlxterp's names: stops in the documented order, and complete in JSON."""

import pytest
import torch

from fluoroscope.interpretable.generation import generate
from fluoroscope.interpretable.results import GenerationResult

PROMPT = "Once upon a time"


def test_the_callback_sees_every_token_and_the_last_is_kept(specimen):
    seen: list[tuple[int, int, tuple[int, ...]]] = []

    def callback(step: int, token: int, logits: torch.Tensor) -> bool:
        seen.append((step, token, tuple(logits.shape)))
        assert int(logits.argmax()) == token
        return step >= 2

    found = generate(specimen, PROMPT, max_tokens=10, callback=callback)
    assert [token for _, token, _ in seen] == found.tokens
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert seen[0][2] == (specimen.xray.d_vocab,)
    assert found.stopped == "callback"
    with pytest.raises(ValueError, match="callback=3 cannot be called"):
        generate(specimen, PROMPT, callback=3)


def test_a_stop_token_is_told_to_the_callback_and_recorded(specimen):
    stop = generate(specimen, PROMPT, 4).tokens[2]
    told: list[int] = []
    found = generate(specimen, PROMPT, 9, stop_tokens=[stop], callback=lambda _step, token, _logits: told.append(token))
    assert found.tokens[-1] == told[-1] == stop
    assert len(found.tokens) == 3
    assert found.stopped == "stop token"


def test_sampling_is_seeded_and_the_nucleus_keeps_the_token_that_crosses_it(specimen):
    options = {"max_tokens": 12, "temperature": 1.0, "top_p": 0.9}
    one, two = (generate(specimen, PROMPT, **options, seed=seed) for seed in (0, 1))
    assert one.tokens == generate(specimen, PROMPT, **options, seed=0).tokens
    assert one.tokens != two.tokens
    greedy = generate(specimen, PROMPT, 6)
    assert generate(specimen, PROMPT, 6, temperature=1.0, top_p=1e-6).tokens == greedy.tokens


def test_the_result_round_trips_with_its_text(specimen):
    found = generate(specimen, PROMPT, 3, token_logits=True)
    again = GenerationResult.from_json(found.to_json())
    assert (again.text, again.tokens, again.prompt) == (found.text, found.tokens, PROMPT)
    assert again.token_logits is None
    assert found.token_logits is not None
    assert [int(logits.argmax()) for logits in found.token_logits] == found.tokens
    assert "".join(found.pieces) == found.text
    assert "Edward" in found.text
    assert "Edward" in found.to_markdown()
    ids = specimen.encode(PROMPT)
    assert generate(specimen, torch.tensor([ids]), 3).tokens == generate(specimen, ids, 3).tokens == found.tokens


def test_interventions_may_act_at_some_steps_alone(specimen):
    calls: list[int] = []

    def count(value: torch.Tensor) -> torch.Tensor:
        calls.append(value.shape[1])
        return value

    generate(specimen, PROMPT, 4, interventions={"layers.2": count}, intervention_tokens="generated")
    assert calls == [1, 1, 1]
    with pytest.raises(ValueError, match="tokens"):
        generate(specimen, PROMPT, 100_000)
