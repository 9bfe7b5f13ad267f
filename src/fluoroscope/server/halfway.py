"""What a run has found so far, told while it goes on: not oftener than is cheap, and of each run the newest alone."""

import time
from collections.abc import Callable
from typing import TypeVar

from fluoroscope.errors import Cancelled, FluoroscopeError
from fluoroscope.progress import so_far
from fluoroscope.result import Result
from fluoroscope.server import journal
from fluoroscope.server.channel import Channel
from fluoroscope.server.wording import shown, written

T = TypeVar("T")

PAUSE = 0.15
"""Seconds before the first telling, and at least between two."""
_SHARE = 4  # a telling is followed by at least so many times what it took


class Halfway:
    """Tells one run's reader, from the worker that computes it.

    Args:
        channel: to the reader.
        run: its name, where the channel has several.
        most: bytes of a message; more is not told, as the result will not be.
    """

    def __init__(self, channel: Channel, run: str | None, most: int) -> None:
        self.channel, self.run, self.most = channel, run, most
        self._next = time.monotonic() + PAUSE

    def __call__(self) -> None:
        """Tells what there is, if it is time; to be called whenever the work reports."""
        began = time.monotonic()
        if began >= self._next:
            self._tell(so_far)
            ended = time.monotonic()
            self._next = max(self._next, ended + max(PAUSE, _SHARE * (ended - began)))

    def until(self, work: Callable[[], T]) -> T:
        """What `work` gives; where it is called off, what there was is told first."""
        try:
            return work()
        except Cancelled as stopped:
            found = stopped.partial
            self._tell(lambda: found)
            raise

    def _tell(self, find: Callable[[], object]) -> None:
        """A state that cannot be told does not end the run: its result may well be."""
        try:
            found = find()
            if isinstance(found, Result):
                named = {} if self.run is None else {"run": self.run}
                self.channel.renew(written({"type": "partial", **named, **shown(found)}, self.most), self.run)
        except FluoroscopeError:
            self._next = float("inf")
        except Exception as error:
            journal.defect(error)
            self._next = float("inf")
