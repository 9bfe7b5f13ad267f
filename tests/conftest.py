"""Fixtures for all tests: one small saved model per session."""

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Where the tiny character model lies."""
    import tiny

    return tiny.save(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_model(tiny_folder):
    """The tiny character model under the X-ray."""
    from fluoroscope.loading import load

    return load(tiny_folder)
