"""Which model is looked into, what becomes of one that cannot be loaded, and what is not done for strangers."""

import json
import shutil

import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM

import tiny
from fluoroscope import registry
from fluoroscope.loading import load
from fluoroscope.server.answers import Refused
from fluoroscope.server.app import application
from fluoroscope.server.models import Models
from fluoroscope.server.settings import Settings
from server.labs import heard, models_of, serving, wait_for

OWN = [(name, item) for name, spec in sorted(registry.specs().items()) for item in spec.parameters if item.file]
"""Every parameter of any analysis that has to do with a file or a model."""


@pytest.fixture
def two(tiny_folder, tmp_path):
    """A server that may change to a copy of its model, and to one that is not there."""
    with serving(several(tiny_folder, tmp_path, held=1)) as lab:
        yield lab


def several(tiny_folder, tmp_path, **more):
    """Settings with a copy of the model to change to, and one that is not there."""
    shutil.copytree(tiny_folder, tmp_path / "other")
    return Settings(model=tiny_folder, models=(str(tmp_path / "other"), str(tmp_path / "gone")), port=0, **more)


def ask(client, name, **arguments):
    return client.post(f"/api/analyses/{name}", json=arguments)


@pytest.mark.parametrize(("name", "item"), OWN, ids=[f"{name}-{item.name}" for name, item in OWN])
def test_a_file_of_the_servers_machine_is_neither_read_nor_written(client, name, item, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary.json").write_text("canary-in-a-file", encoding="utf8")
    given = {other.name: "a" for other in registry.get(name).parameters if other.required and other.type == "str"}
    given |= {other.name: ["a"] for other in registry.get(name).parameters if other.required and "list" in other.type}
    for path in ("canary.json", str(tmp_path / "canary.json"), "../canary.json", "new.safetensors", "/dev/fd/0"):
        answer = ask(client, name, **(given | {item.name: path}))
        assert answer.status_code == (422 if item.file == ".json" else 403), answer.text
        assert "canary-in-a-file" not in answer.text
    assert [path.name for path in tmp_path.iterdir()] == ["canary.json"]


def test_models_change_with_progress_and_one_that_cannot_be_loaded_changes_nothing(two, tmp_path):
    other, gone = (str(tmp_path / name) for name in ("other", "gone"))
    first = two.models.loaded
    with two.socket() as page:
        page.send(json.dumps({"type": "live", "run": "r0", "prompt": "abc"}))
        heard(page, "done")
        for run, name, error in (("r1", gone, "model"), ("r2", "/etc", "model"), ("r3", "../other", "model")):
            page.send(json.dumps({"type": "model", "run": run, "name": name}))
            refused = heard(page, "error")[-1]
            assert (refused["run"], refused["error"]) == (run, error)
            assert two.models.loaded is first
        page.send(json.dumps({"type": "model", "run": "r4", "name": other}))
        said = heard(page, "done")
        assert ("loading", 1) in [(m["label"], m["total"]) for m in said if m["type"] == "progress"]
        assert two.models.name == other
        page.send(json.dumps({"type": "need", "run": "r5", "of": "r0", "layer": 0, "head": 0}))
        assert heard(page, "error")[-1]["error"] == "message"  # of the model before
        page.send(json.dumps({"type": "run", "run": "r6", "analysis": "next-token", "arguments": {"prompt": "abc"}}))
        assert heard(page, "result")[-1]["result"]["recipe"]["model"] == other
    assert not first.plugs.handles or not any(handle.hooks_dict_ref() for handle in first.plugs.handles)


def test_a_run_may_name_another_model_and_both_stay(tiny_folder, tmp_path):
    """Each run is of the model that it names; the one that all see is another matter."""
    other = str(tmp_path / "other")
    settings = several(tiny_folder, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(other)
    with torch.no_grad():
        loaded.get_input_embeddings().weight.copy_(loaded.get_input_embeddings().weight.flip(0))
    loaded.save_pretrained(other)
    expected = {name: registry.run("next_token", load(name), prompt="abc").summary() for name in (tiny_folder, other)}
    assert len(set(expected.values())) == 2
    with serving(settings) as lab, lab.socket() as page:
        first = lab.models.loaded
        for number, name in enumerate([None, other, tiny_folder, other]):
            named = {} if name is None else {"model": name}
            page.send(json.dumps({"type": "live", "run": f"l{number}", "prompt": "abc", **named}))
            (begun,) = [m for m in heard(page, "done") if isinstance(m, dict) and m["type"] == "tokens"]
            asked = {"type": "run", "run": f"r{number}", "analysis": "next-token", "arguments": {"prompt": "abc"}}
            page.send(json.dumps({**asked, **named}))
            answer = heard(page, "result")[-1]
            assert (begun["model"], answer["result"]["recipe"]["model"]) == (name or tiny_folder,) * 2
            assert answer["summary"] == expected[name or tiny_folder]
            assert lab.models.loaded is first
        assert lab.models.held == [tiny_folder, other]
        for wrong in ("/etc", "../other"):
            page.send(json.dumps({"type": "live", "run": "w", "prompt": "abc", "model": wrong}))
            assert heard(page, "error")[-1]["error"] == "model"


def test_the_model_used_longest_ago_is_given_up_and_never_the_one_that_all_see(tiny_folder, tmp_path):
    models = Models(several(tiny_folder, tmp_path))
    first, other = models.ready(), models.ready(str(tmp_path / "other"))
    specimen = models.ready("specimen")
    assert models.held == [tiny_folder, "specimen"]
    assert models.ready() is first
    assert not any(handle.hooks_dict_ref() for handle in other.plugs.handles)  # closed
    assert any(handle.hooks_dict_ref() for handle in first.plugs.handles)
    with pytest.raises(Refused, match="gone"):
        models.ready(str(tmp_path / "gone"))
    assert models.loaded is first
    assert models.ready("specimen-llama") is not specimen
    alone = Models(Settings(model=tiny_folder, held=1))
    with pytest.raises(Refused, match="one model at a time"):
        alone.ready("specimen")


def test_a_model_changes_over_http(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "other")
    gate = application(Settings(model=tiny_folder, models=(str(tmp_path / "other"),)))
    with TestClient(gate, base_url="http://localhost") as client:
        before = client.get("/api/model").json()
        assert before["name"] == tiny_folder
        assert before["choices"] == [tiny_folder, "specimen", "specimen-llama", str(tmp_path / "other")]
        assert before["about"]["n_layers"] == 2
        assert client.post("/api/model", json={"name": "elsewhere"}).status_code == 403
        for wrong in ({}, {"name": 3}, {"name": tiny_folder, "force": True}):
            assert client.post("/api/model", json=wrong).status_code == 422
        assert client.get("/api/model").json() == before
        after = client.post("/api/model", json={"name": str(tmp_path / "other")}).json()
        assert after["name"] == str(tmp_path / "other")


def test_a_start_without_its_model_is_told_and_may_be_mended(tmp_path, tiny_folder):
    folder = tmp_path / "model"
    gate = application(Settings(model=str(folder)))
    with TestClient(gate, base_url="http://localhost") as client:
        wait_for(lambda: models_of(gate).trouble is not None)
        ready = client.get("/api/ready")
        assert ready.status_code == 503
        assert (ready.json()["ready"], ready.json()["error"]) == (False, "model")
        assert str(folder) in ready.json()["message"]
        assert client.get("/api/health").json()["ready"] is False
        assert client.get("/api/model").status_code in (422, 503)
        assert ask(client, "next-token", prompt="abc").status_code == 503
        shutil.copytree(tiny_folder, folder)
        assert ask(client, "next-token", prompt="abc").status_code == 200
        assert client.get("/api/ready").json() == {"ready": True}
        assert client.get("/api/model").json()["name"] == str(folder)


def test_until_the_model_is_there_it_is_not_ready_and_healthy(tiny_folder, monkeypatch):
    import threading

    from fluoroscope import loading

    load, go = loading.load, threading.Event()
    monkeypatch.setattr(loading, "load", lambda *given, **named: (go.wait(10), load(*given, **named))[1])
    with TestClient(application(Settings(model=tiny_folder)), base_url="http://localhost") as client:
        assert client.get("/api/ready").json()["error"] == "loading"
        assert client.get("/api/ready").status_code == 503
        assert client.get("/api/health").json()["status"] == "ok"
        go.set()
        assert client.get("/api/model").json()["name"] == tiny_folder
        assert client.get("/api/ready").status_code == 200


@pytest.mark.parametrize(("count", "status"), [(59, 200), (60, 200), (61, 413), (63, 413), (500, 413), (9000, 413)])
def test_a_prompt_is_as_long_as_it_may_be(client, count, status):
    text = (tiny.CHARACTERS * 200)[:count]
    for answer in (
        ask(client, "next-token", prompt=text),
        client.post("/api/analyze", json={"prompt": text, "attention": False}),
    ):
        if status == 413 and count > 64:
            assert answer.status_code in (413, 422)  # more than the model reads is no prompt at all
        else:
            assert answer.status_code == status
        if status == 413:
            assert str(count) in answer.json()["message"]
            assert answer.json()["hint"]


def test_patterns_have_as_many_cells_as_they_may(tiny_folder):
    gate = application(Settings(model=tiny_folder, max_cells=6 * 100))
    with TestClient(gate, base_url="http://localhost") as client:
        assert ask(client, "next-token", prompt="a" * 10).status_code == 200
        refused = ask(client, "next-token", prompt="a" * 11)
        assert refused.status_code == 413
        assert "726 cells, 600 at most" in refused.json()["message"]


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "next_token/../x", "__init__", "..", "next-token\x00", "é", "a" * 300]
)
def test_names_are_not_paths(client, name):
    from urllib.parse import quote

    assert client.post(f"/api/analyses/{quote(name, safe='')}", json={"prompt": "a"}).status_code in (404, 405)
