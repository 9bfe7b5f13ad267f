"""One figure of the circuit gate, and what all its parts share: heads, their names, edits of their last position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fluoroscope.interventions import Intervention, at
from fluoroscope.model import Model
from fluoroscope.run import Edits

Head = tuple[int, int]
END = -1


@dataclass(frozen=True)
class Finding:
    """One figure of the gate; `least` and `most` bound it where the release depends on it."""

    name: str
    value: float
    least: float | None = None
    most: float | None = None
    heads: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def passed(self) -> bool:
        """Whether the figure is within its bounds."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)


def label(head: Head) -> str:
    """L0H3."""
    return f"L{head[0]}H{head[1]}"


def heads_of(model: Model) -> list[Head]:
    """Every head, by layer."""
    return [(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]


def edits_at_end(heads: Sequence[Head], function: Callable[[Head], Intervention]) -> Edits:
    """`function(head)` at the last token of each head's z."""
    return {f"z.{layer}.{head}": at(function((layer, head)), END) for layer, head in heads}
