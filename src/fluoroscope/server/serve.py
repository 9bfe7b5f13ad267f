"""The lab served: bound to one address, said aloud, drained at the end."""

import logging
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress

import uvicorn

from fluoroscope.errors import ArgumentError
from fluoroscope.server import wire
from fluoroscope.server.app import application
from fluoroscope.server.journal import LOG
from fluoroscope.server.settings import Settings

_MESSAGE = 1 << 20  # bytes that a client may send at once
_DRAIN = 10  # seconds
PING_SECONDS = 20.0
"""Between two questions whether a socket's client is still there, and how long it may take to answer one."""


def serve(settings: Settings, opened: Callable[[str], None]) -> None:
    """Serves until it is interrupted; `opened` gets the address once it listens, with a word that opens it once.

    Raises:
        ArgumentError: the address cannot be had.
    """
    _log_to_stderr()
    once = None if settings.token is None else secrets.token_urlsafe(32)
    with closing(_bound(settings)) as listening, suppress(KeyboardInterrupt):  # Ctrl-C is how it ends, once drained
        link = "" if once is None else f"?token={once}"
        opened(f"http://{settings.address}:{listening.getsockname()[1]}/{link}")
        uvicorn.Server(config(settings, once)).run(sockets=[listening])


def config(settings: Settings, once: str | None = None) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        application(settings, once), http=wire.Http, ws=wire.Socket, ws_per_message_deflate=False,
        ws_max_size=_MESSAGE, ws_max_queue=4, ws_ping_interval=PING_SECONDS, ws_ping_timeout=PING_SECONDS,
        access_log=False, log_level="warning", server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=_DRAIN,
    )  # fmt: skip


def _log_to_stderr() -> None:
    if not LOG.handlers:
        LOG.addHandler(logging.StreamHandler())
    LOG.setLevel(logging.INFO)
    LOG.propagate = False


def _bound(settings: Settings) -> socket.socket:
    kind = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # By its number TCP, not by default: asyncio sends at once (TCP_NODELAY) only where it is named, else a layer waits
    # 40 ms for the acknowledgement of the one before.
    listening = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
