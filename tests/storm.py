"""Processes killed at random moments while a workflow or a ratchet run is going, and what must hold after each kill.

    python tests/storm.py --kills 200        # prints what was killed, and where

Nothing that was acknowledged is lost, no file is torn, nothing is there twice, and the run that goes on ends as one
that was never disturbed. Processes are forked with the model loaded, so that a kill can come at any moment of the work.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fluoroscope.autointerpret import AutoInterpret, ExperimentLog, MetricRegistry, Ratchet
from fluoroscope.progress import listening
from fluoroscope.workflows.localise import Localisation, localise

PROMPTS = "abcabcab", "abcabdab"
VALUES = (1.0, 3.0, 2.0, 3.0, 4.0)
"""What the experiments find: the fourth is the second again."""

Ack = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """Something that is done in a folder, acknowledges as it goes, and can be looked into at any time."""

    work: Callable[[Any, Path, Ack], None]
    check: Callable[[Path, list[str]], str]
    final: Callable[[Path], Any]


def _workflow(model: Any, folder: Path, ack: Ack) -> None:
    """Acknowledges each step once it is kept."""

    def listen(label: str, _done: int, _total: int | None) -> None:
        if label == "localise":
            for path in sorted((folder / "run").glob("[a-z]*.json")):
                ack(path.stem)

    with listening(listen):
        found = localise(model, *PROMPTS, answer="c", foil="d", resume=str(folder / "run"))
    found.save(folder / "final.json")
    ack("final")


def _workflow_whole(folder: Path, acknowledged: list[str]) -> str:
    """Every file reads, and its step is sealed; returns how far it came."""
    names = {path.stem for path in (folder / "run").glob("[a-z]*.json")} if (folder / "run").is_dir() else set()
    if (folder / "final.json").exists():
        Localisation.from_json((folder / "final.json").read_text("utf8"))
        names.add("final")
    for name in names - {"final"}:
        json.loads((folder / "run" / f"{name}.json").read_text("utf8"))
    missing = {*acknowledged} - names
    assert not missing, f"acknowledged and lost: {missing}"
    return f"{len(names)} files"


def _workflow_final(folder: Path) -> Any:
    return {path.name: path.read_bytes() for path in [folder / "final.json", *(folder / "run").glob("[a-z]*")]}


def _ratchet(model: Any, folder: Path, ack: Ack) -> None:
    """Acknowledges each entry once it is returned."""
    metrics = MetricRegistry()
    metrics.register("worth", lambda _model, found, held_out: found["worth"] * held_out)
    runner = AutoInterpret(model, output_dir=folder / "exp", ratchet=Ratchet(metrics, "worth"), held_out=0.5)
    for value in VALUES:
        ack(runner.run_experiment(f"try {value}", lambda value=value: {"worth": value}).experiment_id)
    ack("done")


def _ratchet_whole(folder: Path, acknowledged: list[str]) -> str:
    """The log is sound, holds each experiment once, and every finding is one of it; returns how far it came."""
    log = ExperimentLog(folder / "exp" / "results.jsonl")
    entries = log.entries()
    for part in ("experiment_id", "identity"):
        seen = [entry.metadata.get(part, entry.experiment_id) for entry in entries]
        assert len(set(seen)) == len(seen), f"twice: {part}"
    missing = {*acknowledged} - {entry.experiment_id for entry in entries} - {"done"}
    assert not missing, f"acknowledged and lost: {missing}"
    kept = {entry.experiment_id: entry.to_dict() for entry in log.informative_entries()}
    for path in (folder / "exp" / "findings").glob("[0-9]*"):
        finding = json.loads(path.read_text("utf8"))
        assert finding == kept[finding["experiment_id"]]
    return f"{len(entries)} entries"


def _ratchet_final(folder: Path) -> Any:
    """All files without the times, which are others in each run, and what follows from them."""
    files: dict[str, Any] = {"seal": (folder / "exp" / "seal.json").read_bytes()}
    timed = ("timestamp", "duration_seconds", "previous", "sha256")
    lines = (folder / "exp" / "results.jsonl").read_text("utf8").splitlines()
    whole = [(path.name, path.read_text("utf8")) for path in sorted((folder / "exp" / "findings").glob("[0-9]*"))]
    for name, text in [*((f"line {number}", line) for number, line in enumerate(lines)), *whole]:
        files[name] = {key: value for key, value in json.loads(text).items() if key not in timed}
    return files


KINDS = {
    "workflow": Kind(_workflow, _workflow_whole, _workflow_final),
    "ratchet": Kind(_ratchet, _ratchet_whole, _ratchet_final),
}


def storm(kind: Kind, model: Any, home: Path, kills: int, seed: int = 0) -> Counter[str]:
    """Kills until it has killed so often, and lets the last run end; each run must end as an undisturbed one.

    Every second kill comes at a random time, the others where a file is replaced or cut, or half-way through a write.

    Returns:
        how many kills came when so much was there; `runs` is how many runs ended.
    """
    dice = random.Random(seed)
    for name in ("calm", "timed"):
        (home / name).mkdir()
    kind.work(model, home / "calm", lambda _: None)
    begun = time.monotonic()
    told, _ = _until(kind, model, home / "timed", None)
    took, calls, expected = time.monotonic() - begun, int(told[-1]), kind.final(home / "calm")
    assert kind.final(home / "timed") == expected
    where: Counter[str] = Counter()
    acknowledged: list[str] = []
    done = 0
    while done < kills or not where["runs"] or acknowledged:
        folder = home / f"run{where['runs']}"
        folder.mkdir(exist_ok=True)
        moment = None if done >= kills else dice.uniform(0, took) if done % 2 else dice.randrange(calls)
        more, ended = _until(kind, model, folder, moment)
        acknowledged += more[:-1] if ended else more
        done += not ended
        state = kind.check(folder, acknowledged)
        if ended:
            assert kind.final(folder) == expected
            acknowledged = []
        where["runs" if ended else state] += 1
    return where


def _until(kind: Kind, model: Any, folder: Path, moment: float | None) -> tuple[list[str], bool]:
    """What a process acknowledged until it was killed or ended (then, last, its calls of the file system), and which.

    Args:
        moment: seconds (a float) or calls of the file system (an int) until it is killed; None lets it end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            write = os.write
            calls = _Calls(moment if isinstance(moment, int) else None)
            kind.work(model, folder, lambda name: write(writing, f"{name}\n".encode()) and None)
            write(writing, f"{calls.made}\n".encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    ended: tuple[int, int] = (0, 0)
    end = time.monotonic() + moment if isinstance(moment, float) else float("inf")
    while time.monotonic() < end and not ended[0]:
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    with open(reading, encoding="utf8") as file:  # the experiment of a killed run holds the other end for a moment
        told = file.read().split()
    assert ended[1] in (0, signal.SIGKILL), f"it failed: {ended[1]}"
    return told, ended[1] == 0


class _Calls:
    """Counts the calls by which this process changes files, and kills it at one of them.

    Args:
        fatal: at which; None at none.
    """

    def __init__(self, fatal: int | None) -> None:
        self.made, self._fatal, self._process = 0, fatal, os.getpid()
        for name in ("write", "replace", "ftruncate"):
            setattr(os, name, partial(self._call, getattr(os, name), name))

    def _call(self, function: Callable[..., Any], name: str, *given: Any, **named: Any) -> Any:
        mine = os.getpid() == self._process  # an experiment is a process of its own
        if mine and self.made == self._fatal:
            if name == "write":
                function(given[0], given[1][: len(given[1]) // 2])
            os.kill(self._process, signal.SIGKILL)
        self.made += mine
        return function(*given, **named)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=200, help="of each kind")
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    import tiny
    from fluoroscope.loading import load

    torch.set_num_threads(1)  # the threads of torch do not survive a fork
    with tempfile.TemporaryDirectory() as place:
        tiny.save(Path(place))
        found = load(place)
        for name, each in KINDS.items():
            (Path(place) / name).mkdir()
            counted = storm(each, found, Path(place) / name, options.kills, options.seed)
            sys.stdout.write(f"{name}: {options.kills} kills, {dict(sorted(counted.items()))}\n")
