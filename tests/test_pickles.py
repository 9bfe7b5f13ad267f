"""What may run code when it is opened is told by its bytes, and never opened."""

import io
import os
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from fluoroscope.artifact import read_tensors, refuse_pickle
from fluoroscope.errors import ArtifactError

OLD, NEW = b"old version " * 20_000, b"new version, longer " * 20_000


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


class Trap:
    """Its pickle calls a function on loading."""

    def __reduce__(self):
        return (print, ("opened",))


def numpy_file(write_it, value) -> bytes:
    buffer = io.BytesIO()
    write_it(buffer, value)
    return buffer.getvalue()


def torch_file(**options) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": torch.ones(3)}, buffer, **options)
    return buffer.getvalue()


def tar_file() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    return buffer.getvalue()


OBJECTS = np.array([{"a": 1}, None], dtype=object)
FIELDS = np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")])
HOSTILE = {
    **{f"{type(v).__name__} by protocol {p}": pickle.dumps(v, protocol=p)
       for v in ({"a": [1.5, "x"]}, [1, 2], "text", 3, None, Trap()) for p in range(6)},
    "torch zip": torch_file(),
    "torch legacy": torch_file(_use_new_zipfile_serialization=False),
    "torch tar": tar_file(),
    "torch zip cut short": torch_file()[:-200],
    "npy of objects": numpy_file(np.save, OBJECTS),
    "npy with a field of objects": numpy_file(np.save, FIELDS),
    "npz of objects": numpy_file(np.savez, OBJECTS),
    "npz compressed": numpy_file(np.savez_compressed, OBJECTS),
    "call before rubbish": b"cbuiltins\nprint\n(S'opened'\ntR\0\0\0",
    "late call": b"V" + b"x" * 70_000 + b"\n0cbuiltins\nprint\n(S'opened'\ntR\0",
    "pickle before rubbish": pickle.dumps(Trap(), protocol=0) + b"\0" * 100,
}  # fmt: skip


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_what_may_run_code_is_refused_unopened(tmp_path, capfd, kind):
    (tmp_path / "a").write_bytes(HOSTILE[kind])
    with pytest.raises(ArtifactError, match="convert it to safetensors"):
        refuse_pickle(tmp_path / "a")
    with pytest.raises(ArtifactError):
        read_tensors(tmp_path / "a")
    assert capfd.readouterr().out == ""


def safetensors_of(header_length: int) -> bytes:
    header = b'{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    return struct.pack("<Q", header_length) + header.ljust(header_length)


HARMLESS = {
    "npy": numpy_file(np.save, np.arange(3)),
    "npz": numpy_file(np.savez, np.arange(3)),
    "npz compressed": numpy_file(np.savez_compressed, np.arange(3)),
    "strings": numpy_file(np.save, np.array(["O", "|O"])),
    "safetensors": save({"x": torch.ones(3)}),
    "JSON": b'{"a": [1, 2]}\n',
    "JSON list": b"[1, 2]\n",
    "nothing": b"",
    "text": b"hello",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "gzip": b"\x1f\x8b\x08\0",
    # Lengths whose bytes are opcodes: PROTO 2, MARK STOP, POP STOP, POP REDUCE, POP GLOBAL
    **{f"header of {n}": safetensors_of(n) for n in (0x0280, 0x0480, 0x2E28, 0x2E30, 0x5230, 0x6330)},
}


@pytest.mark.parametrize("kind", list(HARMLESS))
def test_what_runs_no_code_is_let_through(tmp_path, kind):
    (tmp_path / "a").write_bytes(HARMLESS[kind])
    refuse_pickle(tmp_path / "a")  # raises on a pickle, as the tests above show
    assert (tmp_path / "a").read_bytes() == HARMLESS[kind]
