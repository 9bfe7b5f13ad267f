"""Connections bounded in number, time and memory, where uvicorn would wait for a client for ever."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Response

from fluoroscope.server.answers import body
from fluoroscope.server.gate import HEADERS, Headers, Receive, Send
from fluoroscope.server.journal import Entry

CONNECTIONS = 512
"""Open at a time; as many again are told so, and further ones dropped."""
HEAD_SECONDS = 20.0
"""In which the head of a request has to be there, from the opening of the connection or the answer before."""
READ_SECONDS = 20.0
"""In which a client has to read something of what it is sent."""
FRAGMENTS = 1024
"""Parts of a message; empty ones would add up without end and without a byte."""


class _Reader(asyncio.Protocol):
    """A client that is given up when it reads nothing of what waits for it."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    _reading: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for(self, waiting: int) -> None:
        self._stop_waiting()
        self._reading = self.loop.call_later(READ_SECONDS, self._check, waiting)

    def _check(self, before: int) -> None:
        waiting = self.transport.get_write_buffer_size()
        if waiting >= before:
            self.transport.abort()
        else:
            self._wait_for(waiting)

    def _stop_waiting(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _closing(self) -> None:
        """What is closed and not read to its end is not kept for ever."""
        if self._reading is None:
            self._wait_for(self.transport.get_write_buffer_size())


class Http(_Reader, H11Protocol):
    """A connection of HTTP, which may become a socket."""

    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        count = len(self.connections)
        if count > 2 * CONNECTIONS:
            transport.abort()
        elif count > CONNECTIONS:
            self.app = cast(Any, _full)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop_clock()
        super().handle_websocket_upgrade(event)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._closing()

    def send_400_response(self, msg: str) -> None:
        text = body("refused", msg, "Send HTTP/1.1.")
        try:
            for event in (h11.Response(status_code=400, headers=_last(text)), h11.Data(data=text), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # in the middle of another answer
            self.transport.abort()
            return
        self.transport.close()
        self._closing()

    def _watch(self) -> None:
        """The clock runs while no request is under way."""
        cycle: Any = self.cycle  # None before the first request
        under_way = cycle is not None and not cycle.response_complete
        if under_way or self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._stop_clock()
        elif self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, self._late)

    def _late(self) -> None:
        self.transport.close()
        self._closing()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class Socket(_Reader, WebSocketsSansIOProtocol):
    """A WebSocket: who does not read is not listened to."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        reject = self.conn.reject

        def guarded(status: int, text: str) -> Response:
            """The answer to a handshake that is none, which the gate does not see."""
            response = reject(status, text)
            for name, value in HEADERS:
                response.headers[name.decode()] = value.decode()
            return response

        self.conn.reject = guarded

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # by a refusal, which uvicorn would note as an error

    def pause_writing(self) -> None:
        super().pause_writing()
        self.transport.pause_reading()  # else a flood of pings piles up pongs

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.read_paused:
            self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        if self.close_sent:
            return
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
            return
        self.conn.fail(1009, f"more than {FRAGMENTS} parts")
        self.handle_parser_exception()
        self.frames = []

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._closing()


async def _full(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """What is answered to one connection too many."""
    Entry("connection", refused="too many connections").close(503)
    text = body("busy", f"{CONNECTIONS} connections are open", "Ask again in a moment.")
    headers = [*_last(text), (b"retry-after", b"1")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def _last(text: bytes) -> Headers:
    """Headers of an answer in JSON that ends its connection."""
    length = str(len(text)).encode()
    return [*HEADERS, (b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
