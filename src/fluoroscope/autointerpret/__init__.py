"""The ratchet loop: experiments that are each made once, confined, measured on what they never saw, and written down.

`init_autointerpret` makes a folder with three files: `setup.py` says what is asked and what counts as better, and is
sealed; `experiment.py` is written by whoever investigates, `program.md` by whoever asks. `fluoro ratchet run` makes its
experiments; `AutoInterpret` does the same for Python functions.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fluoroscope.autointerpret.folder import Investigation
    from fluoroscope.autointerpret.log import ExperimentEntry, ExperimentLog
    from fluoroscope.autointerpret.metric_registry import MetricRegistry
    from fluoroscope.autointerpret.rule import Hypothesis, Ratchet
    from fluoroscope.autointerpret.runner import AutoInterpret
    from fluoroscope.autointerpret.scaffold import init_autointerpret

_HOMES = {
    "AutoInterpret": "runner",
    "ExperimentEntry": "log",
    "ExperimentLog": "log",
    "Hypothesis": "rule",
    "Investigation": "folder",
    "MetricRegistry": "metric_registry",
    "Ratchet": "rule",
    "init_autointerpret": "scaffold",
}

__all__ = [
    "AutoInterpret",
    "ExperimentEntry",
    "ExperimentLog",
    "Hypothesis",
    "Investigation",
    "MetricRegistry",
    "Ratchet",
    "init_autointerpret",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
