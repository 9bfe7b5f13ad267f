"""The one gate: who may talk to the server, for HTTP and WebSocket alike, decided before anything else sees a request.

A page of another origin that is open in the user's browser reaches loopback as easily as the user does, by forms,
sockets or a name that is bound to 127.0.0.1 later; so Host and Origin have to be exact, and off loopback a token too.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from fluoroscope.server.settings import Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "fluoroscope"
MAX_BODY = 1 << 20
"""Bytes of a request."""

HEADERS = (
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
     b"font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)  # fmt: skip


class Gate:
    """ASGI application around another one.

    Args:
        app: what is guarded.
        settings: who may enter.
    """

    def __init__(self, app: App, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            await _refuse(scope, receive, send, *refusal)
        elif self._exchanges(scope):
            await self._exchange(send)
        else:
            await self.app(scope, _limited(receive) if scope["type"] == "http" else receive, _with_headers(send))

    def refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Status, reason and hint of a request that may not enter; None for one that may."""
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or _name(hosts[0]) not in self.settings.names:
            return 400, "this server has no such name", "Open it by the address that it printed when it started."
        origins = _values(scope, b"origin")
        own = f"{'https' if scope.get('scheme') in ('https', 'wss') else 'http'}://{hosts[0]}".lower()
        if any(origin.lower() != own and origin not in self.settings.origins for origin in origins) or len(origins) > 1:
            return 403, "a page of another origin asks", "Name it in FLUOROSCOPE_ORIGINS if it is yours."
        if scope["type"] == "websocket" and not origins and _values(scope, b"cookie"):
            return 403, "a socket with a cookie and no origin", "Browsers send one."
        site = _values(scope, b"sec-fetch-site")
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and any(value not in ("same-origin", "none") for value in site) and not origins:
            return 403, "another site asks", "Ask from the lab's own page, or without a browser."
        if not self._known(scope):
            return 401, "the token is missing or wrong", "Open the link with the token that the server's owner has."
        if _length(scope) > MAX_BODY:
            return 413, f"more than {MAX_BODY:,} bytes", "Send less at once."
        return None

    def _known(self, scope: Scope) -> bool:
        token = self.settings.token
        if token is None:
            return True
        bearer = [value.removeprefix("Bearer ") for value in _values(scope, b"authorization")]
        return any(hmac.compare_digest(given.encode(), token.encode()) for given in (*bearer, *_carried(scope)))

    def _exchanges(self, scope: Scope) -> bool:
        return self.settings.token is not None and scope["type"] == "http" and bool(_asked(scope))

    async def _exchange(self, send: Send) -> None:
        """The token leaves the address bar for a cookie that no script can read."""
        cookie = f"{COOKIE}={self.settings.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"./"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store"), *HEADERS]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin1") for key, value in scope["headers"] if key == name]


def _name(host: str) -> str:
    """The host without its port, in lower case."""
    head, colon, port = host.rpartition(":")
    return (head if colon and port.isdigit() and (head.endswith("]") or ":" not in head) else host).lower()


def _asked(scope: Scope) -> list[str]:
    return parse_qs(scope.get("query_string", b"").decode("latin1")).get("token", [])


def _carried(scope: Scope) -> list[str]:
    """Tokens in the cookie, or in the address of a page that is opened for the first time."""
    found = _asked(scope) if scope["type"] == "http" and scope["method"] == "GET" else []
    for text in _values(scope, b"cookie"):
        try:
            morsel = SimpleCookie(text).get(COOKIE)
        except CookieError:
            continue
        found += [] if morsel is None else [morsel.value]
    return found


def _length(scope: Scope) -> int:
    given = _values(scope, b"content-length")
    return int(given[0]) if given and given[0].isdigit() else 0


def _limited(receive: Receive) -> Receive:
    """A body that ends, as if the client had gone, once it is longer than it may be."""
    seen = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > MAX_BODY else message

    return limited


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {key for key, _ in message.get("headers", [])}
            added = [pair for pair in HEADERS if pair[0] not in present]
            message = {**message, "headers": [*message.get("headers", []), *added]}
        await send(message)

    return sending


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, message: str, hint: str) -> None:
    from fluoroscope.server.answers import body

    text = body("refused", message, hint)
    if scope["type"] == "websocket":
        await receive()  # the handshake, which is answered by a status and never accepted
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": message})
            return
        kind = "websocket.http.response"
    else:
        kind = "http.response"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode()), *HEADERS]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": text})
