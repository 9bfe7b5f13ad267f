"""Measuring in alternation: every contestant once a round, in changing order; ratios are taken within a round.

A busy machine slows all contestants of a round alike, so medians of such ratios hold where absolute times do not.
"""

import gc
import os
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeVar

Contestants = dict[str, Callable[[], object]]
Row = dict[str, Any]
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Times:
    """Seconds of one contestant, one entry a round: CPU time of all threads of the process, and wall time."""

    cpu: list[float] = field(default_factory=list[float])
    wall: list[float] = field(default_factory=list[float])


def alternate(contestants: Contestants, rounds: int) -> dict[str, Times]:
    """Times of every contestant over `rounds` rounds, after two that are not counted."""
    times = {name: Times() for name in contestants}
    order, shuffle = list(contestants), random.Random(0)
    gc.collect()
    gc.freeze()
    for number in range(-2, rounds):
        shuffle.shuffle(order)
        for name in order:
            cpu, wall = time.process_time(), time.perf_counter()
            kept = contestants[name]()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            del kept  # only now: freeing what was kept is no part of the work
            if number >= 0:
                times[name].cpu.append(cpu)
                times[name].wall.append(wall)
    return times


def rows(times: dict[str, Times], units: dict[str, str], **labels: Any) -> list[Row]:
    """One row a contestant: median ratio to its unit, the middle half of the ratios, and median milliseconds.

    Args:
        units: contestant -> the contestant that it is a multiple of.
        labels: added to every row.
    """
    found: list[Row] = []
    for name, mine in times.items():
        unit = times[units[name]]
        cpu = _divided(mine.cpu, unit.cpu)
        low, _, high = quantiles(cpu, n=4)
        found.append(
            {
                **labels,
                "contestant": name,
                "unit": units[name],
                "cpu": round(median(cpu), 4),
                "cpu_middle_half": [round(low, 4), round(high, 4)],
                "wall": round(median(_divided(mine.wall, unit.wall)), 4),
                "cpu_ms": round(1000 * median(mine.cpu), 3),
            }
        )
    return found


def once(work: Callable[[], Kept], unit: Callable[[], object]) -> tuple[Kept, Row]:
    """What slow work gives, and a row of what it costs, measured once against the median of its unit around it."""
    around = [_timed(unit) for _ in range(7)]
    kept, (cpu, wall) = _timed(work)
    around = [each for _, each in (*around, *(_timed(unit) for _ in range(7)))]
    unit_cpu, unit_wall = (median(part) for part in zip(*around, strict=True))
    row = {"cpu": round(cpu / unit_cpu, 4), "wall": round(wall / unit_wall, 4), "cpu_ms": round(1000 * cpu, 3)}
    return kept, row


def _timed(work: Callable[[], Kept]) -> tuple[Kept, tuple[float, float]]:
    cpu, wall = time.process_time(), time.perf_counter()
    kept = work()
    return kept, (time.process_time() - cpu, time.perf_counter() - wall)


def _divided(mine: list[float], unit: list[float]) -> list[float]:
    return [one / other for one, other in zip(mine, unit, strict=True)]


def machine(*packages: str) -> dict[str, Any]:
    """CPU, cores and the versions of Python and `packages`."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf8").splitlines() if listing.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    found = {"python": platform.python_version(), **{name: version(name) for name in packages}}
    return {"cpu": model or platform.processor(), "cores": os.cpu_count(), "versions": found}
