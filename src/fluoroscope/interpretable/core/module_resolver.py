"""Where a model keeps its embedding, final norm and unembedding, and under which key a part of a block was captured."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from fluoroscope import aliases, architectures
from fluoroscope.architectures import Architecture
from fluoroscope.errors import ArchitectureError, FluoroscopeError, SiteError, nearest
from fluoroscope.interpretable.core.cache import Activations
from fluoroscope.interpretable.opened import xray
from fluoroscope.interpretable.refusals import MissingError, PathError
from fluoroscope.modules import submodule

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model
    from fluoroscope.sites import Site

DEFAULT = "layers"
"""The `layer_attr` that stands for wherever the family keeps its blocks."""

_PREFIXED = re.compile(r"(?:\w+\.)*?((?:layers|h|blocks)\.\d+(?:\..+)?)")


class ModuleResolver:
    """Finds the embedding, the final norm and the unembedding by the family's own paths, or by those that are given.

    Args:
        model: a Hugging Face module, or one that is loaded already.
        embedding_path, norm_path, lm_head_path: paths to use instead.

    Raises:
        PathError: a path that leads to no module.
        ArchitectureError: a family that nothing describes, and not all paths were given.
    """

    def __init__(
        self,
        model: "nn.Module | Model | InterpretableModel",
        embedding_path: str | None = None,
        norm_path: str | None = None,
        lm_head_path: str | None = None,
    ) -> None:
        found: Any = model if isinstance(model, nn.Module) else xray(model)
        self._model: nn.Module = found if isinstance(found, nn.Module) else found.hf
        known = None if isinstance(found, nn.Module) else found.architecture
        given = {"embed": embedding_path, "final_norm": norm_path, "lm_head": lm_head_path}
        self._architecture = described(self._model, {key: path for key, path in given.items() if path}, known)

    def get_embedding_layer(self) -> nn.Module:
        """The token embedding."""
        return self._at(self._architecture.embed)

    def get_final_norm(self) -> nn.Module | None:
        """The norm before the unembedding; None on a family without one."""
        path = self._architecture.final_norm
        return None if path is None else self._at(path)

    def get_lm_head(self) -> nn.Module | None:
        """The unembedding, tied or not; None where the module has none."""
        return submodule(self._model, self._architecture.lm_head)

    def get_output_projection(self) -> tuple[nn.Module, str, bool]:
        """(module, its path, whether its weight is the embedding's); the embedding itself where there is no other."""
        head, embedding = self.get_lm_head(), self.get_embedding_layer()
        if head is None:
            return embedding, self._architecture.embed, True
        tied = getattr(head, "weight", None) is getattr(embedding, "weight", None)
        return head, self._architecture.lm_head, tied

    def clear_cache(self) -> None:
        """Nothing is remembered: every call looks at the module as it is."""

    def _at(self, path: str) -> nn.Module:
        found = submodule(self._model, path)
        if found is None:
            raise PathError(f"{type(self._model).__name__} has no module {path!r}", _nearest(self._model, path))
        return found


def described(module: nn.Module, given: Mapping[str, str], known: Architecture | None = None) -> Architecture:
    """The family's architecture with the paths that were given instead of its own.

    Raises:
        PathError: a path that leads to no module.
        ArchitectureError: nothing describes the family, and no path was given.
    """
    for path in given.values():
        if submodule(module, path) is None:
            raise PathError(f"{type(module).__name__} has no module {path!r}", _nearest(module, path))
    if known is None:
        try:
            known = architectures.find(getattr(module, "config", None))
        except ArchitectureError:
            if not given:
                raise
            known = Architecture()
    return replace(known, **dict(given))


def blocks_path(module: nn.Module, layer_attr: str) -> str:
    """The full path of the list of blocks that `layer_attr` names: the whole of it, or its end ("h").

    Raises:
        PathError: no list of modules has this path.
    """
    every = module.named_modules(remove_duplicate=False)
    lists = [name for name, child in every if isinstance(child, nn.ModuleList)]
    ends = [name for name in lists if name == layer_attr or name.endswith(f".{layer_attr}")]
    if not ends:
        raise PathError(f"{type(module).__name__} has no list of layers {layer_attr!r}", nearest(layer_attr, lists))
    return min(ends, key=len)


def normalize_layer_key(key: str) -> str:
    """The key from its list of blocks on, or without leading "model.": "model.model.layers.0.mlp" is "layers.0.mlp"."""
    match = _PREFIXED.fullmatch(key)
    return match[1] if match else re.sub(r"^(model\.)+", "", key)


def find_layer_key_pattern(activations: Mapping[str, Any], layer_idx: int, component: str | None = None) -> str | None:
    """The key of a block's output, or of a part of it, among captured activations; None if it is not there."""
    try:
        return resolve_component(component or "resid_post", layer_idx, activations)
    except FluoroscopeError:
        return None


def resolve_component(component: str, layer_idx: int, activations: Mapping[str, Any]) -> str:
    """The key under which a part of a block was captured.

    Args:
        component: resid_post, resid_pre, attn, mlp, attn_head, or a path within the block ("self_attn.o_proj").
        activations: of a trace, or any mapping whose keys name sites.

    Raises:
        SiteError, UnavailableError: no such part.
        MissingError: it was not captured.
    """
    if isinstance(activations, Activations):
        return activations.component(component, layer_idx)
    wanted, _ = aliases.component(component, layer_idx)
    found = next((key for key in activations if _site(key) == wanted), None)
    if found is None:
        raise MissingError(f"no key is {component!r} of layer {layer_idx}", nearest(component, activations))
    return found


def _site(key: str) -> "Site | None":
    try:
        return aliases.resolve(key)
    except SiteError:
        return None


def _nearest(module: nn.Module, path: str) -> str:
    return nearest(path, [name for name, _ in module.named_modules() if name])
