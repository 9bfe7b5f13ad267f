"""The token in a file that its owner alone can read, where an environment would show it to whoever reads that."""

import os
import secrets
import stat
from pathlib import Path

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError

_LONGEST = 4096  # bytes


def read(path: str) -> str:
    """The token in a file.

    Raises:
        ArgumentError: there is none, or others may read the file or could have written it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArgumentError(f"the token file {path!r} cannot be read: {reason}", _HOW) from error
    try:
        _check(path, os.fstat(descriptor))
        return os.read(descriptor, _LONGEST).decode("utf8", "replace").strip()
    finally:
        os.close(descriptor)


def made() -> str:
    """The path of a token file of the user's own, written if there is none yet.

    Raises:
        ArgumentError: it cannot be written.
    """
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "fluoroscope"
    path = folder / "lab-token"
    if not path.exists():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentError(f"the folder {str(folder)!r} cannot be made: {error.strerror}", _HOW) from error
        artifact.write(path, f"{secrets.token_urlsafe(32)}\n".encode(), mode=0o600)
    return str(path)


def _check(path: str, about: os.stat_result) -> None:
    """Whether nobody else can have read or written it; systems without owners are trusted."""
    if not stat.S_ISREG(about.st_mode):
        raise ArgumentError(f"the token file {path!r} is no file", _HOW)
    if not hasattr(os, "getuid"):
        return
    if about.st_uid != os.getuid():
        raise ArgumentError(f"the token file {path!r} belongs to another user", _HOW)
    if about.st_mode & 0o077:
        raise ArgumentError(
            f"others may use the token file {path!r} (mode {about.st_mode & 0o777:04o})",
            "chmod 600 keeps it to yourself; if others could read it, write another token.",
        )


_HOW = "Write it with: (umask 077; python -c 'import secrets; print(secrets.token_urlsafe(32))' > FILE)"
