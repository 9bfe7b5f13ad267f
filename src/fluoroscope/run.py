"""One forward pass in progress: which values to keep, which to edit, and what has been seen.

Hooks are installed once per model and idle unless a context variable holds a `Run`, so that concurrent
runs with different edits do not see each other and nothing is left behind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fluoroscope.errors import EditError, UnavailableError
from fluoroscope.interventions import At, Composed, Intervention, describe
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

RUN: ContextVar["Run | None"] = ContextVar("fluoroscope_run", default=None)

Edits = Mapping["str | Site", "Intervention | Sequence[Intervention]"]
Key = tuple[str, int | None]

DERIVED_FROM: dict[str, str] = {"resid_mid": "resid_pre", "head_out": "z"}
"""Derived sites, and the site whose value they need besides attn_out."""


@dataclass(frozen=True)
class Edit:
    """One intervention, placed: the unit it selects and the absolute slots it acts on.

    Args:
        slots: per batch row the slots of the padded sequence; None means every slot.
        gate: slots of this run outside of which nothing is edited (generation steps); None means no limit.
    """

    site: Site
    function: Intervention
    slots: tuple[tuple[int, ...], ...] | None = None
    gate: Callable[[int], bool] | None = None

    def apply(self, value: Tensor, start: int) -> Tensor:
        """The edited whole-site value; `start` is the absolute slot of its first position."""
        kind = self.site.kind
        axis = kind.position_axis
        if self.site.unit is None:
            return self._positions(value, axis, start)
        unit_axis = kind.axes.index(kind.unit or "")
        part = value.select(unit_axis, self.site.unit)
        new = self._positions(part, axis - (unit_axis < axis), start)
        if new is part:
            return value
        edited = value.clone()
        edited.select(unit_axis, self.site.unit).copy_(new)
        return edited

    def _positions(self, value: Tensor, axis: int, start: int) -> Tensor:
        columns = self._columns(value.shape[0], value.shape[axis], start)
        if columns is None:
            return self._call(value)
        rows = [row for row, columns_of_row in enumerate(columns) if columns_of_row]
        if not rows:
            return value
        by_position = value.movedim(axis, 1)
        edited = by_position.clone()
        counts = {len(columns[row]) for row in rows}
        for group in [rows] if len(counts) == 1 else [[row] for row in rows]:
            index = (torch.tensor(group)[:, None], torch.tensor([columns[row] for row in group]))
            selected = by_position[index].movedim(1, axis)
            edited[index] = self._call(selected).movedim(axis, 1)
        return edited.movedim(1, axis)

    def _columns(self, batch: int, length: int, start: int) -> list[list[int]] | None:
        """Indices along the position axis of this value, per row; None means everything."""
        if self.slots is None and self.gate is None:
            return None
        chosen: Sequence[Iterable[int]] = self.slots or [range(start, start + length)] * batch
        return [
            [slot - start for slot in row if start <= slot < start + length and (self.gate is None or self.gate(slot))]
            for row in chosen
        ]

    def _call(self, value: Tensor) -> Tensor:
        new = self.function(value.clone())
        if not isinstance(new, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EditError(
                f"the edit {describe(self.function)} at {self.site} returned {type(new).__name__}, not a tensor"
            )
        if new.shape != value.shape or new.dtype != value.dtype or new.device != value.device:
            raise EditError(
                f"the edit {describe(self.function)} at {self.site} turned {_form(value)} into {_form(new)}",
                "An intervention keeps shape, dtype and device.",
            )
        return new


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)} on {value.device}"


def place(
    sites: Mapping[Site, Intervention | Sequence[Intervention]],
    tokens: Tokens | None,
    gate: Callable[[int], bool] | None = None,
    generating: bool = False,
) -> list[Edit]:
    """Edits in the stated order, with compositions flattened and `at` positions resolved to slots.

    Raises:
        EditError: a site that edits cannot reach, or positions without tokens to count them in.
        TokenError: a position outside of the prompt.
    """
    placed: list[Edit] = []
    for site, functions in sites.items():
        if not site.kind.writable:
            raise EditError(f"{site} is read-only", site.kind.why_not)
        for function in _flat(functions):
            slots, inner = None, function
            if isinstance(function, At):
                slots, inner = _slots(function, tokens, generating), function.function
                for part in _flat(inner):
                    placed.append(Edit(site, part, slots, gate))
            else:
                placed.append(Edit(site, inner, slots, gate))
    return placed


def _flat(functions: "Intervention | Sequence[Intervention]") -> Iterator[Intervention]:
    parts: Iterable[Intervention] = [functions] if callable(functions) else functions
    for part in parts:
        if isinstance(part, Composed):
            yield from _flat(part.functions)
        elif callable(part):
            yield part
        else:
            raise EditError(f"an edit must be a function Tensor -> Tensor, not {type(part).__name__}")


def _slots(edit: At, tokens: Tokens | None, generating: bool) -> tuple[tuple[int, ...], ...]:
    if tokens is None:
        raise EditError(
            f"{describe(edit)} counts positions, and this block runs forwards that Fluoroscope does not drive",
            "Use model.trace or model.generate.",
        )
    batch = tokens.ids.shape[0]
    rows = range(batch) if edit.rows is None else [edit.rows] if isinstance(edit.rows, int) else edit.rows
    chosen = set[int]()
    for row in rows:
        if not -batch <= row < batch:
            raise EditError(f"{describe(edit)} names row {row} of a batch of {batch}")
        chosen.add(row % batch)
    return tuple(
        tuple(_row_slots(edit.positions, tokens, row, generating)) if row in chosen else () for row in range(batch)
    )


def _row_slots(positions: object, tokens: Tokens, row: int, generating: bool) -> Iterable[int]:
    first, length = int(tokens.first[row]), int(tokens.lengths[row])
    limit = 1 << 30 if generating else length
    if positions is None:
        return range(first, first + limit) if not generating else _Every()
    if isinstance(positions, slice):
        start, stop, step = positions.indices(length)
        if generating and positions.stop is None and (positions.step or 1) > 0:
            raise EditError("an open slice has no end while tokens are generated", "Give its stop, or edit_tokens=.")
        return [first + index for index in range(start, stop, step)]
    wanted = [positions] if isinstance(positions, int) else list(positions)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
    beyond = [int(p) for p in wanted if generating and int(p) >= length]
    inside = [int(p) for p in wanted if not (generating and int(p) >= length)]
    return [*tokens.slots(row, inside), *(first + position for position in beyond)]


@dataclass
class Run:
    """What one forward pass keeps and edits.

    Args:
        owner: the model whose hooks serve this run.
        wanted: whole sites whose values are kept.
        edits: in order.
        start: absolute slot of the first position of this pass (more than 0 when earlier ones are cached).
    """

    owner: object
    wanted: frozenset[Site] = frozenset()
    edits: Sequence[Edit] = ()
    start: int = 0
    values: dict[Site, Tensor] = field(default_factory=dict[Site, Tensor])
    scratch: dict[Key, Tensor] = field(default_factory=dict[Key, Tensor])
    fired: set[Key] = field(default_factory=set[Key])
    shape: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self._wanted = {(site.name, site.layer): site for site in self.wanted}
        self._edits: dict[Key, list[Edit]] = {}
        for edit in self.edits:
            self._edits.setdefault((edit.site.name, edit.site.layer), []).append(edit)
        self._needed: set[Key] = {
            (DERIVED_FROM[name], layer) for name, layer in self._wanted.keys() | self._edits if name in DERIVED_FROM
        }
        self.touched: set[Key] = self._wanted.keys() | self._edits.keys() | self._needed

    def touches(self, names: Iterable[str], layer: int | None) -> bool:
        """Whether this run keeps or edits any of `names` on `layer`."""
        return any((name, layer) in self.touched for name in names)

    def visit(self, name: str, layer: int | None, value: Tensor, start: int | None = None) -> Tensor:
        """Applies the edits of a site to its value, keeps it if wanted, returns what the pass goes on with."""
        key = (name, layer)
        self.fired.add(key)
        for edit in self._edits.get(key, ()):
            value = edit.apply(value, self.start if start is None else start)
        if key in self._wanted:
            cached = value.shape[2] - self.shape[1] if name in ("k", "v") else 0
            self.values[self._wanted[key]] = value[:, :, cached:] if cached else value
        if key in self._needed:
            self.scratch[key] = value
        return value

    def check_complete(self) -> None:
        """Raises UnavailableError if a wanted or edited site did not fire: nothing is captured or edited in silence."""
        silent = sorted(Site(*key) for key in (self._wanted.keys() | self._edits.keys()) - self.fired)
        if silent:
            raise UnavailableError(
                f"{', '.join(map(str, silent))} did not occur in this forward pass",
                "model.sites() lists what this model offers.",
            )


class _Every(Iterable[int]):
    """Every slot, however many will be generated; stands for positions=None with a choice of rows."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(1 << 16))


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Makes `run` the current one inside the block, in this thread only."""
    token = RUN.set(run)
    try:
        yield run
    finally:
        RUN.reset(token)
