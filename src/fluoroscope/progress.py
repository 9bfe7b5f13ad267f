"""How far along long work is, and what it has found so far; whoever listens may cancel it."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from fluoroscope.errors import Cancelled

Listener = Callable[[str, int, int | None], bool | None]
"""Called with (label, done, total or None); returning False cancels the work."""

T = TypeVar("T")
Teller = Callable[[Any], Any]
"""Makes of what the work inside has found so far, or None, what the work around it has."""
_LISTENER: ContextVar[Listener | None] = ContextVar("fluoroscope_progress", default=None)
_TELLERS: ContextVar[tuple[Teller, ...]] = ContextVar("fluoroscope_so_far", default=())


@contextmanager
def listening(listener: Listener) -> Generator[None]:
    """Sends the progress of all work inside the block to `listener`."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


@contextmanager
def telling(tell: Teller) -> Generator[None]:
    """Says what there is so far of the work inside the block: to a listener that asks, and when the work is cancelled.

    Args:
        tell: gets what a block further inside tells, None where there is nothing yet, and gives the same of this one.

    Raises:
        Cancelled: that of the work, with what there is.
    """
    token = _TELLERS.set((*_TELLERS.get(), tell))
    try:
        yield
    except Cancelled as stopped:
        stopped.partial = tell(stopped.partial)
        raise
    finally:
        _TELLERS.reset(token)


def so_far() -> Any:
    """What the work that reports right now has found, of the kind that it will give; None where that is nothing.

    For listeners, while they are called.
    """
    found: Any = None
    for tell in reversed(_TELLERS.get()):
        found = tell(found)
    return found


def heard() -> bool:
    """Whether anybody listens."""
    return _LISTENER.get() is not None


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
