"""The three files: a setup that is sealed, an experiment that is free, a log that grows; on the embedded model."""

import json
import re
from pathlib import Path

import pytest

import fluoroscope
from fluoroscope.autointerpret import Investigation
from fluoroscope.autointerpret import folder as module
from fluoroscope.cli.main import outcome
from fluoroscope.errors import ArgumentError, ArtifactError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ratchet"

SETUP = '''"""A setup without a model."""

from fluoroscope.autointerpret import Hypothesis, MetricRegistry

SCORE, MAX_EXPERIMENTS, SECONDS, MEGABYTES = "right", 6, 5, 256
METRICS = MetricRegistry()
METRICS.register("right", lambda model, found, pairs: sum(found["guess"] * one == model for one in pairs))
HYPOTHESES = {"never": Hypothesis("Nothing is right twice.", lambda seen: seen["right"] < 2)}


def load():
    return 6


def prompts(model):
    return ["seen"]


def held_out(model):
    return [2, 3, 3]
'''
EXPERIMENT = '''"""Guesses."""

NAME, HYPOTHESIS = "guess", "one of them"


def run(model, prompts, *, guess=0):
    """A guess."""
    print("looking at", prompts)
    if guess == 1:
        raise KeyError("no ones")
    return {"guess": guess, "conclusion": f"It is {guess}."}


def propose(history):
    tried = [entry["metadata"]["parameters"].get("guess") for entry in history]
    left = [guess for guess in (0, 1, 3, 2) if guess not in tried]
    return {"parameters": {"guess": left[0]}} if left else None
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "setup.py").write_text(SETUP)
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    return tmp_path


def test_what_is_proposed_is_made_once_in_a_process_of_its_own_and_goes_on_where_it_stopped(folder):
    first = list(Investigation(folder).run(at_most=2))
    assert [entry.metadata["parameters"]["guess"] for entry in first] == [0, 1]
    assert first[0].metadata["output"] == "looking at ['seen']\n"
    assert "KeyError: 'no ones'" in first[1].metadata["error"]["message"]
    archived = folder / first[1].metadata["code"]
    assert f'File "{archived}", line 10, in run' in first[1].metadata["error"]["traceback"]
    assert archived.read_text() == EXPERIMENT
    rest = list(Investigation(folder).run())
    assert [(entry.informative, entry.metadata["measures"]["right"]) for entry in rest] == [(True, 1.0), (True, 2.0)]
    assert rest[1].metadata["ruled_out"] == ["never"]
    assert rest[0].conclusion == "It is 3. Kept: right 1.000 on held-out prompts, against 0 of " + (
        f"{first[0].experiment_id}, by +1.000."
    )
    reworded = EXPERIMENT.replace("A guess.", "Other words.").replace("    return {", "    # so it is\n    return {")
    (folder / "experiment.py").write_text(reworded)
    assert list(Investigation(folder).run()) == []  # the same code, in other words
    (folder / "experiment.py").write_text(EXPERIMENT.replace("guess=0", "guess=2").partition("\n\ndef propose")[0])
    assert [entry.informative for entry in Investigation(folder).run()] == [False]
    found = module.status(folder)
    assert (found["experiments"], found["setup"], found["state"]) == (5, "as sealed", "idle")
    assert found["best"] == {"experiment": rest[1].experiment_id, "right": 2.0}
    (folder / "experiment.py").write_text(EXPERIMENT.replace("(0, 1, 3, 2)", "(7, 8)"))
    assert len(list(Investigation(folder).run())) == 1
    with pytest.raises(ArgumentError, match="6 experiments were made, and no more than 6 may be"):
        list(Investigation(folder).run())


def test_a_setup_that_was_sealed_is_held_to_it_before_any_of_it_is_run(folder):
    investigation = Investigation(folder)
    assert module.status(folder)["setup"] == "not sealed yet"
    assert investigation.step() is not None
    (folder / "setup.py").write_text(f"import pathlib\npathlib.Path({str(folder / 'ran')!r}).touch()\n{SETUP}")
    for again in (investigation.step, lambda: Investigation(folder)):
        with pytest.raises(ArtifactError, match=r"was changed while it was in use|not the one that was sealed"):
            again()
    assert module.status(folder)["setup"] == "changed since"
    (folder / "seal.json").unlink()
    with pytest.raises(ArtifactError, match="not the one that was sealed"):  # the log knows its setup as well
        Investigation(folder).step()
    (folder / "ran").unlink()
    (folder / "setup.py").write_text(SETUP)
    with pytest.raises(ArtifactError, match="not the one that was sealed"):  # a seal does not come back by itself
        Investigation(folder).step()
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("setup.py", "def load", "def lode", r"setup.py has no function 'load'. Did you mean 'lode'"),
        ("setup.py", "METRICS = ", "METRIX = METRICS = None or ", None),
        ("setup.py", "import Hypothesis", "import Hypothese", "cannot be run: ImportError"),
        ("setup.py", 'SCORE, MAX', 'SCOR, MAX', None),
        ("setup.py", '"right", 6', '"wrong", 6', "the score 'wrong' is no metric"),
        ("experiment.py", "def run", "def ran", "experiment.py has no function 'run'"),
        ("experiment.py", "def propose(history):", "def propose(history):\n    return {'what': 1}", "gave 'what'"),
        ("experiment.py", "def propose(history):", "def propose(history):\n    1 / 0", r"to do: ZeroDivision.*line"),
        ("experiment.py", "def run", "def run run", "cannot be read as Python.*line 6"),
    ],
)  # fmt: skip
def test_files_that_say_what_cannot_be_are_told(folder, file, old, new, says):
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    if says is None:
        assert Investigation(folder).step() is not None
        return
    if "ran" in new:
        made = Investigation(folder).step()
        assert says in made.metadata["error"]["message"]
        return
    with pytest.raises(ArgumentError, match=says):
        Investigation(folder).step()
    assert not (folder / "results.jsonl").exists() or not (folder / "results.jsonl").read_bytes()


def test_a_model_elsewhere_is_loaded_by_each_experiment_itself(folder):
    note = f"with open({str(folder / 'loads')!r}, 'a') as file:\n        file.write('x')"
    setup = SETUP.replace("return 6", f"{note}\n    return 6")
    (folder / "setup.py").write_text(setup)
    list(Investigation(folder).run(at_most=1))
    assert (folder / "loads").read_text() == "x"  # here, for both children
    (folder / "loads").unlink()
    other = folder / "other"
    other.mkdir()
    (other / "setup.py").write_text(setup + '\nDEVICE = "elsewhere"\n')
    (other / "experiment.py").write_text(EXPERIMENT)
    investigation = Investigation(other)
    assert investigation.step().metadata["measures"] == {"right": 0.0}
    assert (folder / "loads").read_text() == "xx"  # in the child that makes it and in the child that measures
    assert not investigation._held


def test_the_example_goes_on_by_what_it_found_and_the_command_line_tells_it(folder, tmp_path, monkeypatch, capfd):
    model = fluoroscope.load()
    monkeypatch.setattr(fluoroscope, "load", lambda *_args, **_options: model)
    where = tmp_path / "example"
    where.mkdir()
    for path in EXAMPLE.glob("*.*"):
        text = path.read_text().replace("model, 24).pairs[:8]", "model, 3).pairs[:1]").replace("WIDTH = 6", "WIDTH = 2")
        (where / path.name).write_text(text.replace("model, 24).pairs[8:]", "model, 3).pairs[1:]"))
    assert outcome(["ratchet", "run", str(where), "--limit", "3", "--json"]) == 0
    entries = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(entries) == 3
    kept = [entry for entry in entries if entry["informative"]]
    worth = [entry["metadata"]["measures"]["worth"] for entry in kept]
    assert worth == sorted(worth)
    assert len(kept) >= 2
    assert all(len(entry["result"]["heads"]) == entry["metadata"]["measures"]["heads"] for entry in entries)
    assert outcome(["ratchet", "status", str(where)]) == 0
    told = capfd.readouterr().out
    assert re.search(r"experiments: 3 of at most \d+, \d kept, 0 failed", told)
    assert f"best: worth {worth[-1]:.3f} ({kept[-1]['experiment_id']})" in told
    with (where / "results.jsonl").open("ab") as file:
        file.write(b'{"experiment_id": "00')
    (where / "running.json").write_text('{"experiment": "0004-x"}')
    assert outcome(["ratchet", "status", str(where)]) == 0
    told = capfd.readouterr().out
    assert "[!] 21 bytes of a last line that was cut off are no experiment" in told
    assert "now: interrupted: 0004-x was not finished" in told
    assert outcome(["ratchet", "status", str(tmp_path / "nothing")]) == 2
    assert "fluoro ratchet init" in capfd.readouterr().err
