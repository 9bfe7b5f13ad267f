"""Servers of the tiny model: one in this process without a network, and one on loopback."""

import pytest
from starlette.testclient import TestClient

from fluoroscope.server.app import application
from fluoroscope.server.settings import Settings
from server.labs import serving


@pytest.fixture(scope="session")
def settings(tiny_folder):
    return Settings(model=tiny_folder, port=0, max_tokens=60, waiting=8)


@pytest.fixture(scope="session")
def lab(settings):
    """One server that tests share, and leave idle."""
    with serving(settings) as running:
        yield running


@pytest.fixture(scope="session")
def client(settings):
    with TestClient(application(settings), base_url="http://localhost") as inside:
        assert inside.get("/api/model").status_code == 200
        yield inside
