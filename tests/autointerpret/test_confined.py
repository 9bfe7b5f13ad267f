"""Work in a child: its limits hold, its failures come back whole, and nothing of it stays here."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from fluoroscope.autointerpret import confined as module
from fluoroscope.autointerpret.confined import Limits, confined
from fluoroscope.errors import ArgumentError, UnavailableError

LIMITS = Limits(20, 512)
HELD = {"touched": False}


def test_work_that_touches_everything_changes_nothing_here(capfd):
    def work():
        HELD["touched"] = True
        torch.manual_seed(99)
        print("printed by the experiment")
        weight = torch.ones(64, 64, requires_grad=True)
        (weight @ weight).sum().backward()  # threads of torch and its gradients work behind a fork
        return [float(weight.grad.sum()), os.getpid()]

    random = torch.get_rng_state()
    outcome = confined(work, LIMITS)
    value, process = outcome.value
    assert (value, outcome.error, outcome.output) == (2 * 64**3, None, "printed by the experiment\n")
    assert process != os.getpid()
    assert HELD == {"touched": False}
    assert torch.equal(torch.get_rng_state(), random)
    assert capfd.readouterr().out == ""
    draws = [confined(lambda: torch.rand(2).tolist(), LIMITS, seed=seed).value for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def _raises():
    raise ValueError("no \ud800 luck")


@pytest.mark.parametrize(
    ("work", "kind", "says"),
    [
        (_raises, "raised", "ValueError: no \\ud800 luck"),
        (lambda: sys.exit(3), "raised", "SystemExit: 3"),
        (lambda: {1: 2}, "raised", "JSON has only strings"),
        (lambda: {"heads": [float("nan")]}, "raised", "answer.heads[0] is nan"),
        (lambda: time.sleep(60), "time", "the limit is 0.700 s"),
        (lambda: torch.ones(1 << 30).sum().item(), "memory", "alloc"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL) or time.sleep(9), "died", "SIGKILL"),
        (lambda: os._exit(3), "died", "status 3"),
    ],
)
def test_failures_come_back(work, kind, says):
    begun = time.monotonic()
    outcome = confined(work, Limits(0.7 if kind == "time" else 20, 256))
    assert outcome.value is None
    assert outcome.error["kind"] == kind
    assert says in outcome.error["message"]
    assert (", in _raises" in outcome.error["traceback"]) == (work is _raises)
    assert time.monotonic() - begun < 10


def test_loading_is_not_counted_and_what_was_started_ends_with_it():
    outcome = confined(lambda: 1, Limits(0.3, 64), prepare=lambda: time.sleep(0.6))
    assert (outcome.value, outcome.seconds < 0.3) == (1, True)

    def work():
        return subprocess.Popen(["sleep", "60"]).pid

    started = confined(work, LIMITS).value
    for _ in range(50):
        if not _alive(started):
            break
        time.sleep(0.02)
    assert not _alive(started)


def _alive(process):
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_it_ends_with_the_process_that_asked_for_it(tmp_path):
    note = tmp_path / "child"

    def work():
        note.write_text(str(os.getpid()))
        time.sleep(60)

    asking = os.fork()
    if not asking:
        confined(work, LIMITS)
        os._exit(0)
    while not (note.exists() and note.read_text()):
        time.sleep(0.01)
    os.kill(asking, signal.SIGKILL)
    os.waitpid(asking, 0)
    for _ in range(100):
        if not _alive(int(note.read_text())):
            break
        time.sleep(0.02)
    assert not _alive(int(note.read_text()))


def test_what_cannot_be_is_refused(monkeypatch):
    for wrong in ((0, 1), (1, 0), (float("nan"), 1)):
        with pytest.raises(ArgumentError, match="leave no room"):
            Limits(*wrong)
    monkeypatch.delattr(module.os, "fork")
    with pytest.raises(UnavailableError, match="forked process"):
        confined(lambda: 1, LIMITS)
