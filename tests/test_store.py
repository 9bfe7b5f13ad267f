"""The store: what it said to have kept is there, whole, once, and nothing else is taken for it."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from random import Random

import pytest

import tiny
from fluoroscope import registry, store
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.store import Store, permalink

KILLS = int(os.environ.get("FLUOROSCOPE_KILLS", "20"))

# Two writers at a time, which keep what the other keeps too, and are killed; nothing of torch is imported.
STORM = """
import os, random, signal, sqlite3, sys, time, zlib, json
from fluoroscope.result import Recipe, Result
from fluoroscope.store import Store, permalink

class Count(Result):
    number: int
    rest: tuple[float, ...]
    def summary(self): return f"{self.number}"
    def views(self): return []

recipe = Recipe(model="m", weights="w", tokenizer=None, dtype="d", device="cpu", attention="a", versions={})
def made(number):
    dice = random.Random(number)
    return Count(recipe=recipe, number=number, rest=tuple(dice.random() for _ in range(dice.choice([1, 3000]))))

def writer(path, first, step, out):
    store, number = Store(path), first
    while True:
        os.write(out, f"{number} {store.keep(made(number)).id}\\n".encode())
        number += step

path, kills, dice, told, first, acknowledged = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3])), {}, 0, 0
began = time.monotonic()
for number in range(1, 11):
    told[-number] = Store(path).keep(made(-number)).id
span = (time.monotonic() - began) / 5  # of two
for kill in range(kills):
    children, (reader, out) = [], os.pipe()
    for step in (2, 3):  # they meet at every sixth number
        if (pid := os.fork()) == 0:
            try: writer(path, first, step, out)
            except BaseException as error: os.write(2, repr(error).encode())
            finally: os._exit(9)
        children.append(pid)
    os.close(out)
    said, wanted = b"", dice.randrange(8)  # so many are acknowledged, however slow the machine is; then any moment
    while said.count(b"\\n") < wanted and (more := os.read(reader, 1 << 16)):
        said += more
    time.sleep(dice.uniform(0, span))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    ends = [os.waitpid(pid, 0)[1] for pid in children]
    assert all(map(os.WIFSIGNALED, ends)), "a writer gave up"
    said += b"".join(iter(lambda: os.read(reader, 1 << 20), b""))
    os.close(reader)
    told |= {int(number): name for number, name in map(str.split, said.decode().splitlines())}
    acknowledged += said.count(b"\\n")
    first = 6 * (max(told, default=0) // 6)  # what was kept before a kill is kept again
    kept = [run.id for run in Store(path).runs()]
    assert len(kept) == len(set(kept)), "there twice"
    assert set(told.values()) <= set(kept), "acknowledged and lost"
store = Store(path)
for run in store.runs():
    data = store.data(run.id)
    assert permalink(data) == run.id and Count.from_data(data) == made(data["number"])
assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
assert acknowledged > 2 * kills and len(told) > kills, "hardly anything was acknowledged"
"""


@pytest.fixture(scope="module")
def results(tiny_model):
    return [
        registry.run("next_token", tiny_model, prompt=tiny.PROMPT),
        registry.run("next_token", tiny_model, prompt=tiny.PROMPT, position=2),
        registry.run("logit_lens", tiny_model, prompt=tiny.PROMPT),
    ]


@pytest.fixture
def kept(results, tmp_path):
    found = Store(tmp_path / "runs.sqlite")
    for result in results:
        found.keep(result)
    return found


def test_a_storm_of_kills_loses_nothing_that_was_acknowledged(tmp_path):
    command = [sys.executable, "-c", STORM, str(tmp_path / "runs.sqlite"), str(KILLS), "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30 + KILLS)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_result_comes_back_as_it_was_under_the_hash_of_what_it_says(kept, results):
    runs = kept.runs()
    assert [run.summary for run in runs] == [result.summary() for result in reversed(results)]
    assert [run.analysis for run in runs] == ["logit_lens", "next_token", "next_token"]
    assert runs == [kept.keep(result) for result in reversed(results)]  # a second time changes nothing
    assert kept.runs() == runs
    assert [kept.open(run.short) for run in runs] == results[::-1]
    assert kept.open(runs[0].id).to_json() == results[2].to_json()
    assert kept.runs(analysis="logit_lens") == runs[:1] == kept.runs(limit=1)
    data = json.loads(results[0].to_json())
    assert permalink(data | {"summary": "in other words"}) == runs[2].id
    changed = [data | {"position": 1}, data | {"recipe": data["recipe"] | {"weights": "0"}}]
    changed.append(data | {"call": data["call"] | {"arguments": {"prompt": "other"}}})
    assert len({permalink(each) for each in [data, *changed]}) == 4


def test_ids_may_be_shortened_and_others_are_told_what_is_near(kept, tmp_path):
    newest, _, oldest = kept.runs()
    short = next(n for n in range(1, 64) if len({run.id[:n] for run in kept.runs()}) == 3)
    assert kept.find(oldest.id[:short].upper()) == oldest
    wrong = oldest.id[:3] + ("0" if oldest.id[3] != "0" else "1") + oldest.id[4:12]
    with pytest.raises(ArgumentError, match=f"no kept run begins with '{wrong}'.*Did you mean {oldest.short}"):
        kept.open(wrong)
    with pytest.raises(ArgumentError, match=f"hexadecimal digits. The newest: {newest.short}"):
        kept.find("lens")
    with pytest.raises(ArgumentError, match="no kept run begins with ''"):
        kept.delete([newest.id, ""])
    assert len(kept.runs()) == 3  # all or none
    with pytest.raises(ArgumentError, match="Nothing is kept yet"):
        Store(tmp_path / "none.sqlite").find("ab")
    assert not (tmp_path / "none.sqlite").exists()
    ids = iter("0123456789abcdef" * 4)
    many = [store.Run("ab" + next(ids) * 62, "2026-11-22T00:00:00Z", None, "K", "m", "s", 1) for _ in range(5)]
    kept.runs = lambda: many
    with pytest.raises(ArgumentError, match=r"5 kept runs begin with 'ab'\. ab0+ \(K, 2026-11-22\), .*…\. Give more"):
        kept.find("ab")


def test_what_is_deleted_is_gone_from_the_file(kept, results):
    word = json.loads(results[2].to_json())["summary"].encode()
    assert word in kept.path.read_bytes()
    before = kept.path.stat().st_size
    gone = kept.delete([kept.runs()[0].short, kept.runs()[0].id])
    assert [run.analysis for run in gone] == ["logit_lens"]
    assert [run.analysis for run in kept.runs()] == ["next_token"] * 2
    assert word not in kept.path.read_bytes()
    assert kept.path.stat().st_size <= before
    assert kept.path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in kept.path.parent.iterdir()] == [kept.path.name]


def test_the_file_is_named_by_argument_variable_or_habit(monkeypatch, tmp_path, results):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(store.VARIABLE, raising=False)
    made = Store()
    assert made.path == tmp_path / "data" / "fluoroscope" / "runs.sqlite" == store.place()
    made.keep(results[0])
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "other"))
    assert (store.place(), store.place("x").name, store.place("off")) == (tmp_path / "other", "x", None)
    monkeypatch.setenv(store.VARIABLE, "off")
    with pytest.raises(ArgumentError, match="FLUOROSCOPE_STORE=off"):
        Store()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────


def changed(path, *commands):
    with sqlite3.connect(path) as connection:
        for command in commands:
            connection.execute(command)
    connection.close()


def test_a_newer_version_and_other_peoples_files_are_left_alone(kept, results, tmp_path):
    changed(kept.path, "PRAGMA user_version=2")
    other = tmp_path / "other.sqlite"
    changed(other, "CREATE TABLE theirs (x)")
    text = tmp_path / "notes.txt"
    text.write_text("no database, and long enough to have a header of one " * 9)
    for path, message in (
        (kept.path, r"store of version 2, and this Fluoroscope reads 1.*Update Fluoroscope.*--store"),
        (other, "no store of Fluoroscope"),
        (text, "damaged, or no SQLite file"),
        (tmp_path, "cannot be opened"),
    ):
        before = path.read_bytes() if path.is_file() else b""
        for act in (Store(path).runs, lambda path=path: Store(path).keep(results[0])):
            with pytest.raises(ArtifactError, match=message):
                act()
        assert not path.is_file() or path.read_bytes() == before


def test_a_flipped_bit_is_told_and_never_read_as_another_result(kept, results):
    whole, dice, told = kept.path.read_bytes(), Random(3), 0
    expected = {permalink(json.loads(result.to_json())): result.to_json() for result in results}
    for _ in range(40):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        kept.path.write_bytes(data)
        try:
            for run in kept.runs():
                assert kept.open(run.id).to_json() == expected[run.id]
        except (ArtifactError, ArgumentError, KeyError):  # KeyError: the id itself was hit
            told += 1
    assert told > 10
    kept.path.write_bytes(whole)
    changed(kept.path, "UPDATE runs SET document = x'00' WHERE number = 1")
    with pytest.raises(ArtifactError, match=r"run [0-9a-f]{12} in .* is damaged.*Compute it again"):
        kept.open(kept.runs()[-1].id)


def test_a_result_of_a_version_that_is_gone_can_be_listed_but_not_opened(kept, monkeypatch):
    monkeypatch.setattr("fluoroscope.result.SCHEMA", 2)
    with pytest.raises(ArtifactError, match=r"run [0-9a-f]{12}: JSON schema version 1 cannot be read"):
        kept.open(kept.runs()[0].id)
    assert kept.data(kept.runs()[0].id)["schema"] == 1


# In a process of its own, which the system refuses: a limit of the size of files is a disk that is full.
REFUSED = """
import os, resource, signal, sys
from fluoroscope.errors import ArtifactError
from fluoroscope.result import Recipe, Result
from fluoroscope.store import Store

class Count(Result):
    numbers: tuple[float, ...]
    def summary(self): return "s"
    def views(self): return []

recipe = Recipe(model="m", weights="w", tokenizer=None, dtype="d", device="cpu", attention="a", versions={})
few, many = (Count(recipe=recipe, numbers=tuple(n / 7 for n in range(size))) for size in (3, 90_000))
folder = sys.argv[1]
full, shut = Store(f"{folder}/full/runs.sqlite"), Store(f"{folder}/shut/runs.sqlite")
for name, mode in ("full", 0o700), ("shut", 0o700), ("closed", 0): os.mkdir(f"{folder}/{name}", mode)
assert full.keep(few) and shut.keep(few)
size = os.path.getsize(full.path)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, resource.RLIM_INFINITY))
try: full.keep(many)
except ArtifactError as error: print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert [run.size for run in full.runs()] == [run.size for run in shut.runs()]
assert full.keep(many) and len(full.runs()) == 2
os.chmod(shut.path, 0o444); os.chmod(f"{folder}/shut", 0o555); os.chmod(folder, 0o755)
if os.getuid() == 0: os.setuid(65534)
else: os.chmod(folder, 0o555)
try: shut.keep(many)
except ArtifactError as error: print(error)
try: print(len(shut.runs()))
except ArtifactError as error: print(error)
for name in ("shut/new", "new", "none/new"):
    try: Store(f"{folder}/{name}").keep(few)
    except ArtifactError as error: print(error)
try: Store(f"{folder}/closed/runs").runs()
except ArtifactError as error: print(error)
"""


def test_a_full_disk_and_folders_without_permission_are_told_and_lose_nothing():
    with tempfile.TemporaryDirectory() as folder:  # a process without rights has to come here
        command = [sys.executable, "-c", REFUSED, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        os.chmod(folder, 0o700)
    assert (done.returncode, done.stderr) == (0, "")
    full, readonly, count, *denied = done.stdout.splitlines()
    assert "full" in full or "no space" in full
    assert "Make room. What was kept before is as it was." in full
    assert "read-only" in readonly
    assert "Name another file with --store" in readonly
    assert count == "1"
    assert "Permission denied" in denied[0]
    assert "Permission denied" in denied[1]
    assert "Make the folder" in denied[2]
    assert "Permission denied" in denied[3]
