"""Scores of patterns by closed forms, and of a model by what its heads are known to do."""

import numpy as np
import pytest
import torch

from fluoroscope.analyses.head_types import head_types
from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable.visualization import (
    AttentionPatternDetector,
    HeadScore,
    copying_score,
    current_token_score,
    detect_head_types,
    detect_induction_heads,
    find_attention_pattern,
    first_token_score,
    induction_score,
    previous_token_score,
)
from fluoroscope.sites import Site


def causal(length: int) -> np.ndarray:
    """A head that looks at all tokens alike."""
    return np.tril(np.ones((length, length))) / np.arange(1, length + 1)[:, None]


def test_perfect_patterns_score_1_and_even_ones_their_closed_form():
    length = 7
    even = causal(length)
    rows = np.arange(length) + 1
    assert previous_token_score(np.eye(length, k=-1)) == pytest.approx(1)
    assert first_token_score(np.eye(1, length).repeat(length, 0)) == pytest.approx(1)
    assert current_token_score(np.eye(length)) == pytest.approx(1)
    assert previous_token_score(even) == pytest.approx((1 / rows[2:]).mean())
    assert first_token_score(even) == current_token_score(even) == pytest.approx((1 / rows[1:]).mean())
    pattern = np.zeros((6, 6))
    for i in range(3, 6):
        pattern[i, i - 2] = 1
    assert induction_score(pattern, 3) == pytest.approx(1)
    assert induction_score(causal(6), 3) == pytest.approx((1 / np.arange(4, 7)).mean())


def test_copying_is_a_matter_of_eigenvalues():
    """In any basis: the diagonal, which was read there, depends on it."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0].numpy()
    circuit = np.diag([1.0, 1, 1, 1, 1, 1, -1, -1])
    assert copying_score(circuit) == pytest.approx(0.5)
    assert copying_score(turn @ circuit @ turn.T) == pytest.approx(0.5, abs=1e-5)
    assert copying_score(-np.eye(4)) == pytest.approx(-1)
    unembedding = torch.randn(8, 30, generator=generator).double().numpy()
    tokens = np.linalg.eigvals(unembedding.T @ circuit @ unembedding)
    assert copying_score(circuit, unembedding) == pytest.approx(tokens.real.sum() / np.abs(tokens).sum(), abs=1e-6)
    with pytest.raises(ArgumentError):
        copying_score(np.ones((2, 3)))
    with pytest.raises(ArgumentError):
        copying_score(np.eye(3), np.ones((2, 5)))


def test_the_detector_names_all_kinds_that_hold():
    detector = AttentionPatternDetector()
    mixed = 0.5 * np.eye(6, k=-1) + 0.5 * np.eye(1, 6).repeat(6, 0)
    assert set(detector.classify_head(mixed)) == {"previous_token", "first_token"}
    assert detector.classify_head(np.zeros((5, 5))) == ["unknown"]
    assert set(detector.analyze_head(mixed, 3)) == {"previous_token", "first_token", "current_token", "induction"}
    for wrong in (np.eye(2), np.ones((3, 4))):
        with pytest.raises(ArgumentError):
            detector.analyze_head(wrong)
    with pytest.raises(ArgumentError, match="repeats nothing"):
        induction_score(np.eye(4), 4)


def test_induction_heads_of_the_specimen_are_those_of_the_battery(specimen):
    """Strong by the battery, which takes a control off, and strong here; sorted; by their own seed alone."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    found = detect_induction_heads(specimen, threshold=0.3)
    assert torch.equal(torch.random.get_rng_state(), before)
    battery = head_types(specimen.xray, threshold=0.4)
    strong = {
        (site.layer, site.unit) for h in battery.heads if "induction" in h.labels for site in [Site.parse(h.site)]
    }
    assert strong
    assert strong <= {(each.layer, each.head) for each in found}
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    assert found == detect_induction_heads(specimen, threshold=0.3)
    assert isinstance(found[0], HeadScore)
    assert found[0].head_type == "induction"
    for wrong in ({"n_repeats": 1}, {"n_random_tokens": 1}, {"n_random_tokens": 10**6}):
        with pytest.raises(ArgumentError, match="cannot be said"):
            detect_induction_heads(specimen, **wrong)


def test_head_types_of_a_text_are_the_scores_of_its_patterns(specimen):
    text = "Once upon a time there was a girl"
    found = detect_head_types(specimen, text, threshold=0.3, layers=[0, 3])
    assert set(found) == {"previous_token", "first_token", "current_token", "induction"}
    by_function = find_attention_pattern(specimen, text, previous_token_score, threshold=0.3, layers=[0, 3])
    assert found["previous_token"] == [(each.layer, each.head) for each in by_function]
    assert {layer for heads in found.values() for layer, _ in heads} <= {0, 3}
