"""One model computes one thing at a time: requests wait in order, know their place, and can be called off."""

import asyncio
import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from fluoroscope.errors import Cancelled, FluoroscopeError
from fluoroscope.progress import listening
from fluoroscope.server import journal
from fluoroscope.server.answers import Refused, unforeseen

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
        self._busy = self._closed = False

    @property
    def length(self) -> int:
        """Requests that wait or compute."""
        return len(self._line) + self._busy

    async def do(
        self,
        work: Callable[[], T],
        told: Told | None = None,
        *,
        timed: bool = True,
        watch: Callable[[], None] = lambda: None,
    ) -> T:
        """What `work` returns, computed in a thread of its own when it is its turn.

        Cancelling the task that awaits this stops the work before its next block, and then lets the next one in.

        Args:
            timed: False for what may take as long as it takes.
            watch: called in the worker whenever the work says how far it is.

        Raises:
            Refused: too many wait already, it took too long, there is not enough memory, or `work` has a defect.
            Cancelled: the work was stopped.
        """
        tell = told or _silent
        await self._turn(tell)
        try:
            return await self._compute(work, tell, self.seconds if timed else None, watch)
        finally:
            self._busy = False
            self._next()

    def close(self) -> None:
        """The server ends: what is called off from now on is not waited for."""
        self._closed = True

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

    async def _compute(self, work: Callable[[], T], tell: Told, seconds: float | None, watch: Callable[[], None]) -> T:
        loop, stop, late = asyncio.get_running_loop(), threading.Event(), threading.Event()
        end = None if seconds is None else time.monotonic() + seconds

        def listen(label: str, done: int, total: int | None) -> bool:
            if end is not None and time.monotonic() > end:
                late.set()
            loop.call_soon_threadsafe(tell, label, done, total)
            if stop.is_set() or late.is_set():
                return False
            watch()
            return True

        def run() -> T:
            with listening(listen):
                return work()

        future = _in_a_thread(run, loop)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            stop.set()
            while not (future.done() or self._closed):  # whoever cancels once more does not free the model any sooner
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            future.add_done_callback(lambda ended: ended.exception())  # seen, whatever it is
            raise
        except Cancelled as error:
            if late.is_set():
                raise Refused(504, "late", f"stopped after {seconds:g} s", "Ask for less at once.") from error
            raise


def _in_a_thread(work: Callable[[], T], loop: asyncio.AbstractEventLoop) -> "asyncio.Future[T]":
    """Computes in a thread that does not keep the process alive; whatever is raised comes back as an answer."""
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(action: Callable[[Any], None], value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if future.done() else action(value))

    def run() -> None:
        try:
            settle(future.set_result, context.run(work))
        except FluoroscopeError as error:
            settle(future.set_exception, error)
        except BaseException as error:
            journal.defect(error)
            settle(future.set_exception, unforeseen(error))

    threading.Thread(target=run, name="fluoroscope-desk", daemon=True).start()
    return future
