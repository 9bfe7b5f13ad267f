"""A new folder runs as it is, whatever the question says."""

import inspect
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import fluoroscope
from fluoroscope.autointerpret import Investigation, init_autointerpret
from fluoroscope.cli.main import outcome
from fluoroscope.errors import ArgumentError

HOSTILE = "Why \"{x}\" ''' @MODEL@ \\ `rm`\n# Question\n\x1b[31m?"


def test_the_signature_is_that_of_the_document():
    made = {name: one.default for name, one in inspect.signature(init_autointerpret).parameters.items()}
    assert made == {
        "output_dir": "autointerpret", "model_name": "specimen",
        "research_question": "How does this model recall factual associations?", "max_experiments": 100,
    }  # fmt: skip


def test_it_makes_the_files_of_the_document_and_they_run(tmp_path, monkeypatch, capfd):
    path = Path(init_autointerpret(tmp_path / "my", "specimen", HOSTILE, 2))
    names = sorted(each.name for each in path.iterdir())
    assert names == ["AGENTS.md", "experiment.py", "findings", "program.md", "results.jsonl", "setup.py"]
    assert "> # Question" in (path / "program.md").read_text()
    setup = (path / "setup.py").read_text().replace("model, 24).pairs[:8]", "model, 4).pairs[:1]")
    (path / "setup.py").write_text(setup.replace("model, 24).pairs[8:]", "model, 4).pairs[1:]"))
    model = fluoroscope.load()
    monkeypatch.setattr(fluoroscope, "load", lambda *_args, **_options: model)
    made = list(Investigation(path).run())
    assert [len(entry.result["heads"]) for entry in made] == [1, 2]  # two of five, which is all that may be
    assert not any(entry.failed for entry in made)
    seal = json.loads((path / "seal.json").read_text())
    assert seal["about"]["question"] == HOSTILE
    assert outcome(["ratchet", "status", str(path)]) == 0
    assert "\x1b" not in capfd.readouterr().out
    with pytest.raises(ArgumentError, match=r"is not empty: it holds 'AGENTS\.md'"):
        init_autointerpret(path)
    with pytest.raises(ArgumentError, match="at least one experiment"):
        init_autointerpret(tmp_path / "other", max_experiments=0)
    assert outcome(["ratchet", "init", str(tmp_path / "cli"), "--question", "Why?"]) == 0
    assert "QUESTION = 'Why?'" in (tmp_path / "cli" / "setup.py").read_text()


def test_an_agent_that_has_only_the_tools_gets_a_folder_and_its_status(tmp_path, capfd):
    assert outcome(["ratchet", "tools"]) == 0
    tools = {tool["name"]: tool for tool in json.loads(capfd.readouterr().out)}
    assert list(tools) == ["ratchet_init", "ratchet_run", "ratchet_status"]

    def call(name, given):
        """As a harness would: the input checked by the schema, then the words of the command."""
        schema = tools[name]["input_schema"]
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(given)
        words = []
        for word in tools[name]["command"]:
            parts = [word] if isinstance(word, str) else word
            if isinstance(word, str) or parts[-1][1:-1] in given:
                words += [part.format(**given) for part in parts]
        assert words[0] == "fluoro"
        return outcome(words[1:])

    folder = str(tmp_path / "a folder")
    assert call("ratchet_init", {"folder": folder, "question": "Which heads; and why?", "max_experiments": 3}) == 0
    assert call("ratchet_status", {"folder": folder}) == 0
    assert json.loads(capfd.readouterr().out)["experiments"] == 0
    assert "MAX_EXPERIMENTS = 3" in (Path(folder) / "setup.py").read_text()
    limit = tools["ratchet_run"]["input_schema"]["properties"]["limit"]
    assert (limit["type"], limit["minimum"]) == ("integer", 1)
    for wrong in ({}, {"folder": folder, "limit": 0}, {"folder": folder, "more": 1}):
        assert not Draft202012Validator(tools["ratchet_run"]["input_schema"]).is_valid(wrong)
    (Path(folder) / "experiment.py").write_text("def run(model, prompts):\n    return {'heads': 3 / 0}\n")
    (Path(folder) / "setup.py").write_text(
        (Path(folder) / "setup.py")
        .read_text()
        .replace("model, 24)", "model, 2)")
        .replace("[:8]", "[:1]")
        .replace("[8:]", "[1:]")
    )
    assert call("ratchet_run", {"folder": folder, "limit": 1}) == 0
    entry = json.loads(capfd.readouterr().out)
    assert "ZeroDivisionError" in json.dumps(entry)
