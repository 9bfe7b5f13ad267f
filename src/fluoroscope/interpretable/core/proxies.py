"""Modules as mlxterp writes them: `model.layers[3].self_attn.output.save()`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, overload

from torch import Tensor, nn

from fluoroscope.errors import EditError, nearest
from fluoroscope.interpretable.core import trace
from fluoroscope.interpretable.refusals import LayerError, PathError

if TYPE_CHECKING:
    from fluoroscope.model import Model


class OutputProxy:
    """What a module gives out in the trace that is open."""

    def __init__(self, model: "Model", name: str, path: str) -> None:
        self._model, self._name, self._path = model, name, path

    def save(self) -> Tensor:
        """The value, which the trace keeps as `<name>.output` as well.

        Raises:
            ArgumentError: outside of a trace.
            MissingError: this module's output is no site; the nearest is named.
        """
        return trace.save(self._model, self._name, self._path)

    def __repr__(self) -> str:
        return f"OutputProxy({self._name or 'model'})"


class ModuleProxy:
    """One module; its children are attributes, and so is whatever else it has.

    A block's `self_attn` and `mlp` are these parts on every family, whatever it calls them.
    """

    def __init__(self, model: "Model", name: str, module: nn.Module, path: str | None = None) -> None:
        vars(self).update(_model=model, _name=name, _module=module, _path=path or name)

    @property
    def output(self) -> OutputProxy:
        """Its output in a trace."""
        return OutputProxy(self._model, self._name, self._path)

    def __getattr__(self, name: str) -> Any:
        module: nn.Module = vars(self)["_module"]
        children = dict(module.named_children())
        arch = self._model.architecture
        own = {"self_attn": arch.attn, "attn": arch.attn, "mlp": arch.mlp}.get(name, name)
        for found in (name, own):
            if found in children:
                path = f"{vars(self)['_path']}.{found}"
                return ModuleProxy(self._model, f"{self._name}.{name}", children[found], path)
        if not hasattr(module, name):
            raise PathError(f"{self._name} has no part {name!r}", nearest(name, children))
        return getattr(module, name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise EditError(
            f"{self._name}.{name} was set, and the pass is over when the block begins",
            f"model.trace(…, interventions={{{self._name!r}: iv.replace_with(value)}})",
        )

    def __repr__(self) -> str:
        return f"ModuleProxy({self._name}: {type(self._module).__name__})"


class LayerListProxy:
    """The blocks: by index, negative ones from the end, or by slice; with a length; one after the other."""

    def __init__(self, model: "Model") -> None:
        self._model = model

    @overload
    def __getitem__(self, index: int) -> ModuleProxy: ...
    @overload
    def __getitem__(self, index: slice) -> list[ModuleProxy]: ...
    def __getitem__(self, index: int | slice) -> ModuleProxy | list[ModuleProxy]:
        if isinstance(index, slice):
            return [self[layer] for layer in range(len(self))[index]]
        if not -len(self) <= index < len(self):
            raise LayerError(f"there is no layer {index} of {self._model.name}", f"Layers run 0..{len(self) - 1}.")
        layer = index % len(self)
        return ModuleProxy(self._model, f"layers.{layer}", self._model.blocks[layer])

    def __len__(self) -> int:
        return len(self._model.blocks)

    def __iter__(self) -> Iterator[ModuleProxy]:
        return (self[layer] for layer in range(len(self)))

    def __repr__(self) -> str:
        return f"LayerListProxy({len(self)} layers)"
