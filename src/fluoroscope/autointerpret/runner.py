"""`AutoInterpret`: experiments that are Python functions, on a model that is loaded."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluoroscope.autointerpret import identity
from fluoroscope.autointerpret.confined import Limits
from fluoroscope.autointerpret.log import ExperimentEntry
from fluoroscope.autointerpret.loop import Loop, Trial, check_seal
from fluoroscope.autointerpret.rule import Ratchet
from fluoroscope.errors import ArgumentError, UnavailableError


class AutoInterpret(Loop):
    """A ratchet loop over functions: each is done once, confined, measured on held-out prompts, and written down.

    Args:
        model: what is investigated, on the CPU: the experiments are done in forked processes.
        clean: the prompt that is answered as it should be, for experiments to use; `corrupted` another.
        output_dir: a folder for the log, the findings and the seal.
        max_experiments: how many may be made in all, by all runs on this folder.
        time_per_experiment: seconds.
        memory_per_experiment: megabytes beside the model.
        ratchet: what counts as progress; without one nothing is kept but what `informative_check` accepts.
        held_out: prompts that the metrics measure on and the experiments do not see.

    Raises:
        ArgumentError: a limit that leaves no room.
        ArtifactError: the folder holds the experiments of another setup.
        UnavailableError: a model that is not on the CPU.
    """

    def __init__(
        self,
        model: Any,
        clean: Any = "",
        corrupted: Any = "",
        output_dir: str | os.PathLike[str] = "autointerpret",
        max_experiments: int = 100,
        time_per_experiment: float = 120,
        *,
        memory_per_experiment: int = 4096,
        ratchet: Ratchet | None = None,
        held_out: Any = None,
    ) -> None:
        kind = getattr(getattr(model, "device", None), "type", "cpu")
        if kind != "cpu":
            raise UnavailableError(
                f"a model on {kind} cannot be used by the forked process of an experiment",
                "Load it on the CPU, or set DEVICE in the setup.py of init_autointerpret and use fluoro ratchet run.",
            )
        self.model, self.clean, self.corrupted, self.held_out = model, clean, corrupted, held_out
        self.time_per_experiment = time_per_experiment
        limits = Limits(time_per_experiment, memory_per_experiment)
        super().__init__(Path(output_dir), ratchet or Ratchet(), limits, max_experiments)
        self._sealed = identity.digest(about := self._about())
        check_seal(self.output_dir, about, self._sealed, self.history())

    def run_experiment(
        self,
        name: str,
        fn: Callable[[], Any],
        hypothesis: str = "",
        informative_check: Callable[[Any], bool] | None = None,
    ) -> ExperimentEntry:
        """Makes an experiment; one that was made before gives its old entry, with `metadata["duplicate"]`.

        Args:
            name: what is done.
            fn: does it in a process of its own, so that nothing it changes stays; it gives a Result or what JSON can
                say.
            hypothesis: what is expected.
            informative_check: of what `fn` gave; False says that it tells nothing, and where neither a score nor
                hypotheses are declared, True is what keeps it.

        Raises:
            ArgumentError: as many were made as may be, or another process makes experiments in this folder.
            ArtifactError: the log is damaged, or cannot be written.
        """
        if not callable(fn):
            raise ArgumentError(f"the experiment {name!r} is a {type(fn).__name__}", "Give a function, uncalled.")
        same = identity.digest(self._sealed, identity.of_function(fn))
        trial = Trial(name, hypothesis, same, fn, accepted=informative_check)
        return self.attempt(trial, self._measured, seal=self._sealed)

    def _measured(self, found: Any) -> dict[str, float]:
        return self.ratchet.measure(self.model, found, self.held_out)

    def _about(self) -> dict[str, Any]:
        """All that the meaning of the results depends on."""
        rule = self.ratchet
        given = {"model": self.model, "clean": self.clean, "corrupted": self.corrupted, "held_out": self.held_out}
        return {
            **{name: identity.of_value(value) for name, value in given.items()},
            "score": rule.score,
            "margin": rule.margin,
            "baseline": rule.baseline,
            "metrics": {name: identity.of_function(rule.metrics.get(name)) for name in rule.metrics.names},
            "hypotheses": {
                name: [each.statement, identity.of_function(each.holds)] for name, each in rule.hypotheses.items()
            },
        }
