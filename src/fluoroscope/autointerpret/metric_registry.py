"""What an investigation can measure of a finding, by name."""

from collections.abc import Callable
from typing import Any

from fluoroscope.errors import ArgumentError, nearest

Measure = Callable[..., Any]
"""(model, finding as JSON says it, held-out prompts) -> a number; larger is better for the one that is the score."""


class MetricRegistry:
    """Measures of findings: none is replaced in silence, none is made up."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[Measure, str]] = {}

    def register(self, name: str, fn: Measure, description: str = "") -> None:
        """Adds a measure.

        Args:
            name: how it is called from here on.
            fn: of the model, a finding as JSON says it, and the held-out prompts; it gives a finite number.
            description: what it measures.

        Raises:
            ArgumentError: the name is taken by another function, or `fn` cannot be called.
        """
        if not callable(fn):
            raise ArgumentError(f"the metric {name!r} is a {type(fn).__name__}", "Give a function.")
        if name in self._held and self._held[name][0] is not fn:
            raise ArgumentError(f"there is a metric {name!r} already", "Choose another name.")
        self._held[name] = (fn, description)

    def get(self, name: str) -> Measure:
        """The function of a name.

        Raises:
            ArgumentError: there is none.
        """
        if name not in self._held:
            raise ArgumentError(f"there is no metric {name!r}", nearest(name, self._held) or "Register one first.")
        return self._held[name][0]

    @property
    def names(self) -> list[str]:
        """In the order in which they were registered."""
        return [*self._held]

    def list(self) -> "list[dict[str, str]]":
        """Name and description of each."""
        return [{"name": name, "description": told} for name, (_, told) in self._held.items()]

    def __contains__(self, name: object) -> bool:
        return name in self._held

    def __len__(self) -> int:
        return len(self._held)
