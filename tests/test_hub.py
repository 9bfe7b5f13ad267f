"""A hub that is closed, one that is slow, and one that serves a model, asked by huggingface_hub itself."""

import importlib
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
import torch
import transformers.utils.hub
from huggingface_hub import constants

import fluoroscope
import tiny
from fluoroscope import hub
from fluoroscope.errors import LoadError


class Hub(BaseHTTPRequestHandler):
    """Serves the files of `folder` as the repository some/model, each answer after `delay` seconds."""

    folder = Path()
    delay = 0.0

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        time.sleep(self.delay)
        file = self.folder / Path(self.path).name
        if not self.path.startswith("/some/model/resolve/") or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{file.name}"')
        self.send_header("X-Repo-Commit", "c" * 40)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keeps stderr clean."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Makes huggingface_hub ask another host, with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    def point(url: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None, raising=False)  # it keeps the host it was made for
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")

    return point


@pytest.fixture
def closed(endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub at a port where nobody listens; whoever waits to ask it again fails."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint(f"http://127.0.0.1:{port}")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waits for the hub"))


@pytest.fixture
def served(endpoint: Callable[[str], None], tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Hub, "folder", Path(tiny_folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint(f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("name", ["gpt2x", "EleutherAI/pythia-70"])
def test_a_mistyped_name_without_a_network_fails_at_once_and_says_why(name: str) -> None:
    with pytest.raises(LoadError) as error:
        fluoroscope.load(name)
    assert f"cannot load '{name}': no folder and no complete download of that name is here" in str(error.value)
    assert f"{constants.ENDPOINT} cannot be reached (" in str(error.value)
    assert f"hf download {name}'" in str(error.value)


@pytest.mark.usefixtures("closed")
def test_a_tokenizer_without_a_network_fails_at_once(tiny_folder: Path) -> None:
    with pytest.raises(LoadError, match="cannot load the tokenizer"):
        fluoroscope.load(tiny_folder, tokenizer="nobody/nothing")


@pytest.mark.usefixtures("served")
def test_a_slow_or_complaining_hub_is_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.cut_off() is None  # it answers 404
    monkeypatch.setattr(Hub, "delay", 0.2)
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.05)
    assert hub.cut_off() is None


@pytest.mark.parametrize(
    ("name", "off"), [("ConnectError", True), ("ConnectTimeout", True), ("ReadTimeout", False), ("ReadError", False)]
)
def test_no_connection_is_told_from_a_slow_or_broken_one(name: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = huggingface_hub.get_session()
    error = getattr(importlib.import_module(type(session).__module__.partition(".")[0]), name)

    def head(*_: object, **__: object) -> None:
        raise error("as it is")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(session, "head", head)
    assert hub.cut_off() == (f"{constants.ENDPOINT} cannot be reached (as it is)" if off else None)


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: pytest.fail("asked"))
    assert hub.cut_off() == "HF_HUB_OFFLINE=1 forbids to ask the hub"


@pytest.mark.usefixtures("served")
def test_a_model_of_the_hub_loads_and_afterwards_without_it(tiny_folder: Path, request: pytest.FixtureRequest) -> None:
    expected = fluoroscope.load(tiny_folder).trace(tiny.PROMPT).logits
    assert torch.equal(fluoroscope.load("some/model").trace(tiny.PROMPT).logits, expected)
    assert torch.equal(fluoroscope.load("some/model", local_files_only=True).trace(tiny.PROMPT).logits, expected)
    request.getfixturevalue("closed")
    assert torch.equal(fluoroscope.load("some/model").trace(tiny.PROMPT).logits, expected)
    with pytest.raises(LoadError, match=r"Did you mean 'some/model'\?"):
        fluoroscope.load("some/modell")


def test_near_are_embedded_models_and_folders_beside_the_name(tmp_path: Path, tiny_folder: Path) -> None:
    assert hub.near("specimen-lama") == "Did you mean 'specimen-llama'?"
    shutil.copytree(tiny_folder, tmp_path / "my-model")
    (tmp_path / "my-modes").mkdir()  # holds no config.json
    assert hub.near(f"{tmp_path}/my-mode") == f"Did you mean '{tmp_path}/my-model'?"
    with pytest.raises(LoadError, match=r"there is no folder .*/my-mode'\. Did you mean '.*/my-model'\?"):
        fluoroscope.load(f"{tmp_path}/my-mode")
    assert hub.near("zzzz") == "Known: specimen, specimen-llama."
