"""What a run has so far reaches its reader: on both sockets, and before it is called off; of each run the newest."""

import asyncio
import itertools
import json
import time

import pytest

import tiny
from fluoroscope import portions, registry
from fluoroscope.progress import listening, so_far
from fluoroscope.server import halfway
from fluoroscope.server.channel import Channel
from server.labs import heard

INTO = {"clean": tiny.PROMPT, "corrupted": tiny.PROMPT[::-1]}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Every report is told, and every portion is one copy."""
    monkeypatch.setattr(halfway, "PAUSE", 0.0)
    monkeypatch.setattr(halfway, "_SHARE", 0)
    monkeypatch.setattr(portions, "ROWS", 1)


def test_a_sweep_fills_cell_by_cell_on_both_sockets(lab, tiny_model):
    expected = json.loads(registry.run("head_patching", tiny_model, **INTO).to_json())
    with lab.socket() as page, lab.socket("/api/analyses/head-patching") as single:
        heard(page, "hello")
        page.send(json.dumps({"type": "run", "run": "r1", "analysis": "head-patching", "arguments": INTO}))
        single.send(json.dumps(INTO))
        for socket, named in ((page, "r1"), (single, None)):
            said = heard(socket, "result")
            partial = [message for message in said if message["type"] == "partial"]
            assert partial
            assert all(message.get("run") == named for message in partial)
            missing = [message["result"]["missing"] for message in partial]
            assert missing == sorted(missing, reverse=True)
            assert missing[0] > 0
            assert partial[0]["summary"].startswith("Partial, ")
            grid = next(view for view in partial[0]["views"] if view["kind"] == "head_grid")
            assert sum(value is None for row in grid["values"] for value in row) == missing[0]
            assert said[-1]["result"] == expected


def test_what_was_found_is_told_before_a_run_is_called_off(lab, monkeypatch):
    monkeypatch.setattr(halfway.Halfway, "__call__", lambda self: None)  # nothing on the way
    model = lab.models.loaded
    with lab.socket() as page:
        heard(page, "hello")
        count = itertools.count()

        def slow(*_):
            if next(count) == 8:  # some portions are done
                page.send(json.dumps({"type": "cancel", "run": "r1"}))
                time.sleep(0.3)  # until it is read

        handle = model.blocks[-1].register_forward_pre_hook(slow)
        page.send(json.dumps({"type": "run", "run": "r1", "analysis": "head-patching", "arguments": INTO}))
        said = [message for message in heard(page, "cancelled", "result") if message["type"] != "progress"]
        handle.remove()
    assert [message["type"] for message in said] == ["partial", "cancelled"]
    assert said[0]["result"]["missing"] > 0


def test_of_what_was_not_read_the_newest_state_of_each_run_stays():
    async def test():
        channel = Channel()
        channel.tell({"type": "hello"})
        for number in range(9):
            channel.renew(json.dumps({"number": number}), "a")
            channel.renew(json.dumps({"number": number}), "b")
        sent = [await channel._next() for _ in range(3)]
        assert sent == [{"type": "hello"}, '{"number": 8}', '{"number": 8}']
        channel.close()
        channel.renew("{}", "a")
        assert len(channel) == 0

    asyncio.run(test())


def test_a_state_that_cannot_be_told_does_not_end_the_run(tiny_model, caplog):
    async def test():
        channel, broken = Channel(), []

        class Broken(halfway.Halfway):
            def _tell(self, find):
                broken.append(find)
                super()._tell(lambda: 1 / 0)

        told = Broken(channel, "r", 10**6)
        with listening(lambda *_: told() or so_far() or True):
            registry.run("head_patching", tiny_model, **INTO)
        assert len(broken) == 1  # and it is not tried again
        small = halfway.Halfway(channel, "r", 10)
        with listening(lambda *_: small() or True):
            registry.run("head_patching", tiny_model, **INTO)
        assert len(channel) == 0

    asyncio.run(test())
    assert "ZeroDivisionError" in caplog.text
