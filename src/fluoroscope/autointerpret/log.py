"""The record of an investigation: one line an experiment, whatever came of it, never changed afterwards."""

import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fluoroscope import strict_json
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.ledger import Ledger
from fluoroscope.render.text import counted, prose


@dataclass
class ExperimentEntry:
    """One experiment and what came of it.

    Args:
        experiment_id: unique; made up if none is given.
        hypothesis: what was expected; `method` what was done.
        result: what was found, as JSON says it.
        informative: whether it was kept.
        conclusion: what was learnt.
        timestamp: seconds since 1970, when it began; now if 0.
        duration_seconds: how long it took.
        metadata: what else is known: measures on held-out prompts, parameters, versions, the error of one that failed.
    """

    experiment_id: str = ""
    hypothesis: str = ""
    method: str = ""
    result: dict[str, Any] = field(default_factory=dict[str, Any])
    informative: bool = True
    conclusion: str = ""
    timestamp: float = 0.0
    duration_seconds: float = 0.0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.experiment_id = self.experiment_id or f"exp_{uuid.uuid4().hex[:12]}"
        self.timestamp = self.timestamp or time.time()

    @property
    def failed(self) -> bool:
        """Whether it came to no result."""
        return "error" in self.metadata

    def to_dict(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    def to_json(self) -> str:
        """Its fields as strict JSON.

        Raises:
            ArtifactError: a value that JSON does not have.
        """
        return strict_json.dump(self.to_dict())

    def line(self) -> str:
        """What a list of experiments says of it."""
        mark = "+" if self.informative else "!" if self.failed else "-"
        return f"[{mark}] {prose(self.experiment_id)} {prose(self.method or self.hypothesis)}: {prose(self.conclusion)}"


_NAMES = {one.name for one in fields(ExperimentEntry)}


class ExperimentLog:
    """Experiments in a JSONL file to which they are only added; safe against a kill at any byte.

    Args:
        path: the file; it is made by the first entry.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._ledger = Ledger(path)

    @property
    def path(self) -> Path:
        return self._ledger.path

    def append(self, entry: ExperimentEntry) -> None:
        """Adds an entry, which is durable on return.

        Raises:
            ArgumentError: an entry with its id is there already.
            ArtifactError: a value that JSON does not have, a damaged file, or the system refused.
        """
        if any(one.experiment_id == entry.experiment_id for one in self.entries()):
            raise ArgumentError(
                f"the log holds an experiment {entry.experiment_id!r} already", "Leave experiment_id out."
            )
        self._ledger.append(entry.to_dict())

    def entries(self) -> list[ExperimentEntry]:
        """Every experiment, in order; what a kill left of a last line is no experiment, and `torn` tells it.

        Raises:
            ArtifactError: a line is not as it was written.
        """
        reading = self._ledger.read()
        if reading.damage:
            raise ArtifactError(
                f"{str(self.path)!r} is damaged: {reading.damage}; {counted(len(reading.records), 'entry', 'entries')} "
                "before it can be read",
                "Restore the file from a copy; what stands before is sound.",
            )
        return self.sound()

    def sound(self) -> list[ExperimentEntry]:
        """The experiments before the first damaged line, if there is one, else all."""
        return [_entry(record) for record in self._ledger.read().records]

    @property
    def damage(self) -> str:
        """What is wrong with the first damaged line; empty if there is none."""
        return self._ledger.read().damage

    @property
    def torn(self) -> bytes:
        """What a kill left of a last line; the next `append` moves it into a file beside the log."""
        return self._ledger.read().torn

    def informative_entries(self) -> list[ExperimentEntry]:
        """Those that were kept.

        Raises:
            ArtifactError: as `entries`.
        """
        return [entry for entry in self.entries() if entry.informative]

    @property
    def count(self) -> int:
        """How many experiments there are.

        Raises:
            ArtifactError: as `entries`.
        """
        return len(self.entries())

    def summary(self) -> str:
        """How many experiments there are and how they ended, then a line for each.

        Raises:
            ArtifactError: as `entries`.
        """
        entries, torn = self.entries(), self.torn
        cut = [f"{counted(len(torn), 'byte')} of a last line that was cut off are no experiment."] if torn else []
        if not entries:
            return "\n".join(["No experiments yet.", *cut])
        kept, failed = sum(one.informative for one in entries), sum(one.failed for one in entries)
        took = sum(one.duration_seconds for one in entries)
        head = f"{counted(len(entries), 'experiment')}: {kept} kept, {failed} failed, {took:.1f} s."
        return "\n".join([head, *cut, *(entry.line() for entry in entries)])


def _entry(record: Mapping[str, Any]) -> ExperimentEntry:
    unknown = sorted(record.keys() - _NAMES)
    if unknown:
        raise ArtifactError(
            f"the log holds experiments with {', '.join(unknown)}, which this version does not know",
            "Read it with the version of fluoroscope that wrote it.",
        )
    return ExperimentEntry(**record)
