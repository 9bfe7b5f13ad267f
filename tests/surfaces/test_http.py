"""Every analysis over HTTP and over its WebSocket says what Python says."""

import importlib
import json

import pytest
from starlette.testclient import TestClient

from fluoroscope import registry
from fluoroscope.server.app import application
from fluoroscope.server.settings import Settings
from surfaces.test_cli import values


@pytest.fixture(scope="module")
def client(tiny_folder):
    with TestClient(application(Settings(model=tiny_folder)), base_url="http://localhost") as inside:
        yield inside


def heard(client, name, arguments):
    found = []
    with client.websocket_connect(f"ws://localhost/api/analyses/{name}") as socket:
        socket.send_text(json.dumps(arguments))
        while not found or found[-1]["type"] in ("progress", "partial"):
            found.append(socket.receive_json())
    return found


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_http_and_its_socket_give_what_python_gives(name, client, tiny_model):
    spec, given = registry.get(name), values(name)
    answer = client.post(f"/api/analyses/{spec.command}", json=given)
    told = heard(client, name, given)[-1]
    files = [item.name for item in spec.parameters if item.required and item.file in ("input", "output")]
    if files:  # over a network nobody names files of this machine
        assert (answer.status_code, answer.json()["error"], told["error"]) == (403, "file", "file")
        return
    assert answer.status_code == 200, answer.text
    expected = getattr(importlib.import_module(spec.module), name)(tiny_model, **given)
    found = answer.json()
    again = type(expected).from_json(json.dumps(found["result"]))
    assert again.model_copy(update={"call": None}) == expected
    assert again.call.analysis == name
    assert (found["title"], found["summary"]) == (expected.title(), expected.summary())
    assert found["views"] == json.loads(json.dumps([view.model_dump(mode="json") for view in expected.views()]))
    assert told == {"type": "result", **found}
