"""In order, bounded, and over when the reader is."""

import asyncio
import json
import threading
import time

import pytest

from fluoroscope.errors import Cancelled
from fluoroscope.server.channel import Channel


class Socket:
    """Keeps what is sent, when it is let."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.open = asyncio.Event()

    async def send_text(self, text):
        await self.open.wait()
        self.sent.append(json.loads(text))

    async def send_bytes(self, message):
        await self.open.wait()
        self.sent.append(message)


def run(test):
    asyncio.run(asyncio.wait_for(test(), 20))


def progress(done, run="a"):
    return {"type": "progress", "run": run, "done": done}


def test_messages_go_in_order_and_of_progress_the_newest():
    async def test():
        channel, socket = Channel(), Socket()
        channel.tell({"type": "hello"})
        for done in range(100):
            channel.tell(progress(done))
            channel.tell(progress(done, "b"))
        await channel.put(b"bytes")
        assert len(channel) == 4
        channel.end()
        socket.open.set()
        await channel.pump(socket)
        assert socket.sent == [{"type": "hello"}, progress(99), progress(99, "b"), b"bytes"]

    run(test)


def test_a_worker_waits_for_room_and_goes_on_when_there_is_some():
    async def test():
        channel, socket, sent = Channel(room=2), Socket(), []

        def work():
            for number in range(20):
                channel.emit(f'"{number}"')
                sent.append(number)

        worker = asyncio.create_task(asyncio.to_thread(work))
        pumping = asyncio.create_task(channel.pump(socket))
        await asyncio.sleep(0.05)
        assert len(sent) == 3  # one is being sent, two wait
        socket.open.set()
        await worker
        channel.end()
        await pumping
        assert socket.sent == [str(number) for number in range(20)]

    run(test)


def test_a_reader_that_does_not_read_is_given_up():
    async def test():
        channel = Channel(room=1, patience=0.05)
        channel.tell({"type": "hello"})
        start = time.monotonic()
        with pytest.raises(Cancelled, match="reads too slowly"):
            await asyncio.to_thread(channel.emit, b"x")
        assert time.monotonic() - start < 2

    run(test)


def test_closing_frees_all_who_wait_and_keeps_nothing():
    async def test():
        channel, freed = Channel(room=1, patience=60), threading.Event()
        channel.tell({"type": "hello"})

        def work():
            with pytest.raises(Cancelled):
                channel.emit(b"x")
            freed.set()

        worker = asyncio.create_task(asyncio.to_thread(work))
        putting = asyncio.create_task(channel.put(b"y"))
        await asyncio.sleep(0.02)
        assert not putting.done()
        channel.close()
        await asyncio.gather(worker, putting)
        assert freed.is_set()
        channel.tell({"type": "late"})
        assert len(channel) == 0

    run(test)


def test_what_no_json_has_is_not_sent():
    async def test():
        channel, socket = Channel(), Socket()
        socket.open.set()
        channel.tell({"type": "x", "value": float("nan")})
        with pytest.raises(ValueError, match="Out of range"):
            await channel.pump(socket)

    run(test)
