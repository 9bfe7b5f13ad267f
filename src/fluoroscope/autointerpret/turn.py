"""Whose turn it is in a folder: one process makes experiments at a time, and what it is at is told honestly."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError, ArtifactError

try:
    import fcntl
except ImportError:  # Windows, where experiments are refused anyway
    fcntl = None

_LOCK, _NOW = "run.lock", "running.json"
_PATIENCE = 3.0  # seconds: an experiment outlives a process that was killed by a moment, and holds its lock


@contextmanager
def turn(folder: Path) -> Generator[None]:
    """Holds the folder for this process, and for no other one.

    Raises:
        ArgumentError: another process makes experiments there.
    """
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        patience = time.monotonic() + _PATIENCE
        while not _taken(file):
            if time.monotonic() < patience:
                time.sleep(0.05)
                continue
            raise ArgumentError(
                f"another process makes experiments in {str(folder)!r}", "Wait for it, or make a folder of your own."
            )
        yield
    finally:
        os.close(file)


@contextmanager
def at(folder: Path, name: str) -> Generator[None]:
    """Says which experiment is being made; what a kill leaves of it tells that it was interrupted."""
    path = folder / _NOW
    artifact.write_json(path, {"experiment": name, "since": time.time(), "process": os.getpid()})
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def state(folder: Path) -> str:
    """'idle', or which experiment is running, or was interrupted."""
    path = folder / _NOW
    if not path.exists():
        return "idle"
    try:
        name = artifact.read_json(path)["experiment"]
    except ArtifactError:  # it ended between the two looks
        return "idle"
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        return f"interrupted: {name} was not finished" if _taken(file) else f"running: {name}"
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    """Whether the lock is ours now."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
