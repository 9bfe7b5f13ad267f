"""`AutoInterpret` of the mlxterp document, with the limits, the ratchet and the duplicates that it promises."""

import inspect
import json
import time

import pytest

import tiny
from fluoroscope.analyses.next_token import next_token
from fluoroscope.autointerpret import AutoInterpret, ExperimentEntry, Hypothesis, MetricRegistry, Ratchet
from fluoroscope.errors import ArgumentError, ArtifactError, UnavailableError


def worth(_model, found, held_out):
    return found["worth"] * len(held_out)


@pytest.fixture
def rule():
    metrics = MetricRegistry()
    metrics.register("worth", worth)
    return Ratchet(metrics, "worth", hypotheses={"small": Hypothesis("It is below 9.", lambda seen: seen["worth"] < 9)})


@pytest.fixture
def loop(tiny_model, rule, tmp_path):
    def make(**other):
        given = {"max_experiments": 5, "time_per_experiment": 10, "ratchet": rule, "held_out": ["a", "b"]}
        return AutoInterpret(tiny_model, "ab", "ac", **{"output_dir": tmp_path / "exp"} | given | other)

    return make


def test_signatures_are_those_of_the_document():
    made = {name: one.default for name, one in inspect.signature(AutoInterpret).parameters.items()}
    assert [*made.items()][1:6] == [
        ("clean", ""), ("corrupted", ""), ("output_dir", "autointerpret"), ("max_experiments", 100),
        ("time_per_experiment", 120),
    ]  # fmt: skip
    assert [*inspect.signature(AutoInterpret.run_experiment).parameters][1:] == [
        "name", "fn", "hypothesis", "informative_check",
    ]  # fmt: skip


def test_only_what_is_better_is_kept_nothing_is_done_twice_and_no_more_than_may_be(loop, tmp_path):
    runner = loop()
    values = [1.0, 0.5, 2.0]
    made = [runner.run_experiment(f"try {value}", lambda value=value: {"worth": value}, "more") for value in values]
    assert [entry.informative for entry in made] == [True, False, True]
    assert [entry.metadata["measures"] for entry in made] == [{"worth": 2 * value} for value in values]
    again = runner.run_experiment("another name", lambda value=1.0: {"worth": value})
    assert again.metadata.pop("duplicate")
    assert again == made[0]
    failed = runner.run_experiment("broken", lambda: {"worth": 1 / 0})
    assert (failed.informative, failed.metadata["error"]["kind"]) == (False, "raised")
    assert "ZeroDivisionError" in failed.metadata["error"]["traceback"]
    assert not runner.is_done
    last = runner.run_experiment("large", lambda: {"worth": 4.5, "bulk": "x" * 100_000})
    assert last.metadata["ruled_out"] == ["small"]
    whole = json.loads((tmp_path / "exp" / last.result["file"]).read_text())
    assert whole == {"worth": 4.5, "bulk": "x" * 100_000}
    assert (runner.n_experiments, runner.is_done) == (5, True)
    with pytest.raises(ArgumentError, match="5 experiments were made, and no more than 5 may be"):
        runner.run_experiment("one more", lambda: {"worth": 6.0})
    assert runner.best() == last
    assert runner.findings() == [made[0], made[2], last]
    names = sorted(path.name for path in (tmp_path / "exp" / "findings").iterdir())
    assert [name[:4] for name in names] == ["0001", "0003", "0005"]
    assert names[0].endswith("-try_1.0.json")
    for name in names[1:]:
        (tmp_path / "exp" / "findings" / name).unlink()  # as a kill behind the log leaves it
    other = loop()
    assert other.history() == runner.history()
    assert other.run_experiment("same", lambda value=2.0: {"worth": value}).metadata["duplicate"]
    assert sorted(path.name for path in (tmp_path / "exp" / "findings").iterdir()) == names
    assert runner.summary().splitlines()[0].startswith("5 experiments: 3 kept, 1 failed")


def test_limits_of_time_and_memory_hold_for_experiment_and_scoring(loop, rule, tmp_path):
    slow = MetricRegistry()
    slow.register("worth", lambda _model, found, _held_out: time.sleep(30 * found["slow"]) or 1.0)
    runner = loop(time_per_experiment=0.5, memory_per_experiment=128, ratchet=Ratchet(slow, "worth"))
    made = [
        runner.run_experiment("slow", lambda: time.sleep(30)),
        runner.run_experiment("slow to measure", lambda: {"slow": 1}),
        runner.run_experiment("large", lambda: len(bytearray(1 << 29))),
    ]
    assert [entry.metadata["error"]["kind"] for entry in made] == ["time", "time", "memory"]
    assert [entry.informative for entry in made] == [False] * 3
    assert made[1].conclusion.startswith("Failed when it was measured: it was ended after ")


def test_the_block_of_the_document_runs_and_a_result_says_its_sentence(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = AutoInterpret(model=tiny_model, output_dir="exp", max_experiments=50)
    entry = runner.run_experiment(
        name="what comes", fn=lambda: next_token(tiny_model, tiny.PROMPT), hypothesis="MLPs are important"
    )
    expected = next_token(tiny_model, tiny.PROMPT)
    assert entry.result == json.loads(expected.to_json())
    assert entry.conclusion.endswith("Not kept: neither a score nor a hypothesis was declared that it could be held "
                                     "against.")  # fmt: skip
    kept = runner.run_experiment("checked", lambda: {"x": 1}, informative_check=lambda found: found["x"] == 1)
    left = runner.run_experiment("checked", lambda: {"x": 2}, informative_check=lambda found: found["x"] == 1)
    assert (entry.informative, kept.informative, left.informative) == (False, True, False)
    assert runner.is_done is False


def test_another_setup_is_refused(loop, rule, tmp_path):
    loop().run_experiment("one", lambda: {"worth": 1.0})
    with pytest.raises(ArtifactError, match=r"not the one that was sealed at the first run: held_out differs"):
        loop(held_out=["a"])
    with pytest.raises(ArtifactError, match="margin differs"):
        loop(ratchet=Ratchet(rule.metrics, "worth", 0.5, hypotheses=rule.hypotheses))
    (loop().output_dir / "seal.json").unlink()
    with pytest.raises(ArtifactError, match="not the one that was sealed"):
        loop(held_out=["a"])
    runner = loop(output_dir=tmp_path / "by hand")
    runner.log.append(ExperimentEntry(metadata={"measures": {"worth": 99.0}}))
    with pytest.raises(ArtifactError, match="which was not made under any setup"):
        loop(output_dir=tmp_path / "by hand")
    for other in ({"max_experiments": 0}, {"time_per_experiment": 0}):
        with pytest.raises(ArgumentError):
            loop(**other)

    class Elsewhere:
        class device:
            type = "cuda"

    with pytest.raises(UnavailableError, match="a model on cuda"):
        AutoInterpret(Elsewhere())
