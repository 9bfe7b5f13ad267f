"""A file is the old version or the new one, every damage is found, and nothing that could run code is opened."""

import errno
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from fluoroscope import artifact
from fluoroscope.artifact import read_json, read_tensors, refuse_pickle, safe_name, write, write_json, write_tensors
from fluoroscope.errors import ArtifactError

OLD, NEW = b"old version " * 20_000, b"new version, longer " * 20_000


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("data", [b"", b"a", NEW, bytearray(b"ab"), memoryview(b"abc"), memoryview(np.arange(3))])
def test_what_is_written_is_there(tmp_path, data):
    assert write(str(tmp_path / "a"), data) == tmp_path / "a"
    assert (tmp_path / "a").read_bytes() == bytes(data)
    write(tmp_path / "a", OLD)
    assert (tmp_path / "a").read_bytes() == OLD
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_the_mode_follows_the_umask(tmp_path, umask):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    path.chmod(0o600)
    before = os.umask(umask)
    try:
        write(path, NEW)
        write_tensors(tmp_path / "b", {"x": torch.ones(2)}, {})
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "target").write_bytes(OLD)
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link", NEW)
    assert (tmp_path / "target").read_bytes() == OLD
    assert (tmp_path / "link").read_bytes() == NEW


def test_names_of_the_greatest_length_can_be_written(tmp_path):
    write(tmp_path / ("n" * 255), NEW)
    assert names_in(tmp_path) == ["n" * 255]


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=r"Make the folder '.*missing' first"):
        write(tmp_path / "missing" / "a", NEW)
    with pytest.raises(ArtifactError, match="cannot write"):
        write(tmp_path / "folder", NEW)
    with pytest.raises(ArtifactError, match="cannot write"):
        write(tmp_path / ("n" * 256), NEW)
    with pytest.raises(ArtifactError, match="safe_name"):
        write(tmp_path / "a\0b", NEW)
    with pytest.raises(TypeError):
        write(tmp_path / "a", "text")  # pyright: ignore[reportArgumentType]
    assert names_in(tmp_path) == ["folder"]


class Disk:
    """Stands for the system calls of the writer: keeps a log, and lets call number `fails_at` go wrong."""

    CALLS = ("open", "write", "fsync", "close", "replace")

    def __init__(self, monkeypatch, fails_at: int = 0, how: int | str = errno.EIO) -> None:
        self.log: list[str] = []
        self.fails_at, self.how = fails_at, how
        for name in self.CALLS:
            monkeypatch.setattr(artifact.os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, real):
        def call(*arguments, **options):
            self.log.append(name)
            if len(self.log) != self.fails_at:
                return real(*arguments, **options)
            if self.how == "short write":
                return real(arguments[0], arguments[1][:7]) if name == "write" else real(*arguments, **options)
            if name == "close":  # a failing close has closed
                real(*arguments)
            if self.how == "interrupt":
                raise KeyboardInterrupt
            raise OSError(self.how, os.strerror(self.how))

        return call


SEQUENCE = ["open", "write", "fsync", "close", "replace", "open", "fsync", "close"]


def test_data_and_folder_are_synced_in_the_one_order_that_is_safe(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        write(tmp_path / "a", NEW)
    assert disk.log == SEQUENCE


@pytest.mark.parametrize("how", [errno.ENOSPC, errno.EIO, errno.EMFILE, "interrupt", "short write"])
@pytest.mark.parametrize("n", range(1, len(SEQUENCE) + 1))
def test_a_failure_of_any_call_leaves_the_old_version(tmp_path, monkeypatch, how, n):
    path = tmp_path / "a"
    path.write_bytes(OLD)
    kind = ArtifactError if isinstance(how, int) else KeyboardInterrupt
    with monkeypatch.context() as patch:
        Disk(patch, n, how)
        if how == "short write":
            write(path, NEW)
        else:
            with pytest.raises(kind) as caught:
                write(path, NEW)
    replaced = how == "short write" or n > SEQUENCE.index("replace") + 1
    assert path.read_bytes() == (NEW if replaced else OLD)
    assert names_in(tmp_path) == ["a"]
    if kind is ArtifactError:
        assert os.strerror(how) in str(caught.value)
        assert ("may not survive" if replaced else "as it was") in str(caught.value)


@pytest.mark.parametrize("writer", ["write_json", "write_tensors"])
def test_every_writer_goes_through_the_one_that_is_safe(tmp_path, monkeypatch, writer):
    (tmp_path / "a").write_bytes(OLD)
    arguments = {"write_json": ({"a": 1},), "write_tensors": ({"x": torch.ones(3)}, {})}[writer]
    with monkeypatch.context() as patch:
        Disk(patch, 5, errno.ENOSPC)
        with pytest.raises(ArtifactError, match="No space"):
            getattr(artifact, writer)(tmp_path / "a", *arguments)
    assert (tmp_path / "a").read_bytes() == OLD
    assert names_in(tmp_path) == ["a"]


def run_python(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


STORM = """
    import os, random, signal, struct, sys, time
    from pathlib import Path
    from fluoroscope.artifact import write

    path, dice = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    whole = lambda number: struct.pack("<q", number) * 50_000

    def child(start, pipe):
        for number in range(start, 1 << 40):
            write(path, whole(number))
            os.write(pipe, struct.pack("<q", number))

    last = 0
    write(path, whole(last))
    for kill in range(400):  # forty, or more where a slow machine has written little
        if kill >= 40 and last > 20:
            break
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            child(last + 1, writer)
        os.close(writer)
        time.sleep(dice.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        told = b""
        while part := os.read(reader, 1 << 20):
            told += part
        os.close(reader)
        acknowledged = struct.unpack("<q", told[-8:])[0] if told else last
        data = path.read_bytes()
        number = struct.unpack("<q", data[:8])[0]
        assert data == whole(number), "a mix of versions"
        assert number in (acknowledged, acknowledged + 1), (number, acknowledged)
        last = number
    print(last)
"""


def test_a_storm_of_kills_never_loses_what_was_acknowledged(tmp_path):
    done = run_python(STORM, tmp_path / "a", 1)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # the children did get to write
    left = [name for name in names_in(tmp_path) if name != "a"]
    assert all(re.fullmatch(r"\.fluoroscope-\d+-[0-9a-f]{16}\.tmp", name) for name in left)


WRITERS = """
    import os, sys
    from pathlib import Path
    from fluoroscope.artifact import read_json, write_json

    path = Path(sys.argv[1])
    children = []
    for number in range(8):
        if (pid := os.fork()) == 0:
            for round in range(12):
                write_json(path, {"writer": number, "data": [number * 1000 + round] * 20_000})
                found = read_json(path)
                assert len(found["data"]) == 20_000 and len(set(found["data"])) == 1
                assert found["data"][0] // 1000 == found["writer"]
            os._exit(0)
        children.append(pid)
    sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""


def test_concurrent_writers_leave_one_whole_version(tmp_path):
    done = run_python(WRITERS, tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "a")["data"][0] % 1000 == 11
    assert names_in(tmp_path) == ["a"]


def test_the_module_is_read_without_torch():
    code = "import sys, fluoroscope.artifact; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert run_python(code).returncode == 0


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSONS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


@settings(deadline=None, max_examples=60)
@given(value=JSONS)
def test_json_comes_back_as_it_was(value):
    with tempfile.TemporaryDirectory() as folder:
        path = write_json(Path(folder) / "a.json", value)
        found = read_json(path)
        assert found == value
        assert json.dumps(found) == json.dumps(value)  # order of keys, and 1 is not 1.0
        assert path.read_bytes().endswith(b"\n")


def holds_itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, float("nan")]}, r"value.a\[1\] is nan"),
        ([float("-inf")], r"value\[0\] is -inf"),
        ({"a": {1: 2}}, "value.a has the key 1"),
        ({"a": b"x"}, "value.a is a bytes"),
        ({"a": {1, 2}}, "value.a is a set"),
        ([np.float32(1)], "is a float32"),
        ([torch.tensor(1)], "is a Tensor"),
        (["\ud800"], "cannot be written as JSON"),
        (pytest.param(10**5000, "cannot be written as JSON", id="long integer")),
        (holds_itself(), "nested too deeply"),
    ],
)
def test_what_json_does_not_have_is_not_written(tmp_path, value, message):
    for wrapped, write_it in ((value, write_json), ({"meta": value}, lambda p, v: write_tensors(p, {}, v))):
        with pytest.raises(ArtifactError, match=message.replace("value", "value.*")):
            write_it(tmp_path / "a", wrapped)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no strict JSON"),
        (b"{", "no strict JSON"),
        (b"{} {}", "Extra data"),
        (b"[1,]", "no strict JSON"),
        (b'{"a": NaN}', "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"[1e999]", "number 1e999 is out of range"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "key 'b' is there twice"),
        (b'"\xff"', "no strict JSON"),
        (b"\xef\xbb\xbf{}", "no strict JSON"),
        ('"ä"'.encode("utf-16"), "no strict JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 5000, "no strict JSON"),
        (b'"' + b"a" * 300_000 + b'"', "larger than 250000 bytes"),
    ],
)
def test_only_strict_json_is_read(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        read_json(tmp_path / "a", limit=250_000)


def test_the_limit_counts_bytes_exactly(tmp_path):
    (tmp_path / "a").write_bytes(b'"' + b"a" * 98 + b'"')
    assert read_json(tmp_path / "a", limit=100) == "a" * 98
    with pytest.raises(ArtifactError, match="larger than 99 bytes"):
        read_json(tmp_path / "a", limit=99)


@pytest.mark.parametrize("read", [read_json, read_tensors, refuse_pickle])
def test_what_cannot_be_opened_is_an_error(tmp_path, read):
    for path in (tmp_path / "missing", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(ArtifactError, match="cannot read"):
            read(path)


# ── tensors ──────────────────────────────────────────────────────────────────────────────────────────

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.complex64]
DTYPES += [torch.int64, torch.int32, torch.int8, torch.uint8, torch.bool]


@settings(deadline=None, max_examples=60)
@given(
    shapes=st.dictionaries(
        TEXTS, st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)), max_size=4
    ),
    meta=st.dictionaries(TEXTS, JSONS, max_size=3),
)
def test_tensors_come_back_as_they_were(shapes, meta):
    random = torch.Generator().manual_seed(0)
    tensors = {name: (torch.randn(shape, generator=random) * 3).to(dtype) for name, (dtype, shape) in shapes.items()}
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "a", Path(folder) / "b"
        write_tensors(first, tensors, meta)
        found, found_meta = read_tensors(first)
        assert found_meta == meta
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].dtype == tensor.dtype
            assert found[name].shape == tensor.shape
            assert torch.equal(found[name].reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))
        write_tensors(second, found, found_meta)
        assert first.read_bytes() == second.read_bytes()


def test_the_same_tensors_give_the_same_bytes_in_another_process(tmp_path):
    program = """
        import sys, torch
        from fluoroscope.artifact import write_tensors
        write_tensors(sys.argv[1], {"b": torch.arange(3), "a": torch.ones(2)}, {"x": 1, "y": [2.5, None]})
    """
    assert run_python(program, tmp_path / "a").returncode == 0
    write_tensors(tmp_path / "b", {"a": torch.ones(2), "b": torch.arange(3)}, {"x": 1, "y": (2.5, None)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_views_and_shared_memory_are_written_one_by_one(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "base": base,
        "again": base,
        "turned": base.T,
        "row": base[1],
        "every other": base[:, ::2],
        "wide": torch.ones(1).expand(1000),
        "parameter": torch.nn.Parameter(base * 2),
        "conj": torch.tensor([1 + 2j]).conj(),
    }
    write_tensors(tmp_path / "a", tensors, {})
    found, _ = read_tensors(tmp_path / "a")
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor.detach().resolve_conj()), name
    found["base"].zero_()
    assert found["again"].any()


WITHOUT_INFINITY = torch.float8_e4m3fn
NON_FINITE = [(dtype, "nan") for dtype in DTYPES[:6]]
NON_FINITE += [(dtype, sign) for dtype in DTYPES[:6] if dtype != WITHOUT_INFINITY for sign in ("inf", "-inf")]


@pytest.mark.parametrize(("dtype", "bad"), NON_FINITE)
def test_numbers_that_are_not_finite_need_consent(tmp_path, dtype, bad):
    tensor = torch.tensor([1.0, float(bad), 2.0]).to(dtype)
    with pytest.raises(ArtifactError, match="tensor 'x' holds 1 numbers that are not finite"):
        write_tensors(tmp_path / "a", {"good": torch.ones(2), "x": tensor}, {})
    assert names_in(tmp_path) == []
    write_tensors(tmp_path / "a", {"x": tensor}, {}, allow_nonfinite=True)
    assert torch.equal(read_tensors(tmp_path / "a")[0]["x"].view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("x", torch.eye(3).to_sparse()),
        ("x", torch.ones(3, device="meta")),
        ("x", torch.ones(3, dtype=torch.complex128)),
        ("__metadata__", torch.ones(3)),
        ("\ud800", torch.ones(3)),
    ],
    ids=["sparse", "meta", "complex128", "reserved", "surrogate"],
)
def test_tensors_that_have_no_place_in_the_file_are_refused(tmp_path, name, tensor):
    with pytest.raises(ArtifactError):
        write_tensors(tmp_path / "a", {name: tensor}, {})
    assert names_in(tmp_path) == []


@pytest.fixture
def sample(tmp_path) -> Path:
    tensors = {"x": torch.arange(40.0).reshape(5, 8), "ids": torch.arange(9), "none": torch.zeros(0, 3)}
    return write_tensors(tmp_path / "sample.safetensors", tensors, {"recipe": {"seed": 3, "text": "é"}, "n": [1, 2.5]})


def same(found, expected) -> bool:
    (tensors, meta), (others, other_meta) = found, expected
    return (
        meta == other_meta
        and tensors.keys() == others.keys()
        and all(t.dtype == others[n].dtype and torch.equal(t, others[n]) for n, t in tensors.items())
    )


def with_header(data: bytes, change) -> bytes:
    """The same file with its header, as a dict, changed."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def in_envelope(**changes):
    def change(header: dict) -> None:
        envelope = json.loads(header["__metadata__"]["fluoroscope"])
        header["__metadata__"]["fluoroscope"] = json.dumps(envelope | changes)

    return change


def test_every_flipped_bit_is_found(sample):
    data, expected, dice = sample.read_bytes(), read_tensors(sample), Random(0)
    found = 0
    header_bits = 8 * (8 + struct.unpack("<Q", data[:8])[0])
    bits = {dice.randrange(8 * len(data)) for _ in range(400)} | {dice.randrange(header_bits) for _ in range(400)}
    for bit in bits | set(range(64)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        sample.write_bytes(flipped)
        try:
            assert same(read_tensors(sample), expected), f"bit {bit} changed the content unseen"
        except ArtifactError:
            found += 1
    assert found > 0.9 * len(bits)


def test_every_cut_is_found_and_called_so(sample):
    data, dice = sample.read_bytes(), Random(0)
    for length in {dice.randrange(len(data)) for _ in range(200)} | set(range(20)) | {len(data) - 1}:
        sample.write_bytes(data[:length])
        with pytest.raises(ArtifactError, match="is cut short"):
            read_tensors(sample)
    sample.write_bytes(data + b"\0")
    with pytest.raises(ArtifactError, match="is damaged"):
        read_tensors(sample)


def swap_offsets(header: dict) -> None:
    for name in ("x", "ids"):
        header["renamed " + name] = header.pop(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_envelope(version=2), "of version 2, newer than 1"),
        (in_envelope(version=2, meta=None), "newer than 1"),
        (in_envelope(version=0), "is damaged"),
        (in_envelope(version="1"), "is damaged"),
        (in_envelope(format="graph"), "is damaged"),
        (in_envelope(meta={"recipe": {"seed": 4}}), "checksum does not match"),
        (in_envelope(sha256="0" * 64), "checksum does not match"),
        (lambda header: header["__metadata__"].update(fluoroscope="[]"), "is damaged"),
        (lambda header: header["__metadata__"].update(fluoroscope="{}"), "is damaged"),
        (lambda header: header["__metadata__"].update(fluoroscope=3), "is damaged"),
        (lambda header: header["__metadata__"].pop("fluoroscope"), "not written by Fluoroscope"),
        (lambda header: header.pop("__metadata__"), "not written by Fluoroscope"),
        (lambda header: header.update(__metadata__=7), "is damaged"),
        (lambda header: header["x"].update(shape=[8, 5]), "checksum does not match"),
        (lambda header: header["x"].update(dtype="I32"), "checksum does not match"),
        (lambda header: header["x"].update(dtype="Q7"), "is damaged"),
        (lambda header: header["x"].update(shape=[1 << 60, 8]), "is damaged"),
        (lambda header: header["x"].update(data_offsets=[0, 1 << 60]), "is cut short"),
        (lambda header: header["x"].update(data_offsets=["a", "b"]), "is damaged"),
        (swap_offsets, "checksum does not match"),
    ],
)
def test_each_kind_of_wrong_header_is_called_what_it_is(sample, change, message):
    sample.write_bytes(with_header(sample.read_bytes(), change))
    with pytest.raises(ArtifactError, match=message):
        read_tensors(sample)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (save({"x": torch.ones(2)}), "not written by Fluoroscope"),
        (save({"x": torch.ones(2)}, {"format": "pt"}), "not written by Fluoroscope"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "no safetensors file"),
        (pickle.dumps({"a": list(range(100))}), "is a pickle"),
        (b"", "is cut short"),
        (struct.pack("<Q", 1 << 62) + b"{" + b"a" * 50, "is cut short"),
        (struct.pack("<Q", 50) + b"{" + b"a" * 60, "is damaged"),
        (struct.pack("<Q", 200_000) + b'{"a":' * 40_000, "is damaged"),
    ],
)
def test_foreign_files_are_called_so(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArtifactError, match=message):
        read_tensors(tmp_path / "a")


# ── names ────────────────────────────────────────────────────────────────────────────────────────────

HARD = ["", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "C:x", "~", "~root", "-rf", ".hidden"]
HARD += ["a\0b", "a\nb", "con", "CON", "nul.txt", "com1", "lpt9.tar.gz", "name.", "name ", "a\u202eb", "é", "日本"]
HARD += ["x" * 500, "\ud800", "$HOME", "%2e%2e", "a b", "a*b", "…", "\u2024\u2024/"]
WILD = st.one_of(
    st.text(max_size=30), st.text(st.sampled_from("./\\-_ ~aC:\0cono1"), max_size=12), st.sampled_from(HARD)
)


@settings(deadline=None, max_examples=400)
@given(text=WILD, other=WILD)
def test_any_text_becomes_a_file_name_of_its_own(text, other):
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name)
    assert Path(name).name == name
    assert not name.endswith(".")
    assert name.split(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert safe_name(name) == name
    assert (safe_name(other) == name) == (other == text)


@pytest.mark.parametrize("text", HARD, ids=ascii)
def test_hard_names_stay_in_their_folder(tmp_path, text):
    path = write_json(tmp_path / f"{safe_name(text)}.json", 1)
    assert path.resolve().parent == tmp_path.resolve()
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("text", ["report", "L9H6", "resid_post.5", "a-b_c.D", "x" * 100])
def test_good_names_stay_as_they_are(text):
    assert safe_name(text) == text
