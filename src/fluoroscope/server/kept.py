"""Live passes that pages may ask more of: the last one of each, the oldest given up where they would hold too much."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fluoroscope.trace import Trace


class Kept:
    """What pages have looked at last.

    Args:
        cells: how many numbers may be kept in all; the newest pass is kept in any case.
    """

    def __init__(self, cells: int) -> None:
        self.cells = cells
        self._passes: dict[object, tuple[str, Trace]] = {}

    def put(self, page: object, run: str, trace: "Trace") -> None:
        """Keeps a pass in place of the page's last one."""
        self.drop(page)
        self._passes[page] = run, trace
        while len(self._passes) > 1 and sum(_size(kept) for _, kept in self._passes.values()) > self.cells:
            del self._passes[next(iter(self._passes))]

    def get(self, page: object, run: str) -> "Trace | None":
        """The pass of a run, if it is kept."""
        name, trace = self._passes.get(page, ("", None))
        return trace if name == run else None

    def drop(self, page: object) -> None:
        """Forgets what a page looked at."""
        self._passes.pop(page, None)

    def clear(self) -> None:
        """Forgets everything, as when the model changes."""
        self._passes.clear()


def _size(trace: "Trace") -> int:
    return sum(value.numel() for value in trace.values.values())
