"""Clients that send half of something, too much of it, or read nothing: given up, and nothing of them stays."""

import json
import os
import random
import socket
import struct
import time
from contextlib import ExitStack, suppress

import pytest

from fluoroscope.server import gate, serve, single, wire
from server.labs import Held, heard, serving, wait_for

SHORT = 0.5
HEAD = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\n"
ASK = b"POST /api/analyses/next-token HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


@pytest.fixture(scope="module")
def lab(settings):
    """A server that waits for nobody long, and keeps little for those who do not read."""
    with pytest.MonkeyPatch.context() as patched:
        for owner, name in ((wire, "HEAD_SECONDS"), (wire, "READ_SECONDS"), (gate, "BODY_SECONDS")):
            patched.setattr(owner, name, SHORT)
        patched.setattr(serve, "PING_SECONDS", SHORT)
        patched.setattr(single, "QUESTION_SECONDS", SHORT)
        with serving(settings, room=4096) as running:
            yield running


def opened(lab, room=None):
    raw = socket.socket()
    if room is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    raw.settimeout(10)
    raw.connect(("127.0.0.1", lab.port))
    return raw


def ended(raw) -> bytes:
    """All that still comes, until the server closes."""
    found = b""
    try:
        while part := raw.recv(1 << 16):
            found += part
    except ConnectionResetError:
        pass
    return found


def upgraded(lab, path="/api/session", room=None):
    """A socket of which every byte is ours."""
    raw = opened(lab, room)
    raw.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    assert b" 101 " in head.partition(b"\r\n")[0]
    return raw


def framed(kind: int, data: bytes = b"", first: int = 0x80) -> bytes:
    size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return bytes([first | kind]) + size + b"\0\0\0\0" + data


def closing_code(raw) -> int:
    """Of the last frame that the server sends, which closes."""
    (code,) = struct.unpack(">H", ended(raw).rpartition(b"\x88")[2][1:3])
    return code


def health(lab):
    with opened(lab) as raw:
        raw.sendall(HEAD + b"Connection: close\r\n\r\n")
        return json.loads(ended(raw).partition(b"\r\n\r\n")[2])


def pushed(raw, parts, pause: float = 0.05) -> int:
    """How many of the parts could be sent before the server would have no more."""
    sent = 0
    with suppress(OSError):
        for part in parts:
            raw.sendall(part)
            sent += 1
            time.sleep(pause)
    return sent


def connections(lab):
    return len(lab.server.server_state.connections)


@pytest.fixture(autouse=True)
def nothing_stays(lab):
    yield
    wait_for(lambda: connections(lab) == 0 and lab.gate._sockets == 0 and lab.models.desk.length == 0)


@pytest.mark.parametrize("sent", [b"", HEAD, b"G", HEAD + b"\r\nGET /api"], ids=["nothing", "half", "a letter", "more"])
def test_a_request_that_does_not_come_is_not_waited_for(lab, sent):
    with opened(lab) as raw:
        raw.sendall(sent)
        start = time.monotonic()
        answered = ended(raw)
        assert SHORT / 2 < time.monotonic() - start < 5
        assert answered.count(b"HTTP/1.1 200") == sent.count(b"\r\n\r\n")


def test_who_sends_letter_by_letter_is_not_waited_for_either(lab):
    with opened(lab) as raw:
        start = time.monotonic()
        assert pushed(raw, (b"X" for _ in range(200))) < 200
        assert time.monotonic() - start < 5


def test_a_body_that_does_not_come_is_not_waited_for(lab):
    with opened(lab) as raw:
        raw.sendall(ASK + b"Content-Length: 100\r\n\r\n{")
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_who_waits_for_an_answer_is_not_hurried(lab):
    with opened(lab) as raw, Held(lab.models) as held:
        body = b'{"prompt": "abc"}'
        raw.sendall(ASK + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert held.entered.wait(10)
        time.sleep(2.5 * SHORT)
        held.go.set()
        assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_one_connection_too_many_is_told_and_many_too_many_are_dropped(lab, monkeypatch):
    monkeypatch.setattr(wire, "CONNECTIONS", 3)
    monkeypatch.setattr(wire, "HEAD_SECONDS", 20)
    with ExitStack() as held:
        for count in range(1, 4):
            held.enter_context(opened(lab))
            wait_for(lambda count=count: connections(lab) == count)
        raw = held.enter_context(opened(lab))
        raw.sendall(HEAD + b"\r\n")
        head, _, body = ended(raw).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"frame-ancestors 'none'" in head
        assert b"retry-after: 1" in head
        assert set(json.loads(body)) == {"error", "message", "hint"}
        for _ in range(3):
            held.enter_context(opened(lab))
        wait_for(lambda: connections(lab) == 6)
        assert ended(held.enter_context(opened(lab))) == b""
    wait_for(lambda: connections(lab) == 0)
    assert health(lab)["status"] == "ok"


def test_who_reads_nothing_of_an_answer_is_given_up_and_who_reads_slowly_is_not(lab):
    with opened(lab, room=2048) as deaf, opened(lab, room=2048) as slow:
        for raw in (deaf, slow):
            raw.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        start, found = time.monotonic(), b""
        while part := slow.recv(1 << 14):
            found += part
            if time.monotonic() - start < 3 * SHORT:
                time.sleep(SHORT / 5)
        assert json.loads(found.partition(b"\r\n\r\n")[2])["info"]["title"] == "Fluoroscope"
        assert time.monotonic() - start > 2 * SHORT
        wait_for(lambda: connections(lab) == 0)


def test_a_client_that_has_vanished_holds_no_socket(lab):
    with upgraded(lab) as silent, upgraded(lab, "/ws/analyze") as other, lab.socket() as page:
        heard(page, "hello")
        wait_for(lambda: lab.gate._sockets == 1)
        assert closing_code(silent) == 1011
        assert closing_code(other) in (1008, 1011)
        page.send('{"type": "live", "run": "a", "prompt": "abc"}')
        heard(page, "done")


def test_who_asks_nothing_of_a_socket_for_one_request_is_told(lab):
    with lab.socket("/api/analyses/next-token") as asking:
        assert asking.close_code is None
        wait_for(lambda: asking.close_code is not None)
        assert (asking.close_code, asking.close_reason) == (1008, "nothing was asked")


def test_a_flood_of_pings_piles_nothing_up(lab):
    with upgraded(lab, room=2048) as raw:
        raw.settimeout(0.2)
        pings = framed(PING, b"x" * 125) * 1000
        assert pushed(raw, (pings for _ in range(300)), pause=0) < 150
        kept = [each.transport.get_write_buffer_size() for each in lab.server.server_state.connections]
        assert max(kept, default=0) < 1_000_000
        wait_for(lambda: connections(lab) == 0)


def test_a_flood_of_empty_fragments_ends_the_socket(lab):
    with upgraded(lab) as raw:
        raw.sendall(framed(TEXT, b"{", first=0) + framed(0, first=0) * (wire.FRAGMENTS - 2))
        raw.sendall(framed(0, b'"type": 1}'))
        raw.sendall(framed(TEXT, b"{", first=0) + framed(0, first=0) * (3 * wire.FRAGMENTS))
        assert closing_code(raw) == 1009


@pytest.mark.parametrize("parts", [1, 40])
def test_a_giant_message_ends_the_socket_whole_or_in_parts(lab, parts):
    part = b"a" * 65_000
    one = b"\x80\xff" + struct.pack(">Q", 1 << 40) + part
    with upgraded(lab) as raw:
        raw.sendall(framed(TEXT, part, first=0))
        assert pushed(raw, (framed(0, part, first=0) if parts > 1 else one for _ in range(400)), pause=0.002) < 400


HANDSHAKES = {
    "no key": "Sec-WebSocket-Version: 13\r\n", "no version": "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "old": "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "no key at all": "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: <script>alert(1)</script>\r\n",
}  # fmt: skip


@pytest.mark.parametrize("headers", HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_handshake_that_is_none_is_refused_under_the_policy(lab, headers):
    with opened(lab) as raw:
        asked = (
            f"GET /api/session HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
        )
        raw.sendall(asked.encode() + b"\r\n")
        head = ended(raw).partition(b"\r\n\r\n")[0].lower()
        assert head.split(b" ")[1].startswith(b"4")
        assert b"frame-ancestors 'none'" in head
        assert b"x-content-type-options: nosniff" in head


MALFORMED = {
    "reserved bits": framed(TEXT, b"{}", first=0xF0), "no such opcode": framed(3, b"{}"), "not masked": b"\x81\x02{}",
    "bad utf-8": framed(TEXT, b"\xff\xfe"), "cut utf-8": framed(TEXT, "é".encode()[:1]),
    "half a code": framed(CLOSE, b"\x03"),
    "bad code": framed(CLOSE, struct.pack(">H", 1005)), "bad reason": framed(CLOSE, b"\x03\xe8\xff"),
    "a ping in parts": framed(PING, b"a", first=0), "a long ping": framed(PING, b"a" * 126),
    "a part of nothing": framed(0, b"a"), "two beginnings": framed(TEXT, b"{", first=0) + framed(TEXT, b"{"),
    "longer than there is": b"\x82\xff" + struct.pack(">Q", 1 << 63), "surrogate": framed(TEXT, b"\xed\xa0\x80"),
}  # fmt: skip


def test_what_is_no_frame_ends_its_socket_alone_and_leaves_no_file_open(lab):
    rng, files = random.Random(0), len(os.listdir("/proc/self/fd"))
    noise = [rng.randbytes(rng.randrange(2, 200)) for _ in range(100)]
    with lab.socket() as page:
        heard(page, "hello")
        for sent in [*MALFORMED.values(), *noise]:
            with upgraded(lab) as raw:
                raw.sendall(sent + framed(CLOSE, struct.pack(">H", 1000)))
                raw.shutdown(socket.SHUT_WR)
                ended(raw)
        page.send('{"type": "live", "run": "a", "prompt": "abc"}')
        heard(page, "done")
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= files)


DEEP = [
    "[" * 100_000, '{"a":' * 100_000, '{"type": "live", "run": "a", "prompt": ' + "[" * 50_000 + "]" * 50_000 + "}",
    '{"a": 1e999}', '{"a": -Infinity}', '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}", '{"\\ud800": 1}', "\ufeff{}",
    json.dumps({f"key{number}": 0 for number in range(50_000)}),
    json.dumps({"type": "run", "run": "a", "analysis": "a" * 900_000}),
    json.dumps({"type": "run", "run": "a", "analysis": "next-token", "arguments": {"k" * 900_000: 0}}),
    json.dumps({"type": "run", "run": "a", "analysis": "next-token", "arguments": {f"k{n}": 0 for n in range(50_000)}}),
    json.dumps({"type": "run", "run": "a", "analysis": "next-token", "arguments": {"prompt": "a" * 900_000}}),
]  # fmt: skip


@pytest.mark.parametrize("message", DEEP, ids=range(len(DEEP)))
def test_what_is_no_question_is_refused_briefly_and_soon(lab, message):
    with lab.socket() as page:
        heard(page, "hello")
        start = time.monotonic()
        page.send(message)
        refused = heard(page, "error")[-1]
        assert time.monotonic() - start < 3
        assert len(refused["message"] + refused["hint"]) < 4000
