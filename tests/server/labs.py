"""Real servers on loopback that stop by themselves, and how to talk to them."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from websockets.sync.client import ClientConnection, connect

from fluoroscope.server import serve
from fluoroscope.server.app import Routes
from fluoroscope.server.gate import Gate
from fluoroscope.server.models import Models
from fluoroscope.server.settings import Settings

PATIENCE = 20.0


def routes_of(gate: Gate) -> list[Any]:
    return gate.app.routes


def models_of(gate: Gate) -> Models:
    """What the application of a server asks."""
    owner = routes_of(gate)[0].endpoint.__self__
    assert isinstance(owner, Routes)
    return owner.models


@dataclass
class Lab:
    """A server under test."""

    port: int
    models: Models
    gate: Gate
    server: uvicorn.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def socket(self, path: str = "/api/session", **options: Any) -> ClientConnection:
        options = {"open_timeout": PATIENCE, "max_size": None, "compression": None, **options}
        return connect(f"ws://127.0.0.1:{self.port}{path}", **options)


@contextmanager
def serving(settings: Settings, room: int | None = None) -> Iterator[Lab]:
    """A server on a free port of loopback; `room`: bytes that the system keeps for who reads slowly, either way."""
    config = serve.config(settings)
    gate = config.app
    assert isinstance(gate, Gate)
    with serve._bound(settings) as listening:
        if room is not None:
            for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                listening.setsockopt(socket.SOL_SOCKET, buffer, room)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        models = models_of(gate)
        wait_for(lambda: server.started and (models.loaded is not None or models.trouble is not None))
        try:
            yield Lab(listening.getsockname()[1], models, gate, server)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def wait_for(true: Any, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def heard(socket: ClientConnection, *last: str, run: str | None = None) -> list[Any]:
    """Messages up to the first of one of these types (of a run, if named); bytes as they are."""
    found: list[Any] = []
    while True:
        message = socket.recv(timeout=PATIENCE)
        found.append(message if isinstance(message, bytes) else json.loads(message))
        told = found[-1]
        if isinstance(told, dict) and told["type"] in last and run in (None, told.get("run")):
            return found


class Held:
    """A model that stops once behind its first block, until it is let go; how often its last block ran is counted."""

    def __init__(self, models: Models) -> None:
        model = models.loaded
        assert model is not None
        self.models, self.entered, self.go, self.ran = models, threading.Event(), threading.Event(), 0
        self._handles = [
            model.blocks[0].register_forward_hook(self._stop),
            model.blocks[-1].register_forward_pre_hook(self._count),
        ]

    def _stop(self, *_: Any) -> None:
        self.entered.set()
        assert self.go.wait(PATIENCE)

    def _count(self, *_: Any) -> None:
        self.ran += 1

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        wait_for(lambda: self.models.desk.length == 0)
        for handle in self._handles:
            handle.remove()


def hooks(models: Models) -> int:
    """How many hooks the model has."""
    assert models.loaded is not None
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in models.loaded.hf.modules())
