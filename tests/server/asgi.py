"""Requests to an ASGI application, made by hand."""

import asyncio
from typing import Any


def scope(kind: str, path: str, headers: dict[str, str] | list[tuple[str, str]], method: str = "GET") -> dict[str, Any]:
    pairs = headers.items() if isinstance(headers, dict) else headers
    made: dict[str, Any] = {
        "type": kind, "path": path.partition("?")[0], "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": path.partition("?")[2].encode(), "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 80),
        "headers": [(name.lower().encode(), value.encode("latin1")) for name, value in pairs], "state": {},
        "http_version": "1.1", "extensions": {"websocket.http.response": {}}, "subprotocols": [],
    }  # fmt: skip
    if kind == "http":
        made["method"] = method
    else:
        made["scheme"] = "ws"
    return made


def ask(app: Any, asked: dict[str, Any], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer; 101 for a socket that opened, and is closed at once."""
    sent: list[Any] = []
    websocket = asked["type"] == "websocket"
    coming = [{"type": "websocket.connect"}] if websocket else [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if coming:
            return coming.pop(0)
        if websocket or any(message["type"] == "http.response.body" for message in sent):
            return {"type": "websocket.disconnect" if websocket else "http.disconnect"}
        await asyncio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(asked, receive, send), 20))
    first = sent[0]
    status = {"websocket.accept": 101, "websocket.close": 403}.get(first["type"]) or first["status"]
    headers = {name.decode(): value.decode("latin1") for name, value in first.get("headers", [])}
    return status, headers, b"".join(message.get("body", b"") for message in sent[1:])
