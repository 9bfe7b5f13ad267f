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
from fluoroscope.run import ENDS, PARTS, Part


class Plugs:
    """All hooks of one model by its parts."""

    def __init__(self, model: hooks.Hooked) -> None:
        self._model = model
        self._lock = Lock()
        self._runs, self._closed = 0, False
        self._layers = [None, *range(len(model.blocks))]
        self._every = [ENDS, *((layer, where) for layer in self._layers[1:] for where in PARTS)]
        self._whole = hooks.whole(model)
        self._parts: dict[Part, list[RemovableHandle]] = {}
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
    def spared(self, looked: Container[Part]) -> Generator[None]:
        """Parts that are not `looked` into may be without hooks inside the block, and are not behind it."""
        with self._lock:
            alone = set() if self._runs else set(filter(self._alone, self._layers))
            for part in [part for part in self._parts if part[0] in alone and part not in looked]:
                for handle in self._parts.pop(part):
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
        for part in () if self._closed else self._every:
            if part not in self._parts:
                self._parts[part] = hooks.part(self._model, part)

    def _alone(self, layer: int | None) -> bool:
        """Whether no hook of somebody else is in a layer: ours would stand behind it when they come back."""
        inside = hooks.ends(self._model).values() if layer is None else [self._model.blocks[layer]]
        modules: set[nn.Module] = {each for one in inside for each in one.modules()}
        there = sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in modules)  # pyright: ignore[reportPrivateUsage]
        return there == sum(len(handles) for part, handles in self._parts.items() if part[0] == layer)
