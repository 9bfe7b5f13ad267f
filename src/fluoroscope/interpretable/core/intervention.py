"""Interventions under mlxterp's names, for those of `fluoroscope.interventions`; dtype and device are kept."""

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor

from fluoroscope import interventions as ours
from fluoroscope.errors import EditError
from fluoroscope.interventions import At, Composed, Intervention

__all__ = [
    "InterventionComposer",
    "add_vector",
    "clamp",
    "compose",
    "noise",
    "replace_at_positions",
    "replace_with",
    "scale",
    "zero_out",
]

scale = ours.scale


def zero_out(activation: Tensor) -> Tensor:
    """Zeros of the same shape; itself the intervention: `{"layers.3": iv.zero_out}`."""
    return ours.zero()(activation)


def add_vector(vector: "Tensor | float") -> Intervention:
    """Adds a vector that broadcasts to the activation, such as [d_model]: steering."""
    return ours.add(vector)


def replace_with(value: "Tensor | float") -> Intervention:
    """Puts a number, or a tensor that broadcasts to the activation, in its place; nothing is aligned or cut."""
    return ours.replace(value)


def clamp(min_val: float | None = None, max_val: float | None = None) -> Intervention:
    """Clamps to [min_val, max_val]; at least one of them is given."""
    return ours.clamp(min_val, max_val)


def noise(std: float = 0.1, seed: int | None = None) -> Intervention:
    """Adds Gaussian noise, new in every pass and at every layer.

    Args:
        std: its standard deviation.
        seed: of the sequence of draws; by default drawn itself, from torch's own generator.
    """
    first = int(torch.randint(1 << 31, ())) if seed is None else seed
    draws = count(first)

    def drawn(value: Tensor) -> Tensor:
        return ours.noise(std, next(draws))(value)

    ours.noise(std, first)  # refuses what is no standard deviation
    drawn.__name__ = f"noise({std}, seed={first})"
    return drawn


def replace_at_positions(value: Tensor, positions: Sequence[int]) -> At:
    """Takes over the value's own rows at some token positions, and leaves all others.

    Args:
        value: [batch, pos, d] of a run over a prompt of as many tokens, or [pos, d].
        positions: token indices; negative ones count from the end.

    Raises:
        EditError: the value has no such position, or none is named.
    """
    length = value.shape[-2] if value.dim() > 1 else 0
    beyond = [position for position in positions if not -length <= position < length]
    if beyond or not positions:
        raise EditError(f"replace_at_positions({list(positions)}) of a value of {length} positions", "Name some of it.")
    return ours.at(ours.replace(value[..., list(positions), :]), list(positions))


class InterventionComposer:
    """Interventions that act one after the other, added in that order."""

    def __init__(self) -> None:
        self._functions: list[Intervention] = []

    def add(self, intervention: Intervention) -> "InterventionComposer":
        """Adds one, and hands itself back."""
        self._functions.append(intervention)
        return self

    def build(self) -> Composed:
        """All of them as one function.

        Raises:
            EditError: none was added.
        """
        if not self._functions:
            raise EditError("nothing was composed", "compose().add(scale(0.8)).build(), say.")
        return ours.compose(*self._functions)


def compose() -> InterventionComposer:
    """An empty composition: `compose().add(scale(0.8)).add(clamp(-5.0, 5.0)).build()`."""
    return InterventionComposer()
