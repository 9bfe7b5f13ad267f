"""The ratchet: what is kept beats all before it by the margin, or refutes what was believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.autointerpret import ExperimentEntry, Hypothesis, MetricRegistry, Ratchet
from fluoroscope.errors import ArgumentError

METRICS = MetricRegistry()
METRICS.register("worth", lambda _model, found, held_out: found["worth"] * len(held_out))
METRICS.register("size", lambda _model, found, _held_out: found.get("size", 1))


def entries(rule, worths):
    made = []
    for worth in worths:
        measures = {"worth": worth, "size": 1.0}
        verdict = rule.judge(measures, rule.refuted(measures), made)
        known = {"measures": measures, "ruled_out": list(verdict.ruled_out)}
        made.append(ExperimentEntry(informative=verdict.kept, conclusion=verdict.reason, metadata=known))
    return made


@given(st.lists(st.floats(-3, 3)), st.floats(0, 1), st.none() | st.floats(-1, 1))
def test_kept_scores_rise_by_the_margin(worths, margin, baseline):
    rule = Ratchet(METRICS, "worth", margin, baseline)
    made = entries(rule, worths)
    best = baseline
    for entry, worth in zip(made, worths, strict=True):
        assert entry.informative == (best is None or (worth > best and worth - best >= margin))
        best = worth if entry.informative else best
    found = rule.best(made)
    assert found is None or found.metadata["measures"]["worth"] == best


def test_a_hypothesis_is_ruled_out_once_and_the_reason_says_by_which_numbers():
    believed = {"low": Hypothesis("Nothing is worth 2.", lambda seen: seen["worth"] < 2)}
    one, two, three, four = entries(Ratchet(METRICS, "worth", 0.5, 2.5, believed), [1.0, 2.25, 2.5, 3.0])
    assert [one.informative, two.informative, three.informative, four.informative] == [False, True, False, True]
    assert two.metadata["ruled_out"] == ["low"]
    assert two.conclusion == (
        "Kept: worth 2.250 on held-out prompts, against 2.500 of the baseline, by -0.250; at least +0.500 is asked; "
        "rules out 'low' (Nothing is worth 2): worth 2.250, size 1."
    )
    assert four.conclusion.endswith(f"against 2.250 of {two.experiment_id}, by +0.750.")
    alone = entries(Ratchet(METRICS, hypotheses=believed), [1.0, 2.0, 2.0])
    assert [entry.informative for entry in alone] == [False, True, False]
    assert alone[2].conclusion == "Not kept: it rules out nothing that still stands."


def test_measures_are_finite_numbers_of_the_held_out_prompts():
    rule = Ratchet(METRICS, "worth")
    assert rule.measure(None, {"worth": 0.5}, ["a", "b", "c"]) == {"worth": 1.5, "size": 1.0}
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="the metric 'worth' gave"):
            rule.measure(None, {"worth": wrong}, ["a"])
    for wrong in ({"score": "wort"}, {"margin": -1.0}, {"baseline": float("nan")}):
        with pytest.raises(ArgumentError):
            Ratchet(METRICS, **wrong)
    with pytest.raises(ArgumentError, match="there is no metric"):
        Ratchet(hypotheses={"x": Hypothesis("x", bool)})
