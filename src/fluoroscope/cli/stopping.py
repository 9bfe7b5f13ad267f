"""Ctrl-C while something is computed: a sweep ends between two blocks, and tells what it has."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click

from fluoroscope.progress import Listener, listening

SWEEP = "sweep"
"""What work that can tell what it has reports itself as."""


@contextmanager
def stoppable(shown: Listener | None = None) -> Generator[None]:
    """Passes progress on to `shown`, and makes the first Ctrl-C during a sweep cancel it.

    Anywhere else, and the second time, Ctrl-C ends the command at once, as ever.
    """
    sweeping = asked = False

    def listen(label: str, done: int, total: int | None) -> bool:
        nonlocal sweeping
        if label == SWEEP:
            sweeping = done != total
        if shown is not None:
            shown(label, done, total)
        return not asked

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked or not sweeping:
            raise KeyboardInterrupt
        asked = True
        click.echo("stopping; Ctrl-C once more ends it at once", err=True)

    with listening(listen):
        if threading.current_thread() is not threading.main_thread():  # which alone hears signals
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
