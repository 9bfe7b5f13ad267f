"""What goes to one client: in order, no faster than it reads; of progress, and of what is found so far, the newest."""

import asyncio
import json
import threading
from collections import deque
from typing import Any

from starlette.websockets import WebSocket

from fluoroscope.errors import Cancelled

Message = dict[str, Any] | str | bytes
"""To be written as JSON, JSON already, or binary."""


class Newest(str):
    """JSON of a state, which takes the place of an older one of the same run."""

    __slots__ = ("run",)

    def __new__(cls, text: str, run: str | None) -> "Newest":
        found = super().__new__(cls, text)
        found.run = run
        return found


class Channel:
    """A bounded line of messages, filled by the event loop and by workers, emptied by the one that sends.

    Args:
        room: how many messages may wait; workers pause when it is full, which holds a forward pass for as long as
            its reader is slow.
        patience: seconds that a worker waits for room before it gives its reader up.
    """

    def __init__(self, room: int = 4, patience: float = 5.0) -> None:
        self.room, self.patience = room, patience
        self._line: deque[Message] = deque()
        self._loop = asyncio.get_running_loop()
        self._filled, self._drained = asyncio.Event(), asyncio.Event()
        self._lock = threading.Condition()
        self.closed = self._ended = False

    def __len__(self) -> int:
        return len(self._line)

    def tell(self, message: dict[str, Any]) -> None:
        """Adds a small message from the event loop, never waiting; progress of a run replaces what it said before."""
        with self._lock:
            if self.closed:
                return
            if message["type"] == "progress":
                self._line = deque(old for old in self._line if not _replaces(message, old))
            self._line.append(message)
        self._filled.set()

    async def put(self, message: Message) -> None:
        """Adds a message from the event loop, once there is room."""
        await self.rest(self.room)
        with self._lock:
            if not self.closed:
                self._line.append(message)
        self._filled.set()

    async def rest(self, most: int = 64) -> None:
        """Waits until fewer messages than `most` wait, or nobody reads any more."""
        while len(self._line) >= most and not self.closed:
            self._drained.clear()
            await self._drained.wait()

    def emit(self, message: Message) -> None:
        """Adds a message from a worker, once there is room.

        Raises:
            Cancelled: the reader is gone, or does not read.
        """
        with self._lock:
            free = self._lock.wait_for(lambda: self.closed or len(self._line) < self.room, self.patience)
            if self.closed or not free:
                raise Cancelled("the one who asked is gone, or reads too slowly")
            self._line.append(message)
        self._loop.call_soon_threadsafe(self._filled.set)

    def renew(self, text: str, run: str | None) -> None:
        """Adds a state of a run from a worker, never waiting, in place of an older one that was not read yet."""
        with self._lock:
            if self.closed:
                return
            self._line = deque(old for old in self._line if not (isinstance(old, Newest) and old.run == run))
            self._line.append(Newest(text, run))
        self._loop.call_soon_threadsafe(self._filled.set)

    async def pump(self, socket: WebSocket) -> None:
        """Sends what comes, until `end`."""
        while (message := await self._next()) is not None:
            if isinstance(message, bytes):
                await socket.send_bytes(message)
            else:
                await socket.send_text(message if isinstance(message, str) else json.dumps(message, allow_nan=False))

    async def _next(self) -> Message | None:
        """The oldest message, when there is one; None at the end."""
        while True:
            with self._lock:
                if self._line:
                    message = self._line.popleft()
                    self._lock.notify_all()
                    self._drained.set()
                    return message
                if self._ended:
                    return None
                self._filled.clear()
            await self._filled.wait()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._filled.set()

    def close(self) -> None:
        """Nothing is read any more: whoever waits goes on, workers stop."""
        with self._lock:
            self.closed = True
            self._line.clear()
            self._lock.notify_all()
        self._drained.set()


def _replaces(new: dict[str, Any], old: Message) -> bool:
    return isinstance(old, dict) and old["type"] == "progress" and old.get("run") == new.get("run")
