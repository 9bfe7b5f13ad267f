"""Work in a child process of its own, with a limit of time and of memory; whatever it does, this process goes on.

The child is forked, so that a model that is loaded here need not be loaded again, and works in a thread of its own: the
threads of torch do not survive a fork, and a new thread makes new ones. It dies with this process.
"""

import os
import random
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

from fluoroscope import strict_json
from fluoroscope.errors import ArgumentError, FluoroscopeError, UnavailableError
from fluoroscope.render.text import number
from fluoroscope.strict_json import NotJson

LARGEST = 64 << 20
"""Bytes of JSON that a child may give back."""

_READY, _LOAD_SECONDS, _TOLD, _MEBIBYTE = b"\x01", 3600.0, 4000, 1 << 20


@dataclass(frozen=True)
class Limits:
    """What work may take.

    Args:
        seconds: of wall time.
        megabytes: beside what it begins with.

    Raises:
        ArgumentError: one of them is not above 0.
    """

    seconds: float
    megabytes: int

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.megabytes > 0):
            raise ArgumentError(
                f"{self.seconds} s and {self.megabytes} MB leave no room for an experiment", "Give more than 0 of both."
            )


@dataclass(frozen=True)
class Outcome:
    """What became of work.

    Args:
        value: what it returned, as JSON says it; None if it failed.
        seconds: how long it took.
        output: the end of what it printed.
        error: kind (raised, time, memory, died), message and traceback of a failure.
    """

    value: Any
    seconds: float
    output: str
    error: dict[str, str] | None = None


def confined(
    work: Callable[[], Any], limits: Limits, *, prepare: Callable[[], None] | None = None, seed: int = 0
) -> Outcome:
    """Does work in a child process.

    Args:
        work: gives what JSON can say.
        limits: of the work.
        prepare: done before in the child, and not counted: loading, say.
        seed: of Python's, numpy's and torch's random numbers.

    Raises:
        UnavailableError: this system cannot fork.
    """
    if not hasattr(os, "fork"):
        raise UnavailableError("experiments need a forked process, which this system does not have", "Use Linux.")
    reading, writing = os.pipe()
    parent = os.getpid()
    with tempfile.TemporaryFile() as printed, open(reading, "rb", buffering=0) as answer:

        def child() -> None:
            answer.close()
            _isolate(printed, parent)
            thread = threading.Thread(target=_work, args=(work, limits, prepare, seed, writing))
            thread.start()
            thread.join()

        process: Any = get_context("fork").Process(target=child)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: see above
            process.start()
        os.close(writing)
        try:
            data, seconds, late = _read(answer, process, limits.seconds)
        finally:
            _kill(process)
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - _TOLD))
        output = printed.read().decode("utf8", "replace")
    return _outcome(data, seconds, output, limits, process.exitcode if not late else None)


# ── this process ─────────────────────────────────────────────────────────────────────────────────────


def _read(answer: IO[bytes], process: Any, allowed: float) -> tuple[bytes, float, bool]:
    """What the child wrote after it was ready, how long that took, and whether it was too long."""
    data, begun, limit = bytearray(), time.monotonic(), _LOAD_SECONDS
    ready = False
    while True:
        alive = process.is_alive()  # asked first: what it wrote before it ended is in the pipe by then
        left = begun + limit - time.monotonic()
        if left <= 0:
            return bytes(data), time.monotonic() - begun, True
        some = bool(select.select([answer], [], [], min(left, 0.2) if alive else 0)[0])
        piece = answer.read(1 << 20) if some else b""
        if (some and not piece) or (not some and not alive):
            return bytes(data), time.monotonic() - begun, False
        if not ready and piece.startswith(_READY):
            ready, begun, limit, piece = True, time.monotonic(), allowed, piece[1:]
        data += piece


def _kill(process: Any) -> None:
    """Ends the child and whatever it started."""
    for end in (lambda: os.killpg(process.pid, signal.SIGKILL), process.kill):
        try:
            end()
        except (ProcessLookupError, PermissionError):
            continue
    process.join()


def _outcome(data: bytes, seconds: float, output: str, limits: Limits, code: int | None) -> Outcome:
    if code is None:
        told = f"it was ended after {number(seconds)} s, the limit is {number(limits.seconds)} s"
        return Outcome(None, seconds, output, {"kind": "time", "message": told, "traceback": ""})
    try:
        answer = strict_json.load(bytes(data))
    except NotJson:  # nothing, or cut off
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        told = f"its process ended by itself: {name}"
        return Outcome(None, seconds, output, {"kind": "died", "message": told, "traceback": ""})
    return Outcome(answer.get("value"), seconds, output, answer.get("error"))


# ── the child ────────────────────────────────────────────────────────────────────────────────────────


def _isolate(printed: IO[bytes], parent: int) -> None:
    """Leaves the terminal and the group of the process that started this one, and ends with it."""
    os.setsid()
    for stream, number_ in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        os.dup2(printed.fileno(), number_)
    sys.stdout = open(os.dup(1), "w", buffering=1, encoding="utf8", errors="backslashreplace")  # noqa: SIM115
    sys.stderr = open(os.dup(2), "w", buffering=1, encoding="utf8", errors="backslashreplace")  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _work(work: Callable[[], Any], limits: Limits, prepare: Callable[[], None] | None, seed: int, writing: int) -> None:
    """Writes the answer to the pipe, whatever happens."""
    try:
        if prepare is not None:
            prepare()
        _seed(seed)
        _limit_memory(limits.megabytes)
        os.write(writing, _READY)
        told = f'{{"value": {strict_json.dump(work(), what="answer")}}}'
        if len(told) > LARGEST:
            raise ArgumentError(f"the result is {len(told) >> 20} MB of JSON", f"At most {LARGEST >> 20} are kept.")
    except BaseException as error:  # the experiment's own, of any kind: it is the result
        told = strict_json.dump({"error": _error(error)})
    _unlimit_memory()
    with open(writing, "wb") as pipe:
        pipe.write(told.encode("utf8"))


def _error(error: BaseException) -> dict[str, str]:
    message = error.message if isinstance(error, FluoroscopeError) else f"{type(error).__name__}: {error}"
    scarce = isinstance(error, MemoryError) or "alloc" in str(error).lower() or "out of memory" in str(error).lower()
    told = "".join(traceback.format_exception(error))
    clean = {"kind": "memory" if scarce else "raised", "message": message[:_TOLD], "traceback": told[-4 * _TOLD :]}
    return {name: text.encode("utf8", "backslashreplace").decode("utf8") for name, text in clean.items()}


def _seed(seed: int) -> None:
    random.seed(seed)
    for name, plant in (("numpy", "random"), ("torch", "")):
        if name in sys.modules:
            module: Any = sys.modules[name]
            if plant:
                module.random.seed(seed)
            else:
                module.manual_seed(seed)


def _limit_memory(megabytes: int) -> None:
    """Lets the process have so much more than now, where the system counts it."""
    import resource

    held = _held()
    if held is not None:
        most = held + megabytes * _MEBIBYTE
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _unlimit_memory() -> None:
    """So that the answer itself, or the error that memory is out, can be told."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _held() -> int | None:
    """Bytes of data that this process has; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:")), None)
