"""Kills at random moments lose nothing that was acknowledged; `python tests/storm.py` does it 200 times and more."""

import os
import time

import pytest

import storm
from fluoroscope.autointerpret import turn
from fluoroscope.errors import ArgumentError


@pytest.mark.parametrize("kind", storm.KINDS)
def test_a_run_that_is_killed_at_random_ends_as_one_that_was_not(kind, tiny_model, tmp_path):
    found = storm.storm(storm.KINDS[kind], tiny_model, tmp_path, 10, seed=os.getpid())
    assert sum(found.values()) - found["runs"] == 10
    assert found["runs"] >= 1


def test_one_process_makes_experiments_at_a_time_and_what_it_is_at_is_told(tmp_path, monkeypatch):
    assert turn.state(tmp_path) == "idle"
    note, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with turn.turn(tmp_path), turn.at(tmp_path, "0001-x"):
            os.write(note[1], b"x")
            os.read(done[0], 1)
            os._exit(0)  # as a kill: nothing is cleared up
    os.read(note[0], 1)
    assert turn.state(tmp_path) == "running: 0001-x"
    monkeypatch.setattr(turn, "_PATIENCE", 0.1)
    with pytest.raises(ArgumentError, match="another process makes experiments"), turn.turn(tmp_path):
        pass
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    assert turn.state(tmp_path) == "interrupted: 0001-x was not finished"
    began = time.monotonic()
    with turn.turn(tmp_path), turn.at(tmp_path, "0001-x"):
        assert time.monotonic() - began < 0.1
    assert turn.state(tmp_path) == "idle"
    for end in (*note, *done):
        os.close(end)
