"""What can be done to a value: plain functions from a tensor to a tensor of the same shape and dtype.

`model.trace(prompt, edits={"L2H3": zero()})` hands each function the slice that its site names (the
unit's, and with `at` only some positions and rows) and puts the result back. The slice is a private
copy, so a function may also work in place.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as _replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fluoroscope.errors import EditError

Intervention = Callable[[Tensor], Tensor]
Positions = int | Sequence[int] | Tensor | slice | None


@dataclass(frozen=True)
class At:
    """An intervention limited to some positions and batch rows; the run resolves them. Made by `at`."""

    function: Intervention
    positions: Positions
    rows: int | Sequence[int] | None

    def __call__(self, value: Tensor) -> Tensor:
        raise EditError("at(…) needs a run to know its positions", "Pass it in edits={site: at(…)}.")


@dataclass(frozen=True)
class Composed:
    """Interventions applied one after the other. Made by `compose`."""

    functions: tuple[Intervention, ...]

    def __call__(self, value: Tensor) -> Tensor:
        for function in self.functions:
            value = function(value)
        return value


def _named(function: Intervention, name: str) -> Intervention:
    """Names the closure by the call that made it, which is what recipes record."""
    function.__name__ = function.__qualname__ = name
    return function


def describe(function: Intervention) -> str:
    """The call that made an intervention, for recipes: `scale(0.5)`, `at(zero(), positions=-1)`."""
    if isinstance(function, At):
        rows = "" if function.rows is None else f", rows={function.rows}"
        return f"at({describe(function.function)}, positions={function.positions}{rows})"
    if isinstance(function, Composed):
        return f"compose({', '.join(describe(part) for part in function.functions)})"
    return getattr(function, "__name__", type(function).__name__)


def _like(value: "Tensor | float", target: Tensor, what: str) -> Tensor:
    """`value` in the dtype and on the device of `target`, proved to broadcast to exactly its shape."""
    given = torch.as_tensor(value).to(dtype=target.dtype, device=target.device)
    # torch.broadcast_shapes takes longer than the edit itself.
    sizes = zip(reversed(given.shape), reversed(target.shape), strict=False)
    if given.dim() > target.dim() or any(size not in (1, wanted) for size, wanted in sizes):
        raise EditError(
            f"{what} has shape {tuple(given.shape)}, which does not fit the value's {tuple(target.shape)}",
            "Nothing is aligned or cut silently: give one vector, one value per position, or limit it with at().",
        )
    return given


def _number(value: object, what: str) -> float:
    """A finite number, as Python's own type says it."""
    if not isinstance(value, int | float | np.number) or not math.isfinite(value):
        raise EditError(f"{what} is {value!r}", "Give a finite number.")
    return float(value)


def _no_nan(value: object, what: str) -> None:
    if isinstance(value, Tensor) and value.is_floating_point() and bool(value.isnan().any()):
        raise EditError(f"{what} holds NaN", "See where it was made.")


def _integers(value: object, what: str) -> None:
    """Raises for what counts nothing: integers, sequences of them and slices do, None means all."""
    parts: Any = value
    if isinstance(value, slice):
        parts = [part for part in (value.start, value.stop, value.step) if part is not None]
    elif value is None or not isinstance(value, Iterable):
        parts = [] if value is None else [value]
    wrong = [part for part in parts if isinstance(part, str | bool) or not hasattr(part, "__index__")]
    if wrong:
        raise EditError(f"at({what}={value!r}): {wrong[0]!r} is no integer", "Give integers, a list or a slice.")


def _shape(value: "Tensor | float") -> object:
    """What a recipe says of a value: a number itself, a tensor's shape."""
    return list(value.shape) if isinstance(value, Tensor) else value


def zero() -> Intervention:
    """Zero ablation."""
    return _named(lambda value: torch.zeros_like(value), "zero()")  # noqa: PLW0108


def scale(factor: float) -> Intervention:
    """Multiplies by `factor`."""
    _number(factor, "the factor of scale")
    return _named(lambda value: value * factor, f"scale({factor})")


def add(vector: "Tensor | float", coefficient: float = 1.0) -> Intervention:
    """Adds `coefficient * vector`, cast to the value's dtype and device: steering.

    Args:
        vector: anything that broadcasts to the value, such as [d_model].
        coefficient: its factor.
    """
    _number(coefficient, "the coefficient of add")
    _no_nan(vector, "the added vector")
    name = f"add({_shape(vector)}, coefficient={coefficient})"
    return _named(lambda value: value + coefficient * _like(vector, value, "the added vector"), name)


def replace(new: "Tensor | float") -> Intervention:
    """Replaces the value by `new`: activation patching. Strict: nothing is aligned or truncated."""
    _no_nan(new, "the replacement")
    name = f"replace({_shape(new)})"
    return _named(lambda value: _like(new, value, "the replacement").expand_as(value).clone(), name)


def clamp(minimum: float | None = None, maximum: float | None = None) -> Intervention:
    """Clamps to [minimum, maximum]; at least one bound is given."""
    if minimum is None and maximum is None:
        raise EditError("clamp() without a bound changes nothing", "Give minimum, maximum or both.")
    bounds = [_number(bound, "a bound of clamp") for bound in (minimum, maximum) if bound is not None]
    if bounds != sorted(bounds):
        raise EditError(f"clamp({minimum}, {maximum}) has its bounds the wrong way round", "Give the minimum first.")
    return _named(lambda value: value.clamp(minimum, maximum), f"clamp({minimum}, {maximum})")


def noise(std: float, seed: int) -> Intervention:
    """Adds Gaussian noise of standard deviation `std`; the same seed and shape give the same noise."""
    if _number(std, "the standard deviation of noise") < 0:
        raise EditError(f"noise({std}) has a negative standard deviation", "Give 0 or more.")

    def function(value: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        return value + (std * drawn).to(dtype=value.dtype, device=value.device)

    return _named(function, f"noise({std}, seed={seed})")


def mean_ablate(mean: Tensor) -> Intervention:
    """Mean ablation: every position becomes `mean`, as `Trace.mean` gives it for a reference dataset."""
    return _named(
        lambda value: _like(mean, value, "the mean").expand_as(value).clone(), f"mean_ablate({list(mean.shape)})"
    )


def resample_ablate(reference: Tensor, seed: int) -> Intervention:
    """Resample ablation: each batch row becomes a randomly drawn row of `reference`.

    Args:
        reference: values of the same site from other prompts, [rows, …] with the value's other axes.
        seed: of the draw.
    """

    def function(value: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randint(len(reference), (len(value),), generator=generator)
        return _like(reference[drawn.to(reference.device)], value, "the resampled reference")

    return _named(function, f"resample_ablate({list(reference.shape)}, seed={seed})")


def at(function: Intervention, positions: Positions = None, rows: "int | Sequence[int] | Tensor | None" = None) -> At:
    """Limits an intervention to token positions and batch rows.

    Args:
        function: gets and returns only the selected slice.
        positions: token indices within each row's real tokens, padding not counted, one or several or a tensor of
            them; negative counts from the end (of the prompt, while generating). None means all. Out of range is
            an error, and so is selecting nothing.
        rows: batch rows; None means all.
    """
    positions = positions.tolist() if isinstance(positions, Tensor) else positions
    rows = rows.tolist() if isinstance(rows, Tensor) else rows
    _integers(positions, "positions")
    _integers(rows, "rows")
    if not isinstance(function, At):
        return At(function, positions, rows)
    given = {"positions": positions, "rows": rows}
    for name, value in given.items():
        if value is not None and getattr(function, name) is not None:
            raise EditError(f"at(at(f, …), …) gives {name} twice", "Give them once.")
    return _replace(function, **{name: value for name, value in given.items() if value is not None})


def compose(*functions: Intervention) -> Composed:
    """Applies `functions` one after the other, in this order."""
    return Composed(functions)
