"""In small what benchmarks/load.py does at length: many clients at once, more than fit, and leaving at any moment."""

import asyncio
import importlib.util
import os
from pathlib import Path
from statistics import median

import pytest

import tiny
from server.labs import hooks, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def load():
    spec = importlib.util.spec_from_file_location("load", ROOT / "benchmarks" / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def within(seconds, work):
    return asyncio.run(asyncio.wait_for(work, seconds))


def test_eight_clients_of_other_edits_get_the_bytes_that_one_alone_gets(lab, load):
    prompts = [tiny.CHARACTERS[number : number + 6 + number] for number in range(4)]
    asked = load.questions(prompts, ("abcdef", "abcxef"), "z.1.2")
    assert within(60, load.alike(lab.port, asked, clients=8, total=104)) == (0, 104)


def test_ten_times_as_many_as_fit_are_answered_or_refused_with_a_hint_and_health_goes_on(lab, load):
    most = (lab.models.settings.waiting + 1) * load.TIMES
    within(30, load.flood(lab.port, most, 1.0))
    before = load.rss(os.getpid())
    found = within(30, load.flood(lab.port, most, 2.0))
    assert set(found["statuses"]) == {200, 429}
    assert found["unclean"] == 0
    assert median(found["waits"]) < 0.25  # this machine may be busy: benchmarks/load.py says how long it takes
    assert load.rss(os.getpid()) < 1.2 * before
    wait_for(lambda: lab.models.desk.length == 0)


def test_runs_called_off_in_any_way_leave_nothing(lab, load):
    count = hooks(lab.models)
    found = within(60, load.cancels(lab.port, 63, tiny.PROMPT))
    assert set(found["ways"]) == set(load.WAYS)
    assert found["waiting at the end"] == 0
    assert hooks(lab.models) == count
    wait_for(lambda: lab.gate._sockets == 0 and not lab.models.kept._passes)
