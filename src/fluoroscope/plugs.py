"""The hooks of a model's parts, which a long generation takes out of those that it does not look into.

An idle hook costs little by itself, but torch calls a module that has one by a slower way; over the steps of a
generation that shows. So they are taken away while nothing else runs on the model, and whatever begins to run
meanwhile, in any thread, puts them back first: which values a run sees never depends on it.
"""

from collections.abc import Container, Generator
from contextlib import contextmanager
from threading import Lock

from torch import nn
from torch.utils.hooks import RemovableHandle

from fluoroscope import hooks


class Plugs:
    """All hooks of one model, those of each block by its layer; None are those before and behind the blocks."""

    def __init__(self, model: hooks.Hooked) -> None:
        self._model = model
        self._lock = Lock()
        self._runs, self._closed = 0, False
        self._whole = hooks.whole(model)
        self._parts: dict[int | None, list[RemovableHandle]] = {}
        self._plug()

    @contextmanager
    def held(self) -> Generator[None]:
        """All hooks are there inside the block."""
        with self._lock:
            self._plug()
            self._runs += 1
        try:
            yield
        finally:
            with self._lock:
                self._runs -= 1

    @contextmanager
    def spared(self, layers: "Container[int | None]") -> Generator[None]:
        """Parts beside `layers` may be without hooks inside the block, and are not behind it."""
        with self._lock:
            free = [] if self._runs else [layer for layer in self._parts if layer not in layers and self._alone(layer)]
            for layer in free:
                for handle in self._parts.pop(layer):
                    handle.remove()
        try:
            yield
        finally:
            with self._lock:
                self._plug()

    @property
    def handles(self) -> list[RemovableHandle]:
        """All that are there."""
        return [*self._whole, *(handle for handles in self._parts.values() for handle in handles)]

    def close(self) -> None:
        """Takes all of them away for good."""
        with self._lock:
            for handle in self.handles:
                handle.remove()
            self._whole, self._parts, self._closed = [], {}, True

    def _plug(self) -> None:
        for layer in () if self._closed else (None, *range(len(self._model.blocks))):
            if layer not in self._parts:
                self._parts[layer] = hooks.part(self._model, layer)

    def _alone(self, layer: int | None) -> bool:
        """Whether no hook of somebody else is in a part: ours would stand behind it when they come back."""
        inside = hooks.ends(self._model).values() if layer is None else [self._model.blocks[layer]]
        modules: set[nn.Module] = {each for one in inside for each in one.modules()}
        there = sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in modules)  # pyright: ignore[reportPrivateUsage]
        return there == len(self._parts[layer])
