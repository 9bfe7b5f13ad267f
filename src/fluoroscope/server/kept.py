"""Live passes that pages may ask more of: the last ones of each, so that its history can be looked at, the oldest given
up where they would hold too much."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluoroscope.trace import Trace


PASSES = 8
"""How many passes of one page are kept."""


class Kept:
    """What pages have looked at last.

    Args:
        cells: how many numbers may be kept in all; the newest pass is kept in any case.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self._passes: dict[tuple[object, str], Trace] = {}

    def put(self, page: object, run: str, trace: "Trace", beside: str | None = None) -> None:
        """Keeps a pass; the page's oldest one goes where it has too many, but not the one that this stands beside."""
        self._passes.pop((page, run), None)
        others = [key for key in self._of(page) if key != (page, beside)]
        for key in others[: max(0, len(self._of(page)) + 1 - PASSES)]:
            del self._passes[key]
        self._passes[page, run] = trace
        while len(self._passes) > 1 and sum(map(_size, self._passes.values())) > self.cells:
            del self._passes[next(iter(self._passes))]

    def get(self, page: object, run: str) -> "Trace | None":
        """The pass of a run, if it is kept."""
        return self._passes.get((page, run))

    def drop(self, page: object) -> None:
        """Forgets what a page looked at."""
        for key in self._of(page):
            del self._passes[key]

    def _of(self, page: object) -> list[tuple[object, str]]:
        return [key for key in self._passes if key[0] == page]

    def clear(self) -> None:
        """Forgets everything, as when the model changes."""
        self._passes.clear()


def _size(trace: "Trace") -> int:
    return sum(value.numel() for value in trace.values.values())
