"""A file of lines to which lines are only added, whole: each holds the checksum of itself and of the one before.

What was added is durable once `append` returns. A process that is killed while it adds leaves a torn last line, which
is told, set aside by the next `append`, and never read as a record; any other change of what was written is damage.
"""

import contextlib
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fluoroscope import artifact, strict_json
from fluoroscope.errors import ArtifactError
from fluoroscope.strict_json import NotJson

try:
    import fcntl
except ImportError:  # Windows: there, one process at a time is the caller's to see to
    fcntl = None

_FIRST = "0" * 64
"""What the first line holds in place of a checksum of the one before."""
_SEAL = re.compile(rb'(?:, |^\{)"previous": "([0-9a-f]{64})", "sha256": "([0-9a-f]{64})"\}$')


@dataclass(frozen=True)
class Reading:
    """What a ledger holds.

    Args:
        records: up to the first damaged line.
        torn: bytes of a last line whose writing was cut off; its record was never acknowledged.
        damage: what is wrong with the line that reading stopped at; empty if all is as it was written.
    """

    records: tuple[dict[str, Any], ...]
    torn: bytes = b""
    damage: str = ""


class Ledger:
    """An append-only file of JSON records, one a line.

    Args:
        path: the file; it is made by the first record.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> Reading:
        """Every record, and what is wrong.

        Raises:
            ArtifactError: the file cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return Reading(())
        except OSError as error:
            raise ArtifactError(f"cannot read {str(self.path)!r}: {error.strerror}") from error
        return _parsed(data)[0]

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a record, which is durable on return; a torn line is first moved to `NAME.torn-CHECKSUM` beside it.

        Raises:
            ArtifactError: the file is damaged, the record is no JSON, or the system refused; then nothing is added.
        """
        text = strict_json.dump({**record})
        if record.keys() & {"previous", "sha256"}:
            raise ArtifactError("a record has no fields 'previous' and 'sha256' of its own", "Rename them.")
        try:
            with _locked(self.path) as file:
                with open(file, "rb", closefd=False) as stream:
                    data = stream.read()
                reading, previous = _parsed(data)
                if reading.damage:
                    raise ArtifactError(f"{str(self.path)!r} is damaged: {reading.damage}", _RESTORE)
                if reading.torn:
                    name = f"{self.path.name}.torn-{sha256(reading.torn).hexdigest()[:8]}"
                    artifact.write(self.path.with_name(name), reading.torn)
                size = len(data) - len(reading.torn)
                ended = data[:size].endswith(b"\n") or not size
                _extend(file, size, (b"" if ended else b"\n") + _line(text, previous))
        except OSError as error:
            advice = f"Make the folder {str(self.path.parent)!r} first." if not self.path.parent.is_dir() else ""
            raise ArtifactError(f"cannot write {str(self.path)!r}: {error.strerror}", advice) from error


_RESTORE = "Restore the file from a copy, or move it away and begin anew."


@contextlib.contextmanager
def _locked(path: Path) -> Generator[int]:
    """The open file, which no other process adds to meanwhile."""
    new = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        if new and os.name != "nt":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        yield file
    finally:
        os.close(file)


def _extend(file: int, size: int, data: bytes) -> None:
    """Makes the file its first `size` bytes and `data`; if the system refuses half-way, its first `size` bytes."""
    os.ftruncate(file, size)
    os.lseek(file, size, os.SEEK_SET)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)
        raise


def _line(text: str, previous: str) -> bytes:
    """A record as its line."""
    comma = "" if text == "{}" else ", "
    body = f'{text[:-1]}{comma}"previous": "{previous}"'.encode()
    return body + f', "sha256": "{sha256(body).hexdigest()}"}}\n'.encode()


def _parsed(data: bytes) -> tuple[Reading, str]:
    """What the bytes hold, and the checksum of the last record."""
    *lines, last = data.split(b"\n")
    records: list[dict[str, Any]] = []
    previous = _FIRST
    for number, line in enumerate(lines, 1):
        found = _record(line, previous)
        if isinstance(found, str):
            return Reading(tuple(records), damage=f"line {number} {found}"), previous
        records.append(found[0])
        previous = found[1]
    whole = _record(last, previous) if last else ""
    if isinstance(whole, str):
        return Reading(tuple(records), torn=last), previous
    return Reading((*records, whole[0])), whole[1]  # all but the end of the line was written


def _record(line: bytes, previous: str) -> tuple[dict[str, Any], str] | str:
    """The record of a line and its checksum, or what is wrong with it."""
    seal = _SEAL.search(line)
    if seal is None:
        return "was not written by Fluoroscope, or is cut off"
    body = line[: seal.start(2) - len(b', "sha256": "')]
    if sha256(body).hexdigest().encode() != seal[2]:
        return "is not as it was written"
    if seal[1].decode() != previous:
        return "does not follow the line before it: lines are missing, or were moved"
    try:
        record = strict_json.load(line)
    except NotJson as error:
        return f"is no JSON: {error}"
    return {key: value for key, value in record.items() if key not in ("previous", "sha256")}, seal[2].decode()
