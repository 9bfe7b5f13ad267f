"""What is changed in a run: patches, steering vectors, and the handler that applies them to any forward of a module."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import floor, log10
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.compat.model_loader import ModelInspector, layer_site, opened
from fluoroscope.errors import ArgumentError, EditError, nearest
from fluoroscope.interventions import Intervention, Positions, add, at, replace
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.run import Edits

_GENTLE = 0.5
"""What a coefficient that is named instead adds at most, as a share of the stream's length."""

_MODES = ("replace", "add", "subtract")


@dataclass(frozen=True, eq=False)
class ActivationPatch:
    """What a layer becomes at some tokens.

    Args:
        layer_name: a layer, or any site.
        position: a token index, several, or a slice; negative ones count from the end of the prompt; None is all.
        value: a tensor that fits, or a function that gets the values there, [batch, pos, d_model], and returns as many.
        mode: replace, add or subtract.
    """

    layer_name: str | int
    position: Positions
    value: Tensor | Intervention
    mode: str = "replace"


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """What is added to a layer.

    Args:
        vector: [d_model].
        layer_name: a layer, or any site.
        coefficient: its factor.
        positions: the tokens it is added at; None is all, those that are generated included.
        norm_ratio: the vector's norm over the norm of the stream that it was made of, where that is known.
    """

    vector: Float[Tensor, "d_model"]
    layer_name: str | int
    coefficient: float = 1.0
    positions: Sequence[int] | None = None
    norm_ratio: float | None = None

    def hint(self) -> str | None:
        """Why it may drown what the model says, and what coefficient would not; None where it is short enough."""
        if self.norm_ratio is None or abs(self.coefficient) * self.norm_ratio <= 1:
            return None
        gentle = _rounded_down(_GENTLE / self.norm_ratio) * (1 if self.coefficient > 0 else -1)
        return (
            f"the steering vector times {self.coefficient:g} is {abs(self.coefficient) * self.norm_ratio:.2f} times as "
            f"long as the stream at layer {self.layer_name}, which may drown what the model would say; "
            f"coefficient={gentle:g} adds {abs(gentle) * self.norm_ratio:.2f} of its length"
        )


def _rounded_down(value: float) -> float:
    """The value with its first digit alone."""
    step = 10.0 ** floor(log10(value))
    return round(floor(value / step) * step, 12)


Change = ActivationPatch | SteeringVector


class InterventionHandler:
    """Applies patches and steering vectors to every forward of a module inside a `with` block.

    They may be registered before the block or inside of it. Positions are those of the whole sequence: a module that
    generates with a cache is edited at the same tokens as one that does not.
    """

    def __init__(self, model: "nn.Module | Model | ModelInspector", tokenizer: Any = None) -> None:
        self._source, self._tokenizer = model, tokenizer
        self.interventions: list[Change] = []
        self._placed: list[tuple[Site, Intervention]] = []
        self._window: _Window | None = None
        self._active = ExitStack()
        with opened(model, tokenizer) as found:
            self._model = found  # a closed one still knows its sites

    def register_activation_patch(self, patch: ActivationPatch) -> None:
        """Adds a patch.

        Raises:
            SiteError: there is no such layer.
            ArgumentError: there is no such mode.
        """
        self._register(patch)

    def register_steering_vector(self, steering: SteeringVector) -> None:
        """Adds a steering vector; raises as for a patch."""
        self._register(steering)

    def _register(self, change: Change) -> None:
        function(self._model, change)
        self.interventions.append(change)
        self._refresh()

    def clear_interventions(self) -> None:
        """Forgets all that was registered."""
        self.interventions.clear()
        self._refresh()

    def register_hooks(self) -> None:
        """Begins to apply what is registered; `with` does so, and ends it."""
        if self._window is None:
            self._window = _Window()
            self._begin()

    def clear_hooks(self) -> None:
        """Stops; the module is as it was."""
        self._active.close()
        self._window = None

    def __enter__(self) -> "InterventionHandler":
        self.register_hooks()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        window = self._window
        try:
            self.clear_hooks()
        except BaseException:
            self._window = None
            raise
        if kind is None and window is not None:
            window.check()

    def _refresh(self) -> None:
        if self._window is not None:
            self._active.close()
            self._begin()

    def _begin(self) -> None:
        assert self._window is not None
        model = self._active.enter_context(opened(self._source, self._tokenizer))
        handle = model.hf.register_forward_pre_hook(self._window.begin, with_kwargs=True)
        self._active.callback(handle.remove)
        edits: dict[str | Site, list[Intervention]] = {}
        for change in self.interventions:
            site, done = function(model, change)
            positions = _positions(change)
            edits.setdefault(site, []).append(
                done if positions is None else self._window.at(site, done, positions, str(change.layer_name))
            )
        self._active.enter_context(model.editing(edits))


class _Window:
    """Which tokens of the whole sequence a forward of the module sees."""

    def __init__(self) -> None:
        self.start = self.length = self.prompt = 0
        self.ran = False
        self.waiting: dict[int, str] = {}

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before a forward: where it begins, and how long it is."""
        given = kwargs.get("input_ids", args[0] if args else None)
        given = kwargs["inputs_embeds"] if given is None else given
        past, mask = kwargs.get("past_key_values"), kwargs.get("attention_mask")
        if self.waiting and mask is not None and mask.dim() == 2 and not bool(mask.bool().all()):
            raise EditError("positions of a padded batch differ from row to row", "Use patch_and_run, or no padding.")
        self.start = 0 if past is None else int(past.get_seq_length())
        self.length = int(given.shape[1])
        self.prompt = self.length if self.start == 0 else self.prompt
        self.ran = True

    def at(self, site: Site, done: Intervention, positions: Positions, name: str) -> Intervention:
        """The intervention, limited to tokens of the whole sequence."""
        axis, unit = site.kind.position_axis, site.kind.unit_axis
        axis -= site.unit is not None and unit is not None and unit < axis
        key = len(self.waiting)
        self.waiting[key] = f"position {positions} of {name!r}"

        def limited(value: Tensor) -> Tensor:
            first = self.start + self.length - value.shape[axis]
            inside = [slot - first for slot in self._slots(positions) if first <= slot < self.start + self.length]
            if not inside:
                return value
            self.waiting[key] = ""
            index = torch.tensor(inside, device=value.device)
            return value.index_copy(axis, index, done(value.index_select(axis, index)))

        return limited

    def _slots(self, positions: Positions) -> list[int]:
        def absolute(position: int | None) -> int | None:
            return position + self.prompt if position is not None and position < 0 else position

        end = self.start + self.length
        if isinstance(positions, slice):
            return list(range(end)[slice(absolute(positions.start), absolute(positions.stop), positions.step)])
        listed = [positions] if isinstance(positions, int) else list(positions or ())
        return [slot for position in listed if (slot := absolute(int(position))) is not None]

    def check(self) -> None:
        """After the block: whatever was registered has acted, if anything ran."""
        idle = [name for name in self.waiting.values() if name]
        if self.ran and idle:
            raise EditError(f"{idle[0]} was never reached, so nothing was changed there", "Positions count from 0.")


def function(model: "Model", change: Change) -> tuple[Site, Intervention]:
    """The site of a change and what it does there.

    Raises:
        SiteError: there is no such layer.
        ArgumentError: there is no such mode.
    """
    site = layer_site(model, change.layer_name)
    if isinstance(change, SteeringVector):
        return site, add(change.vector, change.coefficient)
    value = change.value
    if change.mode not in _MODES:
        raise ArgumentError(f"unknown mode {change.mode!r}", nearest(change.mode, _MODES))
    sign = -1.0 if change.mode == "subtract" else 1.0
    if isinstance(value, Tensor):
        return site, replace(value) if change.mode == "replace" else add(value, sign)
    if change.mode == "replace":
        return site, value
    return site, lambda there: there + sign * value(there.clone())


def _positions(change: Change) -> Positions:
    return change.positions if isinstance(change, SteeringVector) else change.position


def edits(model: "Model", changes: Sequence[Change]) -> "Edits":
    """What `Model.trace` and `Model.generate` take; positions are token indices of the prompt."""
    found: dict[str | Site, list[Intervention]] = {}
    for change in changes:
        site, done = function(model, change)
        positions = _positions(change)
        found.setdefault(site, []).append(done if positions is None else at(done, positions))
    return found  # pyright: ignore[reportReturnType]
