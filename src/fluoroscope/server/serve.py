"""The lab served: bound to one address, said aloud, drained at the end."""

import logging
import socket
from collections.abc import Callable
from contextlib import closing

import uvicorn

from fluoroscope.errors import ArgumentError
from fluoroscope.server.app import application
from fluoroscope.server.settings import Settings

_MESSAGE = 1 << 20  # bytes that a client may send at once
_DRAIN = 10  # seconds


def serve(settings: Settings, opened: Callable[[str], None]) -> None:
    """Serves until it is interrupted; `opened` gets the address once it listens.

    Raises:
        ArgumentError: the address cannot be had.
    """
    logging.getLogger("uvicorn.access").disabled = True  # addresses of requests may hold prompts and tokens
    config = uvicorn.Config(
        application(settings), ws_per_message_deflate=False, ws_max_size=_MESSAGE, ws_max_queue=4, log_level="warning",
        timeout_graceful_shutdown=_DRAIN, server_header=False, proxy_headers=False, limit_concurrency=256,
    )  # fmt: skip
    with closing(_bound(settings)) as listening:
        opened(_address(settings, listening))
        uvicorn.Server(config).run(sockets=[listening])


def _bound(settings: Settings) -> socket.socket:
    kind = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(kind, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host.strip("[]"), settings.port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise ArgumentError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            "Another --port may be free; 0 picks one.",
        ) from error
    return listening


def _address(settings: Settings, listening: socket.socket) -> str:
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    link = "" if settings.token is None else f"?token={settings.token}"
    return f"http://{host}:{listening.getsockname()[1]}/{link}"
