"""The core of mlxterp: proxies of modules, the trace, the cache, and where a model keeps its parts."""

from fluoroscope.interpretable.core.cache import ActivationCache
from fluoroscope.interpretable.core.module_resolver import (
    ModuleResolver,
    find_layer_key_pattern,
    normalize_layer_key,
    resolve_component,
)
from fluoroscope.interpretable.core.proxies import LayerListProxy, ModuleProxy, OutputProxy
from fluoroscope.interpretable.core.trace import Trace

__all__ = [
    "ActivationCache",
    "LayerListProxy",
    "ModuleProxy",
    "ModuleResolver",
    "OutputProxy",
    "Trace",
    "find_layer_key_pattern",
    "normalize_layer_key",
    "resolve_component",
]
