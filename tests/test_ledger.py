"""Lines that are only added: whatever a kill leaves is told, whatever was acknowledged is there, the rest is damage."""

import json
import os
from multiprocessing import get_context

import pytest

from fluoroscope.errors import ArtifactError
from fluoroscope.ledger import Ledger

RECORDS = [{"a": 1, "text": 'é\n"}'}, {}, {"b": [0.1, None]}]


@pytest.fixture
def ledger(tmp_path):
    found = Ledger(tmp_path / "log.jsonl")
    for record in RECORDS:
        found.append(record)
    return found


def test_what_was_added_is_read_and_is_plain_jsonl(ledger):
    assert list(ledger.read().records) == RECORDS
    lines = [json.loads(line) for line in ledger.path.read_text("utf8").splitlines()]
    assert [{key: line[key] for key in line if key not in ("previous", "sha256")} for line in lines] == RECORDS
    assert [line["previous"] for line in lines[1:]] == [line["sha256"] for line in lines[:-1]]


def test_cut_at_any_byte_it_reads_what_was_whole_and_tells_the_rest_and_goes_on(ledger, tmp_path):
    whole = ledger.path.read_bytes()
    ends = [0, *(at + 1 for at, byte in enumerate(whole) if byte == 10)]
    for cut in range(len(whole)):
        other = Ledger(tmp_path / "cut.jsonl")
        other.path.write_bytes(whole[:cut])
        before = sum(end <= cut for end in ends[1:]) + (cut + 1 in ends[1:])  # a line without its end is whole
        reading = other.read()
        assert (list(reading.records), reading.damage) == (RECORDS[:before], "")
        assert reading.torn == (b"" if cut + 1 in ends else whole[max(end for end in ends if end <= cut) : cut])
        if cut % 7 == 0:
            other.append({"more": True})
            assert list(other.read().records) == [*RECORDS[:before], {"more": True}]
            aside = list(tmp_path.glob("cut.jsonl.torn-*"))
            assert [path.read_bytes() for path in aside] == ([reading.torn] if reading.torn else [])
            for path in aside:
                path.unlink()


def test_any_changed_byte_of_a_finished_line_is_damage_and_nothing_is_added(ledger):
    whole = ledger.path.read_bytes()
    first = whole.index(b"\n")
    for at in [*range(0, first, 5), first - 1]:
        ledger.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        reading = ledger.read()
        assert reading.records == ()
        assert reading.damage.startswith("line 1 ")
        with pytest.raises(ArtifactError, match=r"damaged: line 1 .*Restore"):
            ledger.append({})
    lines = whole.splitlines(keepends=True)
    for changed, line in (([lines[0], lines[2]], 2), ([lines[1], lines[0], lines[2]], 1), ([*lines, b'{"x": 1}\n'], 4)):
        ledger.path.write_bytes(b"".join(changed))
        assert ledger.read().damage.startswith(f"line {line} ")
        assert list(ledger.read().records) == RECORDS[: line - 1]


def test_a_write_that_the_system_cuts_short_adds_nothing(ledger, monkeypatch):
    whole, write = ledger.path.read_bytes(), os.write

    def full(file, data):
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(ArtifactError, match="No space left"):
        ledger.append({"text": "x" * 300})
    assert ledger.path.read_bytes() == whole
    with pytest.raises(ArtifactError, match="JSON does not have"):
        ledger.append({"value": float("nan")})
    with pytest.raises(ArtifactError, match="Rename"):
        ledger.append({"sha256": ""})
    with pytest.raises(ArtifactError, match="Make the folder"):
        Ledger(ledger.path.parent / "no" / "log.jsonl").append({})


def _add(path, number):
    for step in range(10):
        Ledger(path).append({"who": number, "step": step})


def test_processes_that_add_at_once_lose_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    several = [get_context("fork").Process(target=_add, args=(path, number)) for number in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    reading = Ledger(path).read()
    assert not reading.damage
    for number in range(4):
        assert [record["step"] for record in reading.records if record["who"] == number] == list(range(10))
