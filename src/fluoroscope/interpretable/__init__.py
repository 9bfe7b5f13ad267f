"""InterpretableModel: mlxterp's document on PyTorch, for every family of Hugging Face's causal language models.

Replace `mlxterp` by `fluoroscope.interpretable` in an import and `mx.array` by `torch.Tensor`; modules and names are
the document's. What its code did silently wrong (see docs/mlxterp.md) is right here, or an error that says why.
"""

from fluoroscope.interpretable.collecting import batch_get_activations, collect_activations, get_activations
from fluoroscope.interpretable.core import intervention as interventions
from fluoroscope.interpretable.core.cache import ActivationCache
from fluoroscope.interpretable.lenses import TunedLens
from fluoroscope.interpretable.model import InterpretableModel

__all__ = [
    "ActivationCache",
    "InterpretableModel",
    "TunedLens",
    "batch_get_activations",
    "collect_activations",
    "get_activations",
    "interventions",
]
