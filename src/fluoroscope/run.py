"""One forward pass in progress: which values to keep, which to edit, and what has been seen.

Hooks are installed once per model and idle unless a context variable holds a `Run`, so that concurrent
runs with different edits do not see each other and nothing is left behind.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from operator import index as index_of
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from fluoroscope.errors import EditError, TokenError, UnavailableError
from fluoroscope.interventions import At, Composed, Intervention, describe
from fluoroscope.sites import SITES, Site
from fluoroscope.tokens import Tokens

RUN: ContextVar["Run | None"] = ContextVar("fluoroscope_run", default=None)

Edits = Mapping["str | Site", "Intervention | Sequence[Intervention]"]
Key = tuple[str, int | None]
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a block but for the stream: in their order, and by name."""

Part = tuple[int | None, str]
"""What is hooked at a time: of a layer what enters it, what leaves it, and all between; what lies around the layers."""
ENDS: Part = (None, "ends")
PARTS = ("resid_pre", "inside", "resid_post")

DERIVED_FROM: dict[str, str] = {"resid_mid": "resid_pre", "head_out": "z"}
"""Derived sites, and the site whose value they need besides attn_out."""


IN_ATTENTION = ("q", "k", "v", "scores", "pattern")
"""Sites that are inside of the attention function, where no hook of a module comes."""


class Change(Protocol):
    """What a run does to the value of a site."""

    @property
    def site(self) -> Site: ...

    def apply(self, value: Tensor, start: int) -> Tensor:
        """The edited whole-site value; `start` is the absolute slot of its first position."""
        ...


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

    def on(self, slots: Sequence[int]) -> "Edit":
        """The same at these slots of a single row."""
        return replace(self, slots=(tuple(slots),))

    def apply(self, value: Tensor, start: int) -> Tensor:
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
        rows = [row for row, chosen in enumerate(columns) if chosen]
        if not rows:
            return value
        by_position = value.movedim(axis, 1)
        edited = by_position.clone()
        same = len({len(columns[row]) for row in rows}) == 1
        for group in [rows] if same else [[row] for row in rows]:
            pairs = [[row] for row in group], [columns[row] for row in group]
            index = tuple(torch.tensor(part, device=value.device) for part in pairs)
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
        return call(self.function, self.site, value)


def call(function: Intervention, site: Site, value: Tensor) -> Tensor:
    """What an intervention makes of a value of `site`, which it gets as a copy of its own.

    Raises:
        EditError: it returns no tensor, or one of another form.
    """
    with outside():
        new = function(value.clone())
    if not isinstance(new, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise EditError(f"the edit {describe(function)} at {site} returned {type(new).__name__}, not a tensor")
    if new.shape != value.shape or new.dtype != value.dtype or new.device != value.device:
        raise EditError(
            f"the edit {describe(function)} at {site} turned {_form(value)} into {_form(new)}",
            "An intervention keeps shape, dtype and device.",
        )
    return new


def _form(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)} on {value.device}"


def place(
    sites: Mapping[Site, Intervention | Sequence[Intervention]],
    tokens: Tokens | None,
    gate: Callable[[int], bool] | None = None,
    room: int = 0,
) -> list[Edit]:
    """Edits in the stated order, with compositions flattened and `at` positions resolved to slots.

    Args:
        tokens: the prompt in which positions count; None where others drive the forwards.
        gate: see `Edit`.
        room: how many tokens may follow the prompt; positions reach them too.

    Raises:
        EditError: a site that edits cannot reach, what is no function, or an `at` that selects nothing.
        TokenError: a position outside of the prompt and the room after it.
    """
    placed: list[Edit] = []
    for site, functions in sites.items():
        if not site.kind.writable:
            raise EditError(f"{site} is read-only", site.kind.why_not)
        for function in flat(functions):
            if isinstance(function, At):
                slots = _slots(function, tokens, room)
                placed += [Edit(site, part, slots, gate) for part in flat(function.function)]
            else:
                placed.append(Edit(site, function, None, gate))
    return placed


def flat(functions: object) -> Iterator[Intervention]:
    """The functions one by one, compositions taken apart; the type is what a caller should give, not what comes."""
    if isinstance(functions, Composed):
        yield from flat(functions.functions)
    elif callable(functions):
        yield cast("Intervention", functions)
    elif isinstance(functions, list | tuple):
        for part in cast("Sequence[object]", functions):
            yield from flat(part)
    else:
        raise EditError(
            f"an edit must be a function Tensor -> Tensor or a list of them, not {type(functions).__name__}",
            "replace(…) makes a function of a value.",
        )


def _slots(edit: At, tokens: Tokens | None, room: int) -> tuple[tuple[int, ...], ...]:
    if tokens is None:
        raise EditError(
            f"{describe(edit)} counts positions, and this block runs forwards that Fluoroscope does not drive",
            "Use model.trace or model.generate.",
        )
    batch = len(tokens)
    rows = range(batch) if edit.rows is None else [edit.rows] if isinstance(edit.rows, int) else edit.rows
    beyond = [row for row in rows if not -batch <= row < batch]
    if beyond:
        raise EditError(f"{describe(edit)} names row {beyond[0]} of a batch of {batch}")
    chosen = {row % batch for row in rows}
    slots = tuple(tuple(_row_slots(edit, tokens, row, room)) if row in chosen else () for row in range(batch))
    if not any(slots):
        raise EditError(f"{describe(edit)} selects no token, so it would change nothing")
    return slots


def _row_slots(edit: At, tokens: Tokens, row: int, room: int) -> list[int]:
    """Slots of one row; negative positions count from the end of the prompt, whatever may follow it."""
    first, length = int(tokens.first[row]), int(tokens.lengths[row])
    positions, end = edit.positions, length + room
    if positions is None:
        return list(range(first, first + end))
    bounds = [positions.start, positions.stop] if isinstance(positions, slice) else None
    named = bounds or ([positions] if isinstance(positions, int) else cast("Iterable[int]", positions))
    indices = [None if each is None else index_of(each) for each in named]
    for index in indices:
        if index is not None and not -length <= index < end + (bounds is not None):
            follow = f", and at most {room} tokens follow" if room else ""
            raise TokenError(
                f"{describe(edit)}: {tokens.named(row)} has no token {index}",
                f"Its {length} tokens count from 0 or from -1 backwards{follow}.",
            )
    forward = [index if index is None or index >= 0 else index + length for index in indices]
    if isinstance(positions, slice):
        start, stop = forward
        return list(range(first, first + end)[slice(start, stop, positions.step)])
    return [first + index for index in forward if index is not None]


class Seen(Exception):
    """Everything that a run without logits asked for has been seen and edited: what follows would change none of it."""


@dataclass
class Run:
    """What one forward pass keeps and edits.

    Args:
        owner: the model whose hooks serve this run.
        wanted: whole sites whose values are kept.
        edits: in order.
        start: absolute slot of the first position of this pass (more than 0 when earlier ones are cached).
        brief: ends the pass by `Seen` as soon as it has seen and edited all that it names.
        lasting: serves many forwards, and its edits come first in every other run of its owner inside of it.
        spared: runs inside of `Plugs.spared`, where only the parts that it looks into have hooks.
        outer: the run around this one, once it is current.
        shape: rows and positions of the forward that is on its way.
        attend: computes attention in place of the model's own: (layer, (q, k, v), mask, further keywords) -> mixed.
        calls: where each block's arguments but the stream are kept, if at all.
        join: what a block gets instead: (layer, stream, its other arguments) -> stream, other arguments.
        watch: called with each value that is kept, as soon as there is one.
        inside: what is on as long as the forward is inside of a module; an exception on the way ends it too.
    """

    owner: object
    wanted: frozenset[Site] = frozenset()
    edits: Sequence[Change] = ()
    start: int = 0
    brief: bool = False
    lasting: bool = False
    spared: bool = False
    outer: "Run | None" = None
    values: dict[Site, Tensor] = field(default_factory=dict[Site, Tensor])
    scratch: dict[Key, Tensor] = field(default_factory=dict[Key, Tensor])
    fired: set[Key] = field(default_factory=set[Key])
    shape: tuple[int, int] = (0, 0)
    attend: Callable[[int, tuple[Tensor, Tensor, Tensor], Tensor | None, dict[str, Any]], Tensor] | None = None
    calls: "dict[int, Call] | None" = None
    join: "Callable[[int, Tensor, Call], tuple[Tensor, Call]] | None" = None
    watch: Callable[[Site, Tensor], None] | None = None
    inside: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._index()

    def _index(self) -> None:
        self._wanted = {(site.name, site.layer): site for site in self.wanted}
        self._edits: dict[Key, list[Change]] = {}
        for edit in self.edits:
            self._edits.setdefault((edit.site.name, edit.site.layer), []).append(edit)
        self._needed: set[Key] = {
            (DERIVED_FROM[name], layer) for name, layer in self._wanted.keys() | self._edits if name in DERIVED_FROM
        }
        self.touched: set[Key] = self._wanted.keys() | self._edits.keys() | self._needed
        self.layers: set[int | None] = {layer for _, layer in self.touched}
        self._in_attention = any(name in IN_ATTENTION for name, _ in self.touched)
        self._ahead: set[Key] = self._wanted.keys() | self._edits.keys()

    def again(self, start: int) -> "Run":
        """Itself for one more forward, from another slot on, with nothing kept of the one before."""
        self.start, self.values, self.scratch, self.fired = start, {}, {}, set()
        return self

    def follow(self, edits: Sequence[Change]) -> None:
        """Puts `edits` before its own."""
        self.edits = [*edits, *self.edits]
        self._index()

    @property
    def parts(self) -> set[Part]:
        """The parts whose hooks it needs; embeddings may be looked at where the first block begins."""
        found: set[Part] = {ENDS, (0, "resid_pre")} if None in self.layers else set()
        for name, layer in self.touched:
            found |= {(layer, where) for where in ((name,) if name in PARTS else PARTS) if layer is not None}
        return found

    @property
    def attends(self) -> bool:
        """Whether it computes attention itself, or looks into it on any layer."""
        return self._in_attention or self.attend is not None

    def touches(self, names: Iterable[str], layer: int | None) -> bool:
        """Whether this run keeps or edits any of `names` on `layer`."""
        return any((name, layer) in self.touched for name in names)

    def visit(self, name: str, layer: int | None, value: Tensor) -> Tensor:
        """Applies the edits of a site to its value, keeps it if wanted, returns what the pass goes on with.

        The value's last position is the pass's last one: keys and values may begin with what the cache holds, as
        the cache holds it, unedited (so every step edits all of it again); logits may be those of the end alone.
        """
        key = (name, layer)
        self.fired.add(key)
        length, axis = self.shape[1], SITES[name].position_axis
        for edit in self._edits.get(key, ()):
            value = edit.apply(value, self.start + length - value.shape[axis])
        if key in self._wanted:
            cached = value.shape[axis] - length if name in ("k", "v") else 0
            # A copy, for a view of this pass's part would keep the whole cache alive.
            self.values[self._wanted[key]] = value.narrow(axis, cached, length).clone() if cached else value
            if self.watch is not None:
                with outside():
                    self.watch(self._wanted[key], self.values[self._wanted[key]])
        if key in self._needed:
            self.scratch[key] = value
        self._ahead.discard(key)
        if self.brief and not self._ahead:
            raise Seen
        return value

    def check_complete(self) -> None:
        """Raises UnavailableError if a wanted or edited site did not fire: nothing is captured or edited in silence."""
        silent = sorted(Site(*key) for key in (self._wanted.keys() | self._edits.keys()) - self.fired)
        if silent:
            raise UnavailableError(
                f"{', '.join(map(str, silent))} did not occur in this forward pass",
                "model.sites() lists what this model offers; a model that was closed offers nothing any more.",
            )


def active() -> Iterator[Run]:
    """The runs that are current in this thread, the innermost first; models may be nested in one another."""
    run = RUN.get()
    while run is not None:
        yield run
        run = run.outer


@contextmanager
def running(run: Run) -> Generator[Run]:
    """Makes `run` the current one inside the block, in this thread only."""
    run.outer = RUN.get()
    around = next((other for other in active() if other.owner is run.owner), None)
    if around is not None and around.lasting:
        run.follow(around.edits)
    plugs = None if run.spared else getattr(run.owner, "plugs", None)
    with nullcontext() if plugs is None else plugs.held():
        token = RUN.set(run)
        try:
            yield run
        finally:
            run.inside.close()
            RUN.reset(token)


@contextmanager
def outside() -> Generator[None]:
    """No run is current inside the block: what an edit or a listener does on its own is no part of the pass."""
    token = RUN.set(None)
    try:
        yield
    finally:
        RUN.reset(token)
