"""A real-time X-ray for transformer language models: see, change and explain every value of a forward pass.

Names are resolved when they are used: `import fluoroscope` imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fluoroscope.collector import paused

if TYPE_CHECKING:
    from fluoroscope import analyses, compat, interventions, views
    from fluoroscope.analyzer import ModelAnalyzer
    from fluoroscope.architectures import Architecture
    from fluoroscope.causal_trace import CausalTrace
    from fluoroscope.errors import FluoroscopeError
    from fluoroscope.loading import load
    from fluoroscope.model import Model
    from fluoroscope.reports import Report
    from fluoroscope.result import Result
    from fluoroscope.sites import Site
    from fluoroscope.store import Store
    from fluoroscope.tokens import Tokens
    from fluoroscope.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "Architecture",
    "CausalTrace",
    "FluoroscopeError",
    "Model",
    "ModelAnalyzer",
    "Report",
    "Result",
    "Site",
    "Store",
    "Tokens",
    "Trace",
    "analyses",
    "compat",
    "interventions",
    "load",
    "views",
]

_HOMES = {
    "Architecture": "architectures",
    "CausalTrace": "causal_trace",
    "FluoroscopeError": "errors",
    "Model": "model",
    "ModelAnalyzer": "analyzer",
    "Report": "reports",
    "Result": "result",
    "Site": "sites",
    "Store": "store",
    "Tokens": "tokens",
    "Trace": "trace",
    "load": "loading",
}


def __getattr__(name: str) -> Any:
    with paused():
        if name in _HOMES:
            return getattr(importlib.import_module(f"fluoroscope.{_HOMES[name]}"), name)
        if name in __all__:
            return importlib.import_module(f"fluoroscope.{name}")
    raise AttributeError(f"module 'fluoroscope' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
