"""Causes as mlxterp has them: patching of layers, heads and paths, circuits, attribution, and the residual stream."""

from fluoroscope.interpretable.causal.attribution import attribution_patching, direct_logit_attribution
from fluoroscope.interpretable.causal.circuits import acdc
from fluoroscope.interpretable.causal.patching import CausalTrace, activation_patching, causal_trace, path_patching
from fluoroscope.interpretable.causal.residual import ResidualStreamAccessor

__all__ = [
    "CausalTrace",
    "ResidualStreamAccessor",
    "acdc",
    "activation_patching",
    "attribution_patching",
    "causal_trace",
    "direct_logit_attribution",
    "path_patching",
]
