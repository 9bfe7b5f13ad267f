"""The one gate: who may talk to the server, for HTTP and WebSocket alike, decided before anything else sees a request.

A page of another origin that is open in the user's browser reaches loopback as easily as the user does, by forms,
sockets or a name that is bound to 127.0.0.1 later; so Host and Origin have to be exact, and off loopback a token too.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fluoroscope.server.answers import body
from fluoroscope.server.journal import Entry
from fluoroscope.server.settings import Settings
from fluoroscope.server.visitors import Visitors

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY = 1 << 20
"""Bytes of a request."""
BODY_SECONDS = 30.0
"""In which they have to be there."""
MAX_SOCKETS = 64
"""Sockets that are open at a time."""

HEADERS: Headers = [
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
     b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]  # fmt: skip


class Gate:
    """ASGI application around another one; every request that passes or does not is one line of the log.

    Args:
        app: what is guarded.
        settings: who may enter.
        once: a word that opens the page in place of the token, one time.
    """

    def __init__(self, app: App, settings: Settings, once: str | None = None) -> None:
        self.app, self.settings = app, settings
        self.visitors = Visitors(settings.token, once)
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        entry = scope["entry"] = Entry(scope["type"] if scope["type"] == "websocket" else scope["method"])
        if entry.what not in ("websocket", "GET", "HEAD", "POST", "OPTIONS"):
            entry.what = "another method"
        status: list[int] = []
        try:
            await self._admit(scope, receive, self._sending(scope, send, status))
        finally:
            entry.facts["route"] = getattr(scope.get("route"), "path", None)  # the pattern: addresses may hold prompts
            entry.close(status[0] if status else 499)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self.refusal(scope)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
        elif scope["type"] == "websocket":
            self._sockets += 1
            try:
                await self.app(scope, receive, send)
            finally:
                self._sockets -= 1
        elif scope["method"] == "OPTIONS" and _values(scope, b"origin"):
            allowed = [(b"access-control-allow-methods", b"GET, POST")]
            await _answer(send, 204, [*allowed, (b"access-control-allow-headers", b"content-type, authorization")])
        elif self.visitors.asked(scope) is not None:
            await _answer(send, 303, [(b"location", b"./"), (b"set-cookie", self.visitors.cookie())])
        else:
            await self.app(scope, _limited(receive), send)

    def refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, reason and hint of a request that may not enter; None for one that may."""
        if not scope["path"].startswith("/"):  # an address of another server, or OPTIONS *
            return 400, "the address does not begin with /", "Ask for a path of this server."
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self.settings.names:
            return (
                400,
                "this server has no such name",
                "Open it by the address that it printed, or set FLUOROSCOPE_HOSTS.",
            )
        if self._foreign(scope, hosts[0]):
            return 403, "a page of another origin asks", "Name it in FLUOROSCOPE_ORIGINS if it is yours."
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"  # browsers send no token with these
        known = 200 if preflight else self.visitors.known(scope)
        if known == 429:
            return 429, "too many wrong tokens", "Wait a minute; a page that is open already goes on."
        if known == 401:
            return 401, "the token is missing or wrong", "Open /?token=… with the token that the server's owner has."
        if _length(scope) > MAX_BODY:
            return 413, f"more than {MAX_BODY:,} bytes", "Send less at once."
        if scope["type"] == "websocket" and self._sockets >= MAX_SOCKETS:
            return 503, f"{MAX_SOCKETS} sockets are open", "Close a page of the lab."
        return None

    def _foreign(self, scope: Scope, host: str) -> bool:
        """Whether a page asks that is neither the lab's own nor named by the owner."""
        origins = _values(scope, b"origin")
        own = f"{'https' if scope.get('scheme') in ('https', 'wss') else 'http'}://{host}".lower()
        if origins:
            return len(origins) > 1 or (origins[0] != own and origins[0] not in self.settings.origins)
        if scope["type"] == "websocket" and _values(scope, b"cookie"):
            return True  # a browser's socket has an origin
        elsewhere = any(value not in ("same-origin", "none") for value in _values(scope, b"sec-fetch-site"))
        link = (
            scope["type"] == "http" and scope["method"] == "GET" and _values(scope, b"sec-fetch-mode") == ["navigate"]
        )
        return elsewhere and not link

    def _sending(self, scope: Scope, send: Send, status: list[int]) -> Send:
        """Adds our headers to whatever answer begins, and notes its status."""
        named = [value for value in _values(scope, b"origin") if value in self.settings.origins]
        added = [*HEADERS, *((b"access-control-allow-origin", value.encode("latin1")) for value in named)]
        added += [(b"vary", b"origin")] if named else []
        begins = {
            "http.response.start": 200, "websocket.http.response.start": 200, "websocket.accept": 101,
            "websocket.close": 403,
        }  # fmt: skip

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] in begins and not status:
                status.append(message.get("status", begins[message["type"]]))
            if message["type"].endswith("http.response.start"):
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        return sending


def host_name(host: str) -> str:
    """A Host header without its port, in lower case."""
    head, colon, port = host.rpartition(":")
    ported = colon and port.isdecimal() and port.isascii() and (head.endswith("]") or ":" not in head)
    return (head if ported else host).lower()


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin1") for key, value in scope["headers"] if key == name]


def _length(scope: Scope) -> int:
    given = _values(scope, b"content-length")
    return int(given[0]) if given and given[0].isdecimal() else 0


def _limited(receive: Receive) -> Receive:
    """A body that ends, as if the client had gone, once it is longer than it may be or takes too long."""
    seen, whole, end = 0, False, asyncio.get_running_loop().time() + BODY_SECONDS

    async def limited() -> MutableMapping[str, Any]:
        nonlocal seen, whole
        try:
            async with asyncio.timeout_at(None if whole else end):
                message = await receive()
        except TimeoutError:
            return {"type": "http.disconnect"}
        seen, whole = seen + len(message.get("body", b"")), not message.get("more_body", False)
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return limited


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, message: str, hint: str) -> None:
    scope["entry"].facts["refused"] = message
    kind = "http"
    if scope["type"] == "websocket":
        await receive()  # the handshake, which is never accepted
        if "websocket.http.response" not in scope.get("extensions", {}):  # this server can say no more than 403
            await send({"type": "websocket.close", "code": 1008, "reason": message})
            return
        kind = "websocket.http"
    text = body("refused", message, hint)
    later = [(b"retry-after", b"1")] if status in (429, 503) else []
    await _answer(send, status, [(b"content-type", b"application/json"), *later], text, kind)


async def _answer(send: Send, status: int, headers: Headers, text: bytes = b"", kind: str = "http") -> None:
    length = [] if status == 204 else [(b"content-length", str(len(text)).encode())]
    await send({"type": f"{kind}.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": f"{kind}.response.body", "body": text})
