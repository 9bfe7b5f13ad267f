"""A trace as mlxterp has it: one forward pass when the `with` block begins, read inside of it and after."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fluoroscope import trace as ours
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interpretable.core.cache import Activations
from fluoroscope.interpretable.opened import edits
from fluoroscope.interpretable.refusals import MissingError, valued
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model

_OPEN: ContextVar[tuple["Trace", ...]] = ContextVar("open", default=())

_LARGE = ("scores", "head_out")
"""Sites that are kept only where they are asked for: the first is as large as the pattern, the other far larger."""


class Trace:
    """One forward pass, made when the block begins. Made by `InterpretableModel.trace`.

    The block sees its values, and cannot change them any more: what is to be changed is named in `interventions`.
    """

    def __init__(
        self,
        model: "Model",
        inputs: Any,
        interventions: Mapping[str, Callable[[Tensor], Tensor]] | None,
        sites: Sequence[str] | None,
    ) -> None:
        self.model = model
        self.saved_values: dict[str, Tensor] = {}
        self._asked = (inputs, interventions, sites)
        self._found: ours.Trace | None = None
        self._activations: Activations | None = None
        self._outer: Token[tuple[Trace, ...]] | None = None

    def __enter__(self) -> "Trace":
        inputs, interventions, sites = self._asked
        names = [str(site) for site in self.model.sites() if site.name not in (*_LARGE, "logits")]
        with valued():
            self._found = self.model.trace(inputs, names if sites is None else sites, edits(interventions))
        self._activations = Activations(self.model, self._found)
        self._outer = _OPEN.set((*_OPEN.get(), self))
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is not None:
            _OPEN.reset(self._outer)
            self._outer = None

    @property
    def result(self) -> ours.Trace:
        """The trace of this package behind it, with all that can be done with one.

        Raises:
            ArgumentError: nothing has run yet.
        """
        if self._found is None:
            raise ArgumentError("this trace has not run", "Write `with model.trace(…) as trace:`; the block runs it.")
        return self._found

    @property
    def tokens(self) -> Tokens:
        """What was read, padding and all."""
        return self.result.tokens

    @property
    def output(self) -> Tensor:
        """Logits [batch, pos, d_vocab]."""
        return self.result.logits

    @property
    def activations(self) -> Activations:
        """Everything that was kept, by module path or site."""
        assert self.result is not None
        assert self._activations is not None
        return self._activations

    def get(self, name: str) -> Tensor:
        """A value that `.save()` was called on, such as "layers.3.output".

        Raises:
            MissingError: none of this name was saved.
        """
        if name not in self.saved_values:
            raise MissingError(f"nothing was saved as {name!r}", nearest(name, self.saved_values))
        return self.saved_values[name]

    def get_activation(self, name: str) -> Tensor:
        """What a module gave out, or any site: "model.model.layers.3.self_attn", "layers.3.self_attn", "attn_out.3".

        Raises:
            MissingError: no such value, or it was not kept.
        """
        return self.activations[name]


def current(model: "Model", name: str) -> Trace:
    """The innermost open trace of a model, for whoever saves a value.

    Raises:
        ArgumentError: none is open.
    """
    found = next((each for each in reversed(_OPEN.get()) if each.model is model), None)
    if found is None:
        raise ArgumentError(
            f"{name} was saved outside of a trace, where no pass gives it a value", "with model.trace(…): … .save()"
        )
    return found


def save(model: "Model", name: str, path: str) -> Tensor:
    """Notes the value of a module path in the innermost open trace as `name`.output; without a name the logits.

    Raises:
        ArgumentError: no trace is open.
        MissingError: the module's output is no site of this model.
    """
    full = f"{name}.output" if name else "output"
    found = current(model, full)
    found.saved_values[full] = found.activations[path] if path else found.output
    return found.saved_values[full]
