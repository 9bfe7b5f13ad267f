"""Peak memory of a piece of work: how far the resident set of this process rises above where it stood before."""

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path


def peak(work: Callable[[], object]) -> int:
    """Bytes that the process held at most while `work` ran, beyond what it held before. Linux only."""
    work()  # what is made once, such as caches of the libraries, is no part of it
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status("VmRSS")
    kept = work()
    found = _status("VmHWM")
    del kept
    return found - before


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf8"), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])
