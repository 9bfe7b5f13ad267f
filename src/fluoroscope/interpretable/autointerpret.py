"""The ratchet loop under mlxterp's module name; `fluoroscope.autointerpret` has it."""

from fluoroscope.autointerpret import (
    AutoInterpret,
    ExperimentEntry,
    ExperimentLog,
    MetricRegistry,
    init_autointerpret,
)

__all__ = ["AutoInterpret", "ExperimentEntry", "ExperimentLog", "MetricRegistry", "init_autointerpret"]
