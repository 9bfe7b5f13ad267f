"""How far along long work is; whoever listens may cancel it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from fluoroscope.errors import Cancelled

Listener = Callable[[str, int, int | None], bool | None]
"""Called with (label, done, total or None); returning False cancels the work."""

T = TypeVar("T")
_LISTENER: ContextVar[Listener | None] = ContextVar("fluoroscope_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Sends the progress of all work inside the block to `listener`."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def report(label: str, done: int, total: int | None = None) -> None:
    """Tells the listener how far along `label` is.

    Raises:
        Cancelled: the listener returned False.
    """
    listener = _LISTENER.get()
    if listener is not None and listener(label, done, total) is False:
        raise Cancelled(f"{label} was cancelled after {done} of {total if total is not None else 'unknown'}")


def track(items: Iterable[T], label: str) -> Iterator[T]:
    """Yields `items`, reporting before the first and after each."""
    total = len(items) if isinstance(items, Sized) else None
    report(label, 0, total)
    for done, item in enumerate(items, 1):
        yield item
        report(label, done, total)
