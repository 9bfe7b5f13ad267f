"""Files that run code when they are opened, told by their bytes before any parser sees them; nothing is unpickled."""

import json
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

from fluoroscope.errors import ArtifactError

_NPY = b"\x93NUMPY"
_OBJECT = re.compile(rb"'[|<>=]?O\d*'")  # a numpy type of Python objects, alone or as a field
HEAD = 64 * 1024
"""Bytes of a file's beginning that are looked at first: far more than any npy header takes."""

CONVERT = "If you trust whoever made it, convert it to safetensors or JSON."

_MAGIC = re.compile(rb"\x80[\x02-\x0f]")
_OPCODES = {opcode.code.encode("latin1") for opcode in pickletools.opcodes}
_TELLING = {"STOP", "GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}


def recognise(path: Path, head: bytes, read: Callable[[], bytes]) -> str | None:
    """What kind of pickle a file is, in words; None if it is none.

    These are pickles of every protocol, PyTorch's files (zip, legacy and tar), and NumPy files with arrays of
    objects. Text that an unpickler would act on counts as well, whatever it was meant to be.

    Args:
        head: its first `HEAD` bytes.
        read: gives all of its bytes.

    Raises:
        ArtifactError: a zip archive that cannot be looked into.
    """
    if head.startswith(_NPY):
        return "a NumPy file of Python objects" if _OBJECT.search(head) else None
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")):
        return _zip_kind(path)
    if head[257:262] == b"ustar":
        return "a tar archive, which old PyTorch files are,"
    if head[:1] in _OPCODES and not _is_safetensors(data := read()) and _is_pickle(data):
        return "a pickle"
    return None


def _zip_kind(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if any(name.rsplit("/", 1)[-1].lower().endswith((".pkl", ".pickle")) for name in names):
                return "a PyTorch file or another archive of pickles"
            for name in names:
                with archive.open(name) as member:
                    head = member.read(HEAD)
                if _MAGIC.match(head):
                    return "an archive of pickles"
                if head.startswith(_NPY) and _OBJECT.search(head):
                    return "a NumPy archive of Python objects"
    except Exception as error:  # zipfile raises many kinds on damaged or encrypted archives
        raise ArtifactError(f"{str(path)!r} is a zip archive that cannot be looked into: {error}", CONVERT) from error
    return None


def _is_pickle(data: bytes) -> bool:
    """Whether an unpickler would import something, or come to an end, before it fails.

    Protocols 0 and 1 have no magic, so the opcodes are read; the disassembler runs none of them.
    """
    if _MAGIC.match(data):
        return True
    try:
        return any(opcode.name in _TELLING for opcode, _, _ in pickletools.genops(data))
    except Exception:  # it raises whatever the arguments of a non-opcode lead to
        return False


def _is_safetensors(data: bytes) -> bool:
    """Whether a header follows its length: some lengths, such as 640, begin like a pickle."""
    length = int.from_bytes(data[:8], "little")
    try:
        return len(data) >= 8 + length and isinstance(json.loads(data[8 : 8 + length]), dict)
    except (ValueError, RecursionError):
        return False
