"""Finished results in one SQLite file, each under an id that is the hash of what it says.

The id is the permalink: the same recipe, arguments and numbers have the same id on every machine, and are there once.
What `keep` has returned survives a kill and a loss of power; several processes may read and write at a time.
"""

import errno
import hashlib
import json
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope import artifact, registry, strict_json
from fluoroscope.errors import ArgumentError, ArtifactError

if TYPE_CHECKING:
    from fluoroscope.artifact import StrPath
    from fluoroscope.result import Result

VERSION = 1
VARIABLE = "FLUOROSCOPE_STORE"
NOWHERE = "off"
"""In place of a file: nothing is kept."""
SHOWN = 12
"""Letters of an id that people are shown."""

_APPLICATION = 0x464C5253  # "FLRS" in the header of the file: SQLite's place for whose it is
_PATIENCE = 30.0  # seconds to wait for another process that writes
_NEAR = 3
_TABLE = """
CREATE TABLE runs (
  number INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  kept TEXT NOT NULL,
  analysis TEXT,
  kind TEXT NOT NULL,
  model TEXT NOT NULL,
  summary TEXT NOT NULL,
  size INTEGER NOT NULL,
  document BLOB NOT NULL
)
"""  # the document is last, so that lists do not read it
_FIELDS = "id, kept, analysis, kind, model, summary, size"


@dataclass(frozen=True)
class Run:
    """What is known of a kept result without opening it.

    Args:
        id: 64 hexadecimal digits; `short` are those that people are shown.
        kept: when, in UTC, as ISO 8601.
        analysis: its Python name; None where its function was called directly.
        kind: the class of the result.
        size: of its JSON, in bytes.
    """

    id: str
    kept: str
    analysis: str | None
    kind: str
    model: str
    summary: str
    size: int

    @property
    def short(self) -> str:
        """The beginning of the id."""
        return self.id[:SHOWN]


def permalink(data: dict[str, Any]) -> str:
    """The id of a result, from its JSON: a hash of its recipe, its analysis, its arguments and its numbers.

    Wording is left out: the sentence, and how to ask again.
    """
    call = data.get("call")
    asked = None if call is None else {"analysis": call["analysis"], "arguments": call["arguments"]}
    said = {name: value for name, value in data.items() if name != "summary"} | {"call": asked}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def place(given: str | None = None) -> Path | None:
    """The file that is given, else that of FLUOROSCOPE_STORE, else one in the user's data folder; None for off."""
    named = given or os.environ.get(VARIABLE)
    if named == NOWHERE:
        return None
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return Path(named) if named else data / "fluoroscope" / "runs.sqlite"


class Store:
    """A file of kept results; it is made when the first one is kept.

    Args:
        path: of the file; the user's own if not given.

    Raises:
        ArgumentError: no path, and FLUOROSCOPE_STORE=off.
    """

    def __init__(self, path: "StrPath | None" = None) -> None:
        found = place() if path is None else Path(path)
        if found is None:
            raise ArgumentError(f"{VARIABLE}={NOWHERE}: there is no store", "Name its file.")
        self.path = found

    def keep(self, result: "Result") -> Run:
        """Keeps a result; it is durable when this returns. One that is there already is left as it is.

        Raises:
            ArtifactError: the file cannot be written, is damaged, no store, or of a newer version.
        """
        text = result.to_json()
        data, encoded = json.loads(text), text.encode("utf8")
        analysis = None if result.call is None else result.call.analysis
        kept = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        row = (permalink(data), kept, analysis, data["result"], result.recipe.model, data["summary"], len(encoded))
        command = f"INSERT OR IGNORE INTO runs ({_FIELDS}, document) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        with self._writing() as connection:
            connection.execute(command, (*row, zlib.compress(encoded)))
            found = connection.execute(f"SELECT {_FIELDS} FROM runs WHERE id = ?", row[:1]).fetchone()  # noqa: S608
        return Run(*found)

    def check(self) -> None:
        """Whether results can be kept here, before any is made.

        Raises:
            ArtifactError: as `keep`.
        """
        with self._writing():
            pass

    def runs(self, *, analysis: str | None = None, limit: int | None = None) -> list[Run]:
        """What is kept, the newest first.

        Args:
            analysis: only those of this one, by its Python name.
            limit: at most so many.

        Raises:
            ArtifactError: the file cannot be read, is damaged, no store, or of a newer version.
        """
        which = "WHERE analysis = ?" if analysis is not None else ""
        command = f"SELECT {_FIELDS} FROM runs {which} ORDER BY number DESC LIMIT ?"  # noqa: S608
        given = (*([analysis] if analysis is not None else []), -1 if limit is None else limit)
        return [Run(*row) for row in self._read(command, given)]

    def find(self, start: str) -> Run:
        """The kept result of an id, or of the beginning of one.

        Raises:
            ArgumentError: none has an id that begins so, or several have; both name ids.
            ArtifactError: as `runs`.
        """
        wanted = start.strip().lower()
        runs = self.runs()
        found = [run for run in runs if run.id.startswith(wanted)] if wanted else []
        if len(found) == 1:
            return found[0]
        if found:
            raise ArgumentError(f"{len(found)} kept runs begin with {start!r}", f"{_named(found)} Give more of the id.")
        raise ArgumentError(f"no kept run begins with {start!r}", _near(wanted, runs))

    def data(self, start: str) -> dict[str, Any]:
        """The JSON of a kept result, as it was written, whichever version wrote it.

        Raises:
            ArgumentError: as `find`.
            ArtifactError: as `runs`, or what is kept is not what its id says.
        """
        run = self.find(start)
        for (document,) in self._read("SELECT document FROM runs WHERE id = ?", (run.id,)):
            with suppress(ValueError, LookupError, TypeError, AttributeError, zlib.error):  # whatever bits make of it
                found = strict_json.load(zlib.decompress(document))
                if permalink(found) == run.id:
                    return found
        raise ArtifactError(f"run {run.short} in {str(self.path)!r} is damaged", "Compute it again, and delete this.")

    def open(self, start: str) -> "Result":
        """A kept result.

        Raises:
            ArgumentError: as `find`.
            ArtifactError: as `data`, or an analysis that is not here made it, or another version of it.
        """
        data = self.data(start)
        return registry.revived(data, f"run {permalink(data)[:SHOWN]}")

    def delete(self, starts: Iterable[str]) -> list[Run]:
        """Deletes kept results for good, all or none, and gives what they were.

        Raises:
            ArgumentError: as `find`.
            ArtifactError: as `keep`.
        """
        gone = list({run.id: run for run in map(self.find, starts)}.values())
        with self._writing() as connection:
            connection.executemany("DELETE FROM runs WHERE id = ?", [(run.id,) for run in gone])
        return gone

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """A transaction that is on the disk when the block ends, and that never was if it fails."""
        with self._told():
            made = self._made()
            with closing(self._connected("rw")) as connection:
                connection.execute("PRAGMA synchronous=FULL")  # a commit is on the disk, not only in the log
                connection.execute("PRAGMA secure_delete=ON")  # deleted prompts are overwritten
                self._prepare(connection)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    self._begin(connection)
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            if made:
                artifact.sync_folder(self.path.parent)

    def _read(self, command: str, given: Sequence[object]) -> list[Any]:
        with self._told():
            if not self.path.exists():
                return []
            with closing(self._connected(self._mode())) as connection:
                return connection.execute(command, given).fetchall() if self._is_begun(connection) else []

    def _connected(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?{'immutable=1' if mode == 'immutable' else f'mode={mode}'}"
        return sqlite3.connect(address, uri=True, isolation_level=None, timeout=_PATIENCE)

    def _mode(self) -> str:
        """How to read: SQLite wants to write beside the file, unless nobody can."""
        if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            return "rw"
        return "ro" if Path(f"{self.path}-wal").exists() else "immutable"

    def _made(self) -> bool:
        """Makes the file, for its owner's eyes alone, unless it is there; SQLite gives the files beside it its mode."""
        if self.path == place():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """What cannot be set within a transaction; of a file that is ours, or nobody's yet."""
        if not self._is_begun(connection):
            connection.execute("PRAGMA auto_vacuum=FULL")  # the file shrinks when something is deleted
        end = time.monotonic() + _PATIENCE
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                connection.execute("PRAGMA journal_mode=WAL")  # on a disk that cannot, a slower journal is as safe
                return
            except sqlite3.OperationalError as error:  # SQLite does not wait here for others that do the same
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Makes the table of a new file, within a transaction: another process may have made it meanwhile."""
        if not self._is_begun(connection):
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA application_id={_APPLICATION}")
            connection.execute(f"PRAGMA user_version={VERSION}")

    def _is_begun(self, connection: sqlite3.Connection) -> bool:
        """Whether a file is a store already.

        Raises:
            ArtifactError: it is something else, or of a newer version.
        """
        owner, version, tables = (
            connection.execute(command).fetchone()[0]
            for command in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
        )
        if (owner, version, tables) == (0, 0, 0):
            return False
        if owner != _APPLICATION:
            raise ArtifactError(f"{str(self.path)!r} is no store of Fluoroscope", "Name another file.")
        if version > VERSION:
            raise ArtifactError(
                f"{str(self.path)!r} is a store of version {version}, and this Fluoroscope reads {VERSION}",
                "Update Fluoroscope, or name another file with --store.",
            )
        return True

    @contextmanager
    def _told(self) -> Generator[None]:
        """Refusals of the system and of SQLite in words."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            reason, advice = _REASONS.get(None if code is None else code & 0xFF, (str(error), _AS_BEFORE))
            raise ArtifactError(f"the store {str(self.path)!r} {reason}", advice) from error
        except OSError as error:
            missing = error.errno == errno.ENOENT
            advice = f"Make the folder {str(self.path.parent)!r} first." if missing else _ELSEWHERE
            raise ArtifactError(f"the store {str(self.path)!r} cannot be used: {error.strerror}", advice) from error
        except ValueError as error:  # a NUL in the path
            raise ArtifactError(f"the store {str(self.path)!r} cannot be used: {error}", _ELSEWHERE) from error


_AS_BEFORE = "What was kept before is as it was."
_ELSEWHERE = f"Name another file with --store or {VARIABLE}; {NOWHERE} keeps nothing."
_DAMAGED = ("is damaged, or no SQLite file", "Move it away and keep a copy: sqlite3 FILE .recover may save its rows.")
_REASONS: dict[int | None, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("cannot be written: there is no space left", f"Make room. {_AS_BEFORE}"),
    sqlite3.SQLITE_IOERR: ("cannot be used: the disk failed, or is full", f"Make room. {_AS_BEFORE}"),
    sqlite3.SQLITE_READONLY: ("cannot be written: it, or its folder, is read-only", _ELSEWHERE),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened: it, or its folder, is read-only or no file", _ELSEWHERE),
    sqlite3.SQLITE_BUSY: (f"has been in use by another process for {_PATIENCE:.0f} seconds", "Try again."),
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
}


def _named(runs: Sequence[Run]) -> str:
    told = [f"{run.short} ({run.analysis or run.kind}, {run.kept[:10]})" for run in runs[:_NEAR]]
    return f"{', '.join(told)}{', …' if len(runs) > _NEAR else ''}."


def _near(wanted: str, runs: Sequence[Run]) -> str:
    """The ids that somebody may have meant: alike, or the newest."""
    if not runs:
        return "Nothing is kept yet."
    if not re.fullmatch("[0-9a-f]+", wanted):
        return f"Ids are hexadecimal digits. The newest: {_named(runs[:_NEAR])}"
    close = get_close_matches(wanted, [run.id[: len(wanted)] for run in runs], n=_NEAR, cutoff=0.7)
    alike = [run for run in runs if run.id[: len(wanted)] in close]
    return f"Did you mean {_named(alike)[:-1]}?" if alike else f"The newest: {_named(runs[:_NEAR])}"
