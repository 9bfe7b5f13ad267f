"""Whoever pauses the collector leaves it as it was."""

import gc

import pytest

from fluoroscope.collector import paused
from fluoroscope.errors import LoadError
from fluoroscope.loading import load


@pytest.fixture(params=[True, False])
def enabled(request):
    before = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if before else gc.disable)()


def test_nothing_is_collected_inside_and_all_is_as_before_outside(enabled):
    with paused():
        assert not gc.isenabled()
    assert gc.isenabled() is enabled


def test_loading_leaves_it_as_it_was(enabled):
    load()
    assert gc.isenabled() is enabled
    with pytest.raises(LoadError):
        load("no such folder")
    assert gc.isenabled() is enabled
