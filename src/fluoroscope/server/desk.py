"""One model computes one thing at a time: requests wait in order, know their place, and can be called off."""

import asyncio
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from fluoroscope.errors import Cancelled
from fluoroscope.progress import listening
from fluoroscope.server.answers import Refused

T = TypeVar("T")

Told = Callable[[str, int, int | None], None]
"""Called in the event loop with (label, done, total); "queued" with the number of requests ahead."""


def _silent(label: str, done: int, total: int | None) -> None:
    """Nobody listens."""


class Desk:
    """Where requests queue up for a model.

    Args:
        waiting: how many may wait.
        seconds: how long one may compute.
    """

    def __init__(self, waiting: int, seconds: float) -> None:
        self.waiting, self.seconds = waiting, seconds
        self._line: deque[tuple[asyncio.Event, Told]] = deque()
        self._busy = False

    @property
    def length(self) -> int:
        """Requests that wait or compute."""
        return len(self._line) + self._busy

    async def do(self, work: Callable[[], T], told: Told | None = None) -> T:
        """What `work` returns, computed in a thread of its own when it is its turn.

        Cancelling the task that awaits this stops the work before its next block, and then lets the next one in.

        Raises:
            Refused: too many wait already, or it took too long.
            Cancelled: the work was stopped.
        """
        tell = told or _silent
        await self._turn(tell)
        try:
            return await self._compute(work, tell)
        finally:
            self._busy = False
            self._next()

    async def _turn(self, tell: Told) -> None:
        if not self._busy and not self._line:
            self._busy = True
            return
        if len(self._line) >= self.waiting:
            raise Refused(429, "busy", f"{self.waiting} requests wait already", "Ask again in a moment.")
        place = (asyncio.Event(), tell)
        self._line.append(place)
        tell("queued", len(self._line) - 1 + self._busy, None)
        try:
            await place[0].wait()
        except asyncio.CancelledError:
            if place in self._line:
                self._line.remove(place)
                self._tell()
            else:  # its turn had come
                self._busy = False
                self._next()
            raise

    def _next(self) -> None:
        if self._line and not self._busy:
            self._busy = True
            self._line.popleft()[0].set()
            self._tell()

    def _tell(self) -> None:
        for ahead, (_, tell) in enumerate(self._line):
            tell("queued", ahead + self._busy, None)

    async def _compute(self, work: Callable[[], T], tell: Told) -> T:
        loop, stop, end = asyncio.get_running_loop(), threading.Event(), time.monotonic() + self.seconds
        late = threading.Event()

        def listen(label: str, done: int, total: int | None) -> bool:
            if time.monotonic() > end:
                late.set()
            loop.call_soon_threadsafe(tell, label, done, total)
            return not (stop.is_set() or late.is_set())

        def run() -> T:
            with listening(listen):
                return work()

        context = contextvars.copy_context()
        future = loop.run_in_executor(None, context.run, run)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([future])
            future.exception()  # seen, whatever it was
            raise
        except Cancelled as error:
            if late.is_set():
                raise Refused(504, "late", f"stopped after {self.seconds:g} s", "Ask for less at once.") from error
            raise
