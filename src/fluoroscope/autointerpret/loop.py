"""One experiment after another: each once, in a process of its own, scored on what it never saw, and written down."""

import importlib.metadata
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from fluoroscope import artifact
from fluoroscope.autointerpret import turn
from fluoroscope.autointerpret.confined import Limits, Outcome, confined
from fluoroscope.autointerpret.log import ExperimentEntry, ExperimentLog
from fluoroscope.autointerpret.rule import Ratchet, Verdict
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.progress import report
from fluoroscope.render.text import prose
from fluoroscope.result import Result

SEAL, RESULTS, FINDINGS, OUTPUTS = "seal.json", "results.jsonl", "findings", "outputs"
_FORMAT, _INLINE, _SEED = 1, 64 << 10, 0


@dataclass(frozen=True)
class Trial:
    """An experiment that is to be made.

    Args:
        name: what is done; `hypothesis` what is expected.
        identity: the checksum of what it does and is given: of two alike only one is made.
        work: does it, in the child, and gives a Result or what JSON can say.
        known: what else its entry shall hold.
        accepted: of what `work` gave: whether it is worth anything; None asks nobody.
    """

    name: str
    hypothesis: str
    identity: str
    work: Callable[[], Any]
    known: Mapping[str, Any] = field(default_factory=dict[str, Any])
    accepted: Callable[[Any], bool] | None = None


class Loop:
    """The experiments of one folder.

    Args:
        folder: holds the log, the findings and the seal.
        ratchet: what counts as progress.
        limits: of each experiment, and once more of its scoring.
        max_experiments: how many may be made in all, failed ones too.

    Raises:
        ArgumentError: fewer than one experiment.
        ArtifactError: the folder cannot be made.
    """

    def __init__(self, folder: Path, ratchet: Ratchet, limits: Limits, max_experiments: int) -> None:
        if max_experiments < 1:
            raise ArgumentError(f"max_experiments={max_experiments} allows none", "Give at least 1.")
        self.output_dir, self.ratchet, self.limits = folder, ratchet, limits
        self.max_experiments = max_experiments
        for each in (folder, folder / FINDINGS):
            try:
                each.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArtifactError(
                    f"cannot make the folder {str(each)!r}: {error.strerror}", "Name another."
                ) from error
        self.log = ExperimentLog(folder / RESULTS)

    # ── what there is ────────────────────────────────────────────────────────────────────────────────

    def history(self) -> list[ExperimentEntry]:
        """Every experiment, in order."""
        return self.log.entries()

    def findings(self) -> list[ExperimentEntry]:
        """Those that were kept."""
        return self.log.informative_entries()

    def best(self) -> ExperimentEntry | None:
        """The kept experiment with the largest score."""
        return self.ratchet.best(self.history())

    def summary(self) -> str:
        """How many experiments there are and how they ended, then a line for each."""
        return self.log.summary()

    @property
    def n_experiments(self) -> int:
        """How many were made, failed ones too."""
        return self.log.count

    @property
    def is_done(self) -> bool:
        """Whether as many were made as may be."""
        return self.n_experiments >= self.max_experiments

    # ── one more ─────────────────────────────────────────────────────────────────────────────────────

    def attempt(
        self,
        trial: Trial,
        measure: Callable[[Any], Mapping[str, float]],
        *,
        seal: str,
        prepare: Callable[[], None] | None = None,
    ) -> ExperimentEntry:
        """Makes an experiment, or gives the entry of the same one that was made before, marked as a duplicate.

        Args:
            trial: what to do.
            measure: of a finding as JSON says it, in a child of its own.
            seal: the checksum of the setup.
            prepare: loads, in each child, what both need.

        Raises:
            ArgumentError: as many were made as may be, or another process makes experiments here.
            ArtifactError: the log is damaged, or cannot be written.
        """
        with turn.turn(self.output_dir):
            entries = self.history()
            self._complete(entries)
            known = next((one for one in entries if one.metadata.get("identity") == trial.identity), None)
            if known is not None:
                return replace(known, metadata={**known.metadata, "duplicate": True})
            self.check_room(len(entries))
            report("experiments", len(entries), self.max_experiments)
            name = f"{len(entries) + 1:04d}-{trial.identity[:8]}"
            with turn.at(self.output_dir, name):
                entry = self._made(name, trial, measure, prepare, entries)
                entry.metadata["setup"] = seal
                self.log.append(entry)
                self._complete([entry])
            report("experiments", len(entries) + 1, self.max_experiments)
        return entry

    def check_room(self, made: int) -> None:
        """Whether one more may be made.

        Raises:
            ArgumentError: it may not.
        """
        if made >= self.max_experiments:
            raise ArgumentError(
                f"{made} experiments were made, and no more than {self.max_experiments} may be",
                "Read the findings, or begin a new folder.",
            )

    def _made(
        self,
        name: str,
        trial: Trial,
        measure: Callable[[Any], Mapping[str, float]],
        prepare: Callable[[], None] | None,
        entries: list[ExperimentEntry],
    ) -> ExperimentEntry:
        """The experiment and its scoring, whatever comes of them."""
        begun = time.time()
        made = confined(lambda: _told(trial), self.limits, prepare=prepare, seed=_SEED)
        seconds, output, scored = made.seconds, made.output, None
        value: Any = made.value
        if made.error is None:
            scored = confined(lambda: self._scored(measure(value["found"])), self.limits, prepare=prepare, seed=_SEED)
            seconds, output = seconds + scored.seconds, output + scored.output
        metadata: dict[str, Any] = {
            "identity": trial.identity, **trial.known, "seed": _SEED, "versions": _versions(),
            **({"output": output} if output else {}),
        }  # fmt: skip
        failure = made.error or (scored.error if scored else None)
        result = self._kept(trial, value) if value else {}
        verdict = Verdict(False, "")
        if failure is not None:
            where = "Failed" if made.error else "Failed when it was measured"
            verdict = Verdict(False, f"{where}: {failure['message']}.")
            metadata["error"] = failure
        elif scored is not None:
            verdict = self._verdict(scored.value, value["accepted"], entries)
            metadata |= {"measures": scored.value["measures"], "ruled_out": list(verdict.ruled_out)}
        said = value["said"] if value else ""
        return ExperimentEntry(
            experiment_id=name, hypothesis=trial.hypothesis, method=trial.name, result=result,
            informative=verdict.kept, conclusion=f"{said} {verdict.reason}".strip(), timestamp=begun,
            duration_seconds=round(seconds, 3), metadata=metadata,
        )  # fmt: skip

    def _scored(self, measures: Mapping[str, float]) -> dict[str, Any]:
        return {"measures": {**measures}, "refuted": self.ratchet.refuted(measures)}

    def _verdict(self, scored: Mapping[str, Any], accepted: bool | None, entries: list[ExperimentEntry]) -> Verdict:
        if accepted is False:
            return Verdict(False, "Not kept: its own check says that it tells nothing.")
        if self.ratchet.declared:
            return self.ratchet.judge(scored["measures"], scored["refuted"], entries)
        if accepted:
            return Verdict(True, "Kept: its own check says that it tells something; no score was declared.")
        return Verdict(False, "Not kept: neither a score nor a hypothesis was declared that it could be held against.")

    def _kept(self, trial: Trial, value: Mapping[str, Any]) -> dict[str, Any]:
        """What the log holds of a finding; a large one is a file of its own, durable before the log names it."""
        found = value["found"]
        result: dict[str, Any] = found if isinstance(found, dict) else {"value": found}
        data = (json.dumps(result, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode("utf8")
        if len(data) <= _INLINE:
            return result
        (self.output_dir / OUTPUTS).mkdir(exist_ok=True)
        path = artifact.write(self.output_dir / OUTPUTS / f"{trial.identity[:16]}.json", data)
        return {
            "file": f"{OUTPUTS}/{path.name}",
            "sha256": sha256(data).hexdigest(),
            **({"summary": value["said"]} if value["said"] else {}),
        }

    def _complete(self, entries: list[ExperimentEntry]) -> None:
        """Writes the findings that a kill between log and folder has left out."""
        for entry in entries:
            name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{entry.experiment_id}-{entry.method}")
            path = self.output_dir / FINDINGS / f"{artifact.safe_name(name)}.json"
            if entry.informative and not path.exists():
                artifact.write_json(path, entry.to_dict())


def check_seal(folder: Path, about: Mapping[str, Any], sealed: str, entries: list[ExperimentEntry]) -> None:
    """Seals the setup at the first run, and holds it to that seal at each later one.

    Args:
        folder: where the seal lies.
        about: what the seal says in words.
        sealed: the checksum of the setup as it is now.
        entries: what was found under the seal.

    Raises:
        ArtifactError: the setup is another one than that of the seal or of an experiment.
    """
    path = folder / SEAL
    if not path.exists() and not entries:
        artifact.write_json(path, {"format": _FORMAT, "setup": sealed, "about": {**about}})
        return
    seal: dict[str, Any] = artifact.read_json(path) if path.exists() else {}
    if seal.get("format", _FORMAT) != _FORMAT:
        raise ArtifactError(f"{str(path)!r} is of format {seal['format']}, not {_FORMAT}", "Update Fluoroscope.")
    foreign = next((one.experiment_id for one in entries if "setup" not in one.metadata), None)
    if foreign is not None:
        raise ArtifactError(
            f"{str(folder / RESULTS)!r} holds {foreign!r}, which was not made under any setup",
            "Keep notes of your own in a log of their own.",
        )
    other = next((one.experiment_id for one in entries if one.metadata["setup"] != sealed), None)
    if seal.get("setup") != sealed or other is not None:
        old = seal.get("about", {})
        differs = [name for name in about if old.get(name) != about[name]]
        told = f": {', '.join(differs)} differs" if differs else ""
        raise ArtifactError(
            f"the setup in {str(folder)!r} is not the one that was sealed at the first run{told}",
            "Restore it, or begin a new folder: results under two setups cannot be compared.",
        )


def failure(outcome: Outcome) -> str:
    """Why work in a child came to nothing, with the last line of its traceback's place."""
    error = outcome.error or {}
    where = [line.strip() for line in error.get("traceback", "").splitlines() if line.strip().startswith("File ")]
    return f"{error.get('message', '')}{f' ({prose(where[-1])})' if where else ''}"


def _told(trial: Trial) -> dict[str, Any]:
    """What an experiment found, as JSON says it, in a sentence, and whether its own check accepts it; in the child."""
    found = trial.work()
    accepted = None if trial.accepted is None else bool(trial.accepted(found))
    if isinstance(found, Result):
        return {"found": json.loads(found.to_json()), "said": prose(found.summary()), "accepted": accepted}
    said = found.get("conclusion", "") if isinstance(found, dict) else ""
    return {"found": found, "said": said if isinstance(said, str) else "", "accepted": accepted}


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("fluoroscope", "torch", "transformers")}
