"""The lab's kept runs are those of the store that the command line and Python read and write."""

import json

import pytest
from starlette.testclient import TestClient

import tiny
from fluoroscope import registry
from fluoroscope.server.app import application
from fluoroscope.server.runs import Runs
from fluoroscope.server.settings import Settings
from fluoroscope.store import VARIABLE, Store, permalink

TOKEN = "a-token-of-many-characters"


def test_page_python_and_command_line_share_one_store(tiny_folder, tiny_model, tmp_path):
    store = Store(tmp_path / "runs.sqlite")
    lens = registry.run("logit_lens", tiny_model, prompt=tiny.PROMPT)
    first = store.keep(lens)
    settings = Settings(model=tiny_folder, store=str(store.path))
    with TestClient(application(settings), base_url="http://localhost") as client:
        listed = client.get("/api/runs").json()
        assert [run["id"] for run in listed] == [first.id]
        shown = client.get(f"/api/runs/{first.short}").json()
        assert shown["result"] == json.loads(lens.to_json())
        assert shown["views"] == json.loads(json.dumps([view.model_dump(mode="json") for view in lens.views()]))
        assert (shown["title"], shown["summary"]) == (lens.title(), lens.summary())

        answer = client.post("/api/analyses/next-token", json={"prompt": tiny.PROMPT}).json()
        kept = client.post("/api/runs", json=answer["result"]).json()
        assert kept["id"] == permalink(answer["result"])
        assert client.post("/api/runs", json=answer["result"]).json() == kept
        assert [run.id for run in store.runs()] == [kept["id"], first.id]
        assert json.loads(store.open(kept["id"]).to_json()) == answer["result"]

        wrong = answer["result"] | {"position": "first"}
        for data, message in ((wrong, "damaged: position"), ({"result": "Nothing"}, "which nothing here makes")):
            refused = client.post("/api/runs", json=data)
            assert (refused.status_code, message in refused.json()["message"]) == (422, True)
        missing = client.get("/api/runs/00zz")
        assert (missing.status_code, missing.json()["error"]) == (404, "run")
        assert kept["id"][:12] in missing.json()["hint"]
        assert len(store.runs()) == 2


@pytest.mark.parametrize(
    ("given", "variable", "there"),
    [
        ({}, None, "own"), ({}, "off", None), ({}, "named", "named"), ({"store": "off"}, None, None),
        ({"store": "named"}, "off", "named"),
        ({"host": "lab.example", "token": TOKEN}, None, None),
        ({"host": "lab.example", "token": TOKEN}, "named", "named"),
    ],
)  # fmt: skip
def test_others_see_a_store_only_if_it_is_named(given, variable, there, monkeypatch, tmp_path):
    paths = {"own": tmp_path / "fluoroscope" / "runs.sqlite", "named": tmp_path / "named", "off": "off", None: None}
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    environ = {} if variable is None else {VARIABLE: str(paths[variable])}
    monkeypatch.delenv(VARIABLE) if variable is None else monkeypatch.setenv(VARIABLE, environ[VARIABLE])
    given = {name: str(paths[value]) if name == "store" else value for name, value in given.items()}
    found = Runs(Settings.read(environ, **given))
    assert (None if found._store is None else found._store.path) == paths[there]
    assert found.listed() == []


def test_a_lab_without_a_store_says_so(client):
    assert client.get("/api/runs").json() == []
    refused = client.get("/api/runs/ab")
    assert (refused.status_code, refused.json()["hint"]) == (404, "Start it with --store FILE.")
    assert client.post("/api/runs", json={"result": "NextToken"}).status_code == 404
