"""The one writer and the one reader of every file: whole or not at all, checksummed, without pickle.

A reader sees the old version of a file or the new one, never a mix; `write` returns once the new one is durable.
Read without torch: it is imported where tensors are handled.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fluoroscope import pickles, strict_json
from fluoroscope.errors import ArtifactError
from fluoroscope.strict_json import NotJson

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "tensors", 1
MEBIBYTE = 1 << 20

_KEY = "fluoroscope"  # one metadata entry: safetensors writes several in random order, and the same bytes are wanted
_UPDATE = "Update Fluoroscope, or write it again with this version."
_LONGEST_NAME = 100

StrPath = str | os.PathLike[str]


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────────


def write(path: StrPath, data: "bytes | bytearray | memoryview", *, mode: int = 0o666) -> Path:
    """Replaces a file by `data`; after any failure or kill the old version is still there, whole.

    The mode is `mode` less the umask, whatever the old version had; a symbolic link is replaced, not followed. A kill
    may leave a file `.fluoroscope-*.tmp` beside it, which nothing reads.

    Args:
        path: where to.
        data: all that the file is to hold.
        mode: who may read and write it; 0o600 for a secret.

    Raises:
        ArtifactError: the folder is missing, or the system refused (no space, no permission, a failing disk). Only
            if the very last step failed, syncing the folder, is the new version in place although not yet durable.
    """
    path = Path(path)
    temporary = path.parent / f".fluoroscope-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    advice = "The version that was there before, if any, is as it was."
    try:
        try:
            _write_synced(temporary, memoryview(data).cast("B"), mode)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        advice = "The new version is in place, but may not survive a loss of power."
        sync_folder(path.parent)
    except OSError as error:
        missing = error.errno == errno.ENOENT and not path.parent.is_dir()
        advice = f"Make the folder {str(path.parent)!r} first." if missing else advice
        raise ArtifactError(f"cannot write {str(path)!r}: {error.strerror or error}", advice) from error
    except ValueError as error:  # a NUL in the path
        raise ArtifactError(f"cannot write {str(path)!r}: {error}", "Name files with safe_name.") from error
    return path


def _write_synced(path: Path, data: memoryview, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, mode)  # the kernel takes the umask off
    try:
        while data:
            written = os.write(descriptor, data)  # may write less than it was given
            data = data[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    if os.name == "nt":  # there, folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_leftover(path: Path) -> bool:
    """Whether a file is what a kill during `write` left behind."""
    return path.name.startswith(".fluoroscope-") and path.name.endswith(".tmp")


def _read(path: Path, limit: int | None = None, *, cut: bool = False) -> bytes:
    """The bytes of a file; beyond `limit` an error, or `cut`."""
    try:
        with path.open("rb") as file:
            data = file.read() if limit is None else file.read(limit + (not cut))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"cannot read {str(path)!r}: {reason}") from error
    if limit is not None and len(data) > limit:
        raise ArtifactError(f"{str(path)!r} is larger than {limit} bytes", "Raise the limit if this is expected.")
    return data


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────


def write_json(path: StrPath, value: Any) -> Path:
    """Writes what JSON can say exactly, as UTF-8 with an indent of 2.

    Raises:
        ArtifactError: NaN or infinity, keys that are no strings, other types, or as `write`.
    """
    return write(path, (strict_json.dump(value, indent=2) + "\n").encode("utf8"))


def read_json(path: StrPath, *, limit: int = 64 * MEBIBYTE) -> Any:
    """Reads strict JSON: UTF-8, finite numbers, no key twice, at most `limit` bytes.

    Raises:
        ArtifactError: it is anything else, or cannot be read.
    """
    path = Path(path)
    try:
        return strict_json.load(_read(path, limit))
    except NotJson as error:
        raise ArtifactError(f"{str(path)!r} is no strict JSON: {error}") from error


# ── tensors ──────────────────────────────────────────────────────────────────────────────────────────


def write_tensors(
    path: StrPath, tensors: "Mapping[str, Tensor]", meta: dict[str, Any], *, allow_nonfinite: bool = False
) -> Path:
    """Writes tensors and what is known about them as one safetensors file with a checksum over all of it.

    Args:
        path: where to.
        tensors: any dense tensors; views, transposes and tensors that share memory are written one by one.
        meta: what JSON can say exactly.
        allow_nonfinite: write NaN and infinities; masked attention scores need it.

    Raises:
        ArtifactError: a number that is not finite, a type that safetensors does not have, or as `write_json`.
    """
    from safetensors.torch import save

    held: dict[str, Tensor] = {}
    memory = set[int]()
    for name, tensor in tensors.items():
        if name == "__metadata__":
            raise ArtifactError("no tensor can be called '__metadata__'", "safetensors keeps its header there.")
        held[name] = _dense(name, tensor)
        if not allow_nonfinite:
            _check_finite(name, held[name])
        if (pointer := held[name].untyped_storage().data_ptr()) in memory:
            held[name] = held[name].clone()  # safetensors refuses memory that two tensors share
        memory.add(pointer)
    envelope = {"format": FORMAT, "version": VERSION, "sha256": _digest(held, meta), "meta": meta}
    try:
        data = save(held, {_KEY: strict_json.dump(envelope)})
    except Exception as error:  # safetensors has no common error class for what it cannot hold
        raise ArtifactError(f"cannot write {str(path)!r} as safetensors: {error}") from error
    return write(path, data)


def read_tensors(path: StrPath) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """Gives back what `write_tensors` wrote, after checking every byte of it.

    Returns:
        the tensors, on the CPU, and the meta.

    Raises:
        ArtifactError: the file is cut short, damaged, foreign, of a newer version, a pickle, or cannot be read.
    """
    from safetensors.torch import load

    path = Path(path)
    data = _read(path)
    if data[8:9] != b"{":  # whatever it is, not ours; if it is a pickle, say so
        refuse_pickle(path)
    envelope = _envelope(data, str(path))
    try:
        tensors: dict[str, Tensor] = load(data)
        meta = envelope["meta"]
        sound = _digest(tensors, meta) == envelope["sha256"]
    except Exception as error:  # a damaged header may ask for anything
        raise _damaged(str(path), str(error)) from error
    if not sound:
        raise _damaged(str(path), "the checksum does not match")
    return tensors, meta


def _envelope(data: bytes, name: str) -> dict[str, Any]:
    """The metadata that `write_tensors` put into the header."""
    length = int.from_bytes(data[:8], "little")
    looks_alike = data[8:9] in (b"{", b"")
    if len(data) < 8 or (len(data) < 8 + length and looks_alike):
        raise ArtifactError(f"{name!r} is cut short: it ends after {len(data)} bytes", "Copy or make it again.")
    if not looks_alike:
        raise ArtifactError(f"{name!r} is no safetensors file", "Fluoroscope reads here what it wrote itself.")
    try:
        header = strict_json.load(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        if _KEY not in metadata:
            raise ArtifactError(f"{name!r} was not written by Fluoroscope", "Open it with safetensors.")
        envelope = strict_json.load(metadata[_KEY].encode("utf8"))
        if envelope["version"] > VERSION:
            raise ArtifactError(f"{name!r} is of version {envelope['version']}, newer than {VERSION}", _UPDATE)
        end = max([entry["data_offsets"][1] for entry in header.values()], default=0)
        if (envelope["format"], envelope["version"], type(end)) != (FORMAT, VERSION, int):
            raise _damaged(name, "its header is wrong")
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise _damaged(name, f"its header cannot be read ({error})") from error
    if len(data) < 8 + length + end:
        raise ArtifactError(f"{name!r} is cut short: it ends after {len(data)} bytes", "Copy or make it again.")
    return envelope


def _damaged(name: str, reason: str) -> ArtifactError:
    return ArtifactError(f"{name!r} is damaged: {reason}", "Copy or make it again.")


def _dense(name: str, tensor: "Tensor") -> "Tensor":
    import torch

    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        raise ArtifactError(f"tensor {name!r} is sparse, quantised or without data", "Make it a dense tensor.")
    return tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()


def _check_finite(name: str, tensor: "Tensor") -> None:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return
    values = tensor.float() if tensor.element_size() == 1 else tensor  # 8-bit types have no isfinite of their own
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ArtifactError(
            f"tensor {name!r} holds {bad} numbers that are not finite",
            "Pass allow_nonfinite=True if they belong there.",
        )


def _digest(tensors: "Mapping[str, Tensor]", meta: Any) -> str:
    """SHA-256 over format, meta and each tensor's name, type, shape and bytes, every part preceded by its length."""
    import torch

    digest = hashlib.sha256()

    def add(part: Any) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    add(strict_json.dump([FORMAT, VERSION, meta]).encode("utf8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        add(strict_json.dump([name, str(tensor.dtype), list(tensor.shape)]).encode("utf8"))
        add(cast("Any", tensor).contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# ── pickle ───────────────────────────────────────────────────────────────────────────────────────────


def refuse_pickle(path: StrPath) -> None:
    """Refuses files that run code when they are opened: `pickles.recognise` says which.

    Raises:
        ArtifactError: it is one of these, or a zip archive that cannot be looked into, or cannot be read.
    """
    path = Path(path)
    kind = pickles.recognise(path, _read(path, pickles.HEAD, cut=True), lambda: _read(path))
    if kind:
        raise ArtifactError(f"{str(path)!r} is {kind} and may run code when it is opened", pickles.CONVERT)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789")}


def safe_name(text: str) -> str:
    """A file name for any text: ASCII letters, digits, `.`, `_` and `-`, no path, no hidden file, none reserved.

    A text that is such a name already stays as it is; others carry eight digits of their hash, so that two texts do
    not meet in one file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", text)
    name = name.lstrip(".-").rstrip(".")
    reserved = name.split(".")[0].lower() in _RESERVED
    if name == text and name and not reserved and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(text.encode("utf8", "surrogatepass")).hexdigest()[:8]
    stem = ("x_" if reserved else "") + name[: _LONGEST_NAME - 12].rstrip(".")
    return f"{stem or 'unnamed'}-{digest}"
