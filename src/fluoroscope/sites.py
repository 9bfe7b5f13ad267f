"""The vocabulary: every value of a forward pass has one name, defined by an equation.

Read without torch. Other people's names for the same values are in `aliases.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import total_ordering
from typing import TypeVar

from fluoroscope.errors import SiteError, nearest

Value = TypeVar("Value")


@dataclass(frozen=True)
class SiteKind:
    """One row of the vocabulary.

    Args:
        axes: the axes of the value, in order.
        meaning: the defining equation, in words.
        unit: the axis that a unit selects (`head` in `z.9.6`), if any.
        layered: whether there is one per block.
        writable: whether an edit there changes the rest of the run.
        why_not: what to write instead, where it is not writable.
    """

    axes: tuple[str, ...]
    meaning: str
    unit: str | None = None
    layered: bool = True
    writable: bool = True
    why_not: str = ""

    @property
    def position_axis(self) -> int:
        """Index of the axis that counts the positions of this run (`query` for attention)."""
        return self.axes.index("query" if "query" in self.axes else "pos")

    @property
    def unit_axis(self) -> int | None:
        return None if self.unit is None else self.axes.index(self.unit)


_RESIDUAL = ("batch", "pos", "d_model")
_HEADS = ("batch", "head", "pos", "d_head")
_PATTERN = ("batch", "head", "query", "key")
_NEURONS = ("batch", "pos", "neuron")

SITES: dict[str, SiteKind] = {
    "embed": SiteKind(_RESIDUAL, "what the token embedding adds; embed + pos_embed = resid_pre.0", layered=False),
    "pos_embed": SiteKind(_RESIDUAL, "what a learned position embedding adds", layered=False),
    "resid_pre": SiteKind(_RESIDUAL, "residual stream entering the block"),
    "q_proj": SiteKind(_HEADS, "queries as their projection gives them, before any norm and rotary", unit="head"),
    "k_proj": SiteKind(
        _HEADS, "keys as their projection gives them, before any norm and rotary; kv heads", unit="head"
    ),
    "v_proj": SiteKind(_HEADS, "values as their projection gives them; kv heads", unit="head"),
    "q": SiteKind(_HEADS, "queries as attention uses them, after rotary", unit="head"),
    "k": SiteKind(_HEADS, "keys as attention uses them, after rotary; kv heads", unit="head"),
    "v": SiteKind(_HEADS, "values; kv heads", unit="head"),
    "scores": SiteKind(_PATTERN, "scaled, capped and masked attention logits", unit="head"),
    "pattern": SiteKind(_PATTERN, "softmax of scores over keys", unit="head"),
    "z": SiteKind(("batch", "pos", "head", "d_head"), "pattern @ v, the input of W_O", unit="head"),
    "head_out": SiteKind(
        ("batch", "pos", "head", "d_model"),
        "each head's share of attn_out: z @ W_O, through a frozen post-norm where there is one",
        unit="head",
        writable=False,
        why_not="It is derived from z: write z of that head.",
    ),
    "attn_out": SiteKind(_RESIDUAL, "what attention adds to the residual stream"),
    "resid_mid": SiteKind(_RESIDUAL, "resid_pre + attn_out; none on parallel blocks"),
    "gate_proj": SiteKind(
        _NEURONS, "output of W_gate, which the activation function of a gated MLP reads", unit="neuron"
    ),
    "up_proj": SiteKind(
        _NEURONS,
        "output of W_in: what the gate multiplies, or without a gate what the activation function reads",
        unit="neuron",
    ),
    "neurons": SiteKind(_NEURONS, "MLP hidden units, the input of W_out", unit="neuron"),
    "router": SiteKind(
        ("batch", "pos", "expert"),
        "mixture of experts: the router's logits",
        unit="expert",
        writable=False,
        why_not="The router chooses inside the same module: write router_weights.",
    ),
    "router_choice": SiteKind(
        ("batch", "pos", "choice"),
        "mixture of experts: indices of the chosen experts",
        writable=False,
        why_not="Indices are no real numbers: write router_weights.",
    ),
    "router_weights": SiteKind(("batch", "pos", "choice"), "mixture of experts: weights of the chosen experts"),
    "experts_out": SiteKind(_RESIDUAL, "weighted sum of the routed experts' outputs"),
    "shared_out": SiteKind(_RESIDUAL, "output of the always-on shared expert's MLP"),
    "mlp_out": SiteKind(_RESIDUAL, "what the MLP adds to the residual stream"),
    "resid_post": SiteKind(_RESIDUAL, "resid_pre + attn_out + mlp_out"),
    "final_norm": SiteKind(_RESIDUAL, "the last resid_post after the final norm, the input of W_U", layered=False),
    "logits": SiteKind(("batch", "pos", "vocab"), "the model's output, after any scale and softcap", layered=False),
}

WITH_KV_HEADS = ("k_proj", "v_proj", "k", "v")
"""Sites whose heads are those of keys and values, of which a model may have fewer."""

_ORDER = {name: rank for rank, name in enumerate(SITES)}
_LABELS = {"head": "H", "neuron": "N"}
_CANONICAL = re.compile(r"([a-z_]+)(?:\.(\d+))?(?:\.(\d+))?")


@total_ordering
@dataclass(frozen=True)
class Site:
    """The address of a value: name, layer (0-based, if the kind has layers), unit (if one is selected).

    Raises:
        SiteError: unknown name, a layer where there is none or the reverse, a unit on a kind without units.
    """

    name: str
    layer: int | None = None
    unit: int | None = None

    def __post_init__(self) -> None:
        if self.name not in SITES:
            raise SiteError(f"unknown site {self.name!r}", nearest(self.name, SITES))
        kind = SITES[self.name]
        if kind.layered and self.layer is None:
            raise SiteError(
                f"site {self.name!r} needs a layer", f"Write '{self.name}.0', or '{self.name}.*' for every layer."
            )
        if not kind.layered and self.layer is not None:
            raise SiteError(f"site {self.name!r} has no layers", f"Write {self.name!r} alone.")
        if self.unit is not None and kind.unit is None:
            raise SiteError(
                f"site {self.name!r} has no units, so '{self}' means nothing", f"Its axes are {', '.join(kind.axes)}."
            )
        if (self.layer or 0) < 0 or (self.unit or 0) < 0:
            raise SiteError(f"negative index in '{self}'", "Layers and units count from 0.")

    def __str__(self) -> str:
        return ".".join(str(part) for part in (self.name, self.layer, self.unit) if part is not None)

    def __lt__(self, other: "Site") -> bool:
        return self._rank() < other._rank()

    def _rank(self) -> tuple[int, int, int]:
        layer = -1 if self.layer is None else self.layer
        unit = -1 if self.unit is None else self.unit
        return (layer, _ORDER[self.name], unit)

    @property
    def kind(self) -> SiteKind:
        return SITES[self.name]

    @property
    def whole(self) -> "Site":
        """The same site without its unit."""
        return Site(self.name, self.layer) if self.unit is not None else self

    @property
    def label(self) -> str:
        """The form for people: `L9H6`, `L5N123`; other sites by their canonical string."""
        if self.name == "z" and self.unit is not None:
            return f"L{self.layer}H{self.unit}"
        if self.name == "neurons" and self.unit is not None:
            return f"L{self.layer}N{self.unit}"
        return str(self)

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Reads the canonical form `name.layer[.unit]`; foreign forms are read by `aliases.resolve`."""
        match = _CANONICAL.fullmatch(text)
        if match is None:
            raise SiteError(
                f"{text!r} is no site", "A site reads name.layer[.unit], such as 'resid_post.5' or 'z.9.6'."
            )
        name, layer, unit = match.groups()
        return cls(name, None if layer is None else int(layer), None if unit is None else int(unit))


def by_layer(values: Mapping[str, Value]) -> tuple[tuple[Value | None, ...], ...]:
    """Values by the site of their unit (z.9.6) as rows, one per layer, of columns, one per unit; None where none is."""
    parsed = {Site.parse(name): value for name, value in values.items()}
    places = {(site.layer or 0, site.unit or 0): value for site, value in parsed.items()}
    height, width = (1 + max((place[axis] for place in places), default=-1) for axis in (0, 1))
    return tuple(tuple(places.get((layer, unit)) for unit in range(width)) for layer in range(height))
