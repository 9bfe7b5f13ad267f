"""The ratchet: an experiment is kept if it beats all before it on prompts that it never saw, or refutes a hypothesis.

What counts as better, and what is believed, is stated before the first experiment and judged from the measures alone.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluoroscope.autointerpret.log import ExperimentEntry
from fluoroscope.autointerpret.metric_registry import MetricRegistry
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.render.text import number, prose

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Hypothesis:
    """Something that is believed, and what would refute it.

    Args:
        statement: in words.
        holds: of an experiment's measures on held-out prompts, by name: False if they contradict the statement.
    """

    statement: str
    holds: Callable[[Measures], bool]


@dataclass(frozen=True)
class Verdict:
    """Whether an experiment is kept, why, and which hypotheses it rules out."""

    kept: bool
    reason: str
    ruled_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ratchet:
    """What counts as progress.

    Args:
        metrics: what is measured of every finding.
        score: the name of the one that has to grow; None if hypotheses alone are asked.
        margin: by how much it has to, in its own units.
        baseline: what the first experiment has to beat by the margin; None keeps the first that can be measured.
        hypotheses: by name; each is ruled out once.

    Raises:
        ArgumentError: a score that is no metric, a margin below 0, or nothing that could be measured.
    """

    metrics: MetricRegistry = field(default_factory=MetricRegistry)
    score: str | None = None
    margin: float = 0.0
    baseline: float | None = None
    hypotheses: Mapping[str, Hypothesis] = field(default_factory=dict[str, Hypothesis])

    def __post_init__(self) -> None:
        if self.score is not None and self.score not in self.metrics:
            hint = nearest(self.score, self.metrics.names) or "Register it first."
            raise ArgumentError(f"the score {self.score!r} is no metric", hint)
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise ArgumentError(f"margin={self.margin} is no amount to grow by", "Give 0 or more.")
        if self.baseline is not None and not math.isfinite(self.baseline):
            raise ArgumentError(f"baseline={self.baseline} cannot be beaten", "Give a number, or None.")
        if self.hypotheses and not len(self.metrics):
            raise ArgumentError("hypotheses are judged from measures, and there is no metric", "Register one.")

    @property
    def declared(self) -> bool:
        """Whether anything is stated that could be improved or ruled out."""
        return self.score is not None or bool(self.hypotheses)

    def measure(self, model: Any, found: Any, held_out: Any) -> dict[str, float]:
        """Every metric of a finding.

        Raises:
            ArgumentError: one that gives no finite number.
        """
        measures: dict[str, float] = {}
        for name in self.metrics.names:
            value = self.metrics.get(name)(model, found, held_out)
            try:
                measures[name] = float(value)
            except (TypeError, ValueError):
                measures[name] = math.nan
            if not math.isfinite(measures[name]):
                raise ArgumentError(f"the metric {name!r} gave {value!r:.80}", "It gives a finite number.")
        return measures

    def refuted(self, measures: Measures) -> list[str]:
        """The hypotheses that measures contradict."""
        return [name for name, each in self.hypotheses.items() if not each.holds(measures)]

    def judge(self, measures: Measures, refuted: Iterable[str], before: Iterable[ExperimentEntry]) -> Verdict:
        """Whether an experiment with these measures, which refute so much, is kept after those before it."""
        earlier = list(before)
        done = {name for entry in earlier for name in entry.metadata.get("ruled_out", ())}
        out = tuple(name for name in refuted if name not in done)
        better, told = self._compared(measures, earlier)
        if out:
            refuted = [f"{prose(name)!r} ({prose(self.hypotheses[name].statement).removesuffix('.')})" for name in out]
            seen = ", ".join(f"{prose(name)} {_short(value)}" for name, value in measures.items())
            told = [*told, f"rules out {', '.join(refuted)}: {seen}"]
        reason = "; ".join(told) or "it rules out nothing that still stands"
        return Verdict(better or bool(out), f"{'Kept' if better or out else 'Not kept'}: {reason}.", out)

    def best(self, entries: Iterable[ExperimentEntry]) -> ExperimentEntry | None:
        """The kept experiment with the largest score."""
        scored = [entry for entry in entries if entry.informative and self.score in entry.metadata.get("measures", {})]
        return max(scored, key=lambda entry: entry.metadata["measures"][self.score], default=None)

    def _compared(self, measures: Measures, earlier: list[ExperimentEntry]) -> tuple[bool, list[str]]:
        """Whether the score has grown enough, and the sentence."""
        if self.score is None:
            return False, []
        value, best = measures[self.score], self.best(earlier)
        told = f"{prose(self.score)} {number(value)} on held-out prompts"
        mark: float | None = self.baseline if best is None else best.metadata["measures"][self.score]
        if mark is None:
            return True, [f"{told}, the first that is measured"]
        whose = "of the baseline" if best is None else f"of {best.experiment_id}"
        more = value > mark and value - mark >= self.margin
        by = f", by {number(value - mark, signed=True)}" if value != mark else ""
        least = f"; at least {number(self.margin, signed=True)} is asked" if not more and self.margin else ""
        return more, [f"{told}, against {number(mark)} {whose}{by}{least}"]


def _short(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() else number(value)
