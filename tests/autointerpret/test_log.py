"""Entries as the mlxterp document has them, in a file that says what is wrong with it."""

import inspect
import json

import pytest

from fluoroscope.autointerpret import ExperimentEntry, ExperimentLog
from fluoroscope.errors import ArgumentError, ArtifactError


def test_the_block_of_the_document_runs(tmp_path):
    log = ExperimentLog(str(tmp_path / "results.jsonl"))
    assert (log.entries(), log.count, log.summary()) == ([], 0, "No experiments yet.")
    log.append(ExperimentEntry(hypothesis="H1", method="patching", conclusion="Found it"))
    log.append(ExperimentEntry(method="\x1b[2J", informative=False, metadata={"error": {"kind": "time"}}))
    first, second = log.entries()
    assert (first.hypothesis, first.method, first.conclusion, first.informative) == ("H1", "patching", "Found it", True)
    assert log.informative_entries() == [first]
    assert first.experiment_id != second.experiment_id
    assert json.loads(first.to_json()) == first.to_dict()
    head, one, other = log.summary().splitlines()
    assert head == "2 experiments: 1 kept, 1 failed, 0.0 s."
    assert one == f"[+] {first.experiment_id} patching: Found it"
    assert other.startswith("[!] ")
    assert "\x1b" not in other


def test_fields_and_defaults_are_those_of_the_document():
    given = {name: one.default for name, one in inspect.signature(ExperimentEntry).parameters.items()}
    assert [*given] == ["experiment_id", "hypothesis", "method", "result", "informative", "conclusion", "timestamp",
                        "duration_seconds", "metadata"]  # fmt: skip
    assert given["informative"] is True


def test_torn_and_damaged_lines_are_told(tmp_path):
    log = ExperimentLog(tmp_path / "results.jsonl")
    for name in ("one", "two"):
        log.append(ExperimentEntry(experiment_id=name))
    with pytest.raises(ArgumentError, match="holds an experiment 'two' already"):
        log.append(ExperimentEntry(experiment_id="two"))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-40])
    assert [entry.experiment_id for entry in log.entries()] == ["one"]
    assert f"{len(log.torn)} bytes of a last line that was cut off" in log.summary()
    log.append(ExperimentEntry(experiment_id="three"))
    assert [entry.experiment_id for entry in log.entries()] == ["one", "three"]
    log.path.write_bytes(b"{}\n" + whole)
    with pytest.raises(ArtifactError, match="line 1 was not written by Fluoroscope"):
        log.entries()
    assert (log.sound(), log.damage != "") == ([], True)
