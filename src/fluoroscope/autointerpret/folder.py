"""An investigation in files: a sealed setup, an experiment that anybody may rewrite, and a log that only grows."""

import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fluoroscope import artifact
from fluoroscope.autointerpret import identity, turn
from fluoroscope.autointerpret.confined import Limits, confined
from fluoroscope.autointerpret.log import ExperimentEntry, ExperimentLog
from fluoroscope.autointerpret.loop import RESULTS, SEAL, Loop, Trial, check_seal, failure
from fluoroscope.autointerpret.metric_registry import MetricRegistry
from fluoroscope.autointerpret.rule import Ratchet
from fluoroscope.errors import ArgumentError, ArtifactError, nearest

SETUP, EXPERIMENT, PROGRAM, AGENTS, CODE = "setup.py", "experiment.py", "program.md", "AGENTS.md", "experiments"

_ASKED = ("name", "hypothesis", "parameters")
_FUNCTIONS = ("load", "prompts", "held_out")
_SEEN = ("MODEL", "QUESTION", "SCORE", "MARGIN", "BASELINE", "MAX_EXPERIMENTS", "SECONDS", "MEGABYTES")


class Investigation:
    """The experiments of a folder that `init_autointerpret` made.

    Its `setup.py` is sealed by the first run. It is read once here; models on the CPU are loaded once, others by each
    experiment in its own process.

    Args:
        folder: holds `setup.py` and `experiment.py`.

    Raises:
        ArgumentError: one of the two is missing, or says what cannot be.
        ArtifactError: the setup is not the sealed one, or the log is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        source = _read(self.folder / SETUP)
        self._sealed = sha256(source).hexdigest()
        if (self.folder / SEAL).exists():  # before anything of a setup that was changed is run
            check_seal(self.folder, {}, self._sealed, ExperimentLog(self.folder / RESULTS).entries())
        self._setup = _Setup.of(self.folder / SETUP)
        limits = Limits(self._setup.get("SECONDS", 120), self._setup.get("MEGABYTES", 4096))
        self.loop = Loop(self.folder, self._setup.ratchet(), limits, self._setup.get("MAX_EXPERIMENTS", 100))
        self._held: dict[str, Any] = {}
        self._warm = self._setup.get("DEVICE", "cpu") == "cpu"

    def run(self, at_most: int | None = None) -> Iterator[ExperimentEntry]:
        """Makes what `experiment.py` proposes until it proposes nothing new, or no more may be made; yields each.

        Args:
            at_most: how many now; None for no limit but the setup's.

        Raises:
            ArgumentError: nothing may be made any more, or `experiment.py` cannot be read or asked.
            ArtifactError: the setup is not the sealed one any more, or the log cannot be written.
        """
        self.loop.check_room(self.loop.n_experiments)
        made = 0
        while not self.loop.is_done and (at_most is None or made < at_most):
            entry = self.step()
            if entry is None:
                return
            made += 1
            yield entry

    def step(self) -> ExperimentEntry | None:
        """Makes the next experiment; None if there is none that was not made before.

        Raises:
            ArgumentError, ArtifactError: as `run`.
        """
        self._check_setup()
        source = _read(self.folder / EXPERIMENT)
        code = identity.of_source(source.decode("utf8", "replace"), EXPERIMENT)
        archived = self._archived(source)
        if not archived.exists():
            archived.parent.mkdir(exist_ok=True)
            artifact.write(archived, source)
        asked = self._proposed(source)
        if asked is None:
            return None
        same = identity.digest(self._sealed, code, asked["parameters"])
        if any(entry.metadata.get("identity") == same for entry in self.loop.history()):
            return None
        if self._warm:
            self._prepare()
        trial = Trial(
            asked["name"], asked["hypothesis"], same, lambda: self._experiment(source, asked["parameters"]),
            known={"parameters": asked["parameters"], "code": f"{CODE}/{archived.name}"},
        )  # fmt: skip
        return self.loop.attempt(trial, self._measured, seal=self._sealed, prepare=self._prepare)

    def _check_setup(self) -> None:
        """Whether the setup is what it was when it was read, and what was sealed."""
        if sha256(_read(self.folder / SETUP)).hexdigest() != self._sealed:
            raise ArtifactError(
                f"{str(self.folder / SETUP)!r} was changed while it was in use",
                "Restore it, or begin a new folder: results under two setups cannot be compared.",
            )
        about = {name.lower(): self._setup.get(name, None) for name in _SEEN}
        check_seal(self.folder, about, self._sealed, self.loop.history())

    # ── in this process, or in the child ─────────────────────────────────────────────────────────────

    def _prepare(self) -> None:
        """The model, and both sets of prompts."""
        if not self._held:
            model = self._setup.call("load")
            self._held = {"model": model, **{name: self._setup.call(name, model) for name in ("prompts", "held_out")}}

    def _measured(self, found: Any) -> dict[str, float]:
        return self.loop.ratchet.measure(self._held["model"], found, self._held["held_out"])

    # ── in the child ─────────────────────────────────────────────────────────────────────────────────

    def _module(self, source: bytes) -> Mapping[str, Any]:
        """The names of `experiment.py`, as its text was when the experiment was named."""
        return runpy.run_path(str(self._archived(source)), run_name="experiment")

    def _archived(self, source: bytes) -> Path:
        return self.folder / CODE / f"{sha256(source).hexdigest()[:16]}.py"

    def _experiment(self, source: bytes, parameters: Mapping[str, Any]) -> Any:
        names = self._module(source)
        return _function(names, "run", EXPERIMENT)(self._held["model"], self._held["prompts"], **parameters)

    def _proposed(self, source: bytes) -> dict[str, Any] | None:
        """What is to be done next: name, hypothesis and parameters."""
        history = [entry.to_dict() for entry in self.loop.history()]

        def ask() -> Any:
            names = self._module(source)
            told = {"name": names.get("NAME", "run"), "hypothesis": names.get("HYPOTHESIS", ""), "parameters": {}}
            if "propose" not in names:
                return told
            asked = _function(names, "propose", EXPERIMENT)(history)
            return None if asked is None else told | dict(asked)

        outcome = confined(ask, self.loop.limits)
        if outcome.error is not None:
            raise ArgumentError(f"{EXPERIMENT} cannot be asked what to do: {failure(outcome)}", "Correct it.")
        asked = outcome.value
        unknown = sorted({*(asked or {})} - {*_ASKED})
        if unknown:
            raise ArgumentError(f"propose gave {unknown[0]!r}", f"It gives {', '.join(_ASKED)}, or None.")
        if asked is not None and not isinstance(asked["parameters"], dict):
            raise ArgumentError(f"propose gave parameters={asked['parameters']!r:.80}", "They are a dict of keywords.")
        return asked


@dataclass(frozen=True)
class _Setup:
    """The names of a `setup.py`."""

    names: Mapping[str, Any]

    @classmethod
    def of(cls, path: Path) -> "_Setup":
        try:
            names = runpy.run_path(str(path), run_name="setup")
        except Exception as error:  # whatever its author wrote
            raise ArgumentError(
                f"{str(path)!r} cannot be run: {type(error).__name__}: {error}", "Correct it."
            ) from error
        for name in _FUNCTIONS:
            _function(names, name, SETUP)
        return cls(names)

    def get(self, name: str, default: Any) -> Any:
        return self.names.get(name, default)

    def call(self, name: str, *arguments: Any) -> Any:
        return self.names[name](*arguments)

    def ratchet(self) -> Ratchet:
        """What it says counts as progress."""
        metrics = self.get("METRICS", None)
        if not isinstance(metrics, MetricRegistry) or not len(metrics):
            raise ArgumentError(f"METRICS of {SETUP} holds no metric", "Make a MetricRegistry, and register one.")
        asked = {"SCORE": None, "MARGIN": 0.0, "BASELINE": None, "HYPOTHESES": {}}
        rule = Ratchet(metrics, **{name.lower(): self.get(name, default) for name, default in asked.items()})
        if not rule.declared:
            raise ArgumentError(
                f"{SETUP} declares neither SCORE nor HYPOTHESES, so that nothing could be kept", "Declare one of them."
            )
        return rule


def status(folder: str | Path) -> dict[str, Any]:
    """What there is in a folder of an investigation, without running any of its code or loading a model.

    Raises:
        ArgumentError: the folder holds no setup.
    """
    folder = Path(folder)
    now = sha256(_read(folder / SETUP)).hexdigest()
    log = ExperimentLog(folder / RESULTS)
    entries, sealed = log.sound(), (folder / SEAL).exists()
    seal: dict[str, Any] = artifact.read_json(folder / SEAL) if sealed else {}
    about: dict[str, Any] = seal.get("about", {})
    score = about.get("score")
    best = max(
        (one for one in entries if one.informative and score in one.metadata.get("measures", {})),
        key=lambda one: one.metadata["measures"][score],
        default=None,
    )
    return {
        **about,
        "setup": "not sealed yet" if not sealed else "as sealed" if seal.get("setup") == now else "changed since",
        "state": turn.state(folder),
        "experiments": len(entries),
        "kept": [one.experiment_id for one in entries if one.informative],
        "failed": [one.experiment_id for one in entries if one.failed],
        "best": None if best is None else {"experiment": best.experiment_id, score: best.metadata["measures"][score]},
        "ruled_out": sorted({name for one in entries for name in one.metadata.get("ruled_out", ())}),
        "torn_bytes": len(log.torn),
        "damage": log.damage,
        "log": [one.line() for one in entries],
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArgumentError(
            f"cannot read {str(path)!r}: {error.strerror}", f"fluoro ratchet init {path.parent} makes such a folder."
        ) from error


def _function(names: Mapping[str, Any], name: str, file: str) -> Callable[..., Any]:
    found = names.get(name)
    if not callable(found):
        own = [each for each, value in names.items() if callable(value) and not each.startswith("_")]
        raise ArgumentError(f"{file} has no function {name!r}", nearest(name, own))
    return found
