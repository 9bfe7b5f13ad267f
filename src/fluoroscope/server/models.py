"""The models that a server looks into, which others may be chosen, and what a request may ask of them."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fluoroscope import registry, specimen
from fluoroscope.errors import Cancelled, FluoroscopeError
from fluoroscope.progress import report
from fluoroscope.server.answers import Refused, unforeseen
from fluoroscope.server.desk import Desk, Told
from fluoroscope.server.kept import Kept
from fluoroscope.server.settings import Settings

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.result import Result
    from fluoroscope.signature import Parameter, Spec

_LONGEST = 64  # letters in the name of an analysis
_LETTERS = 64
"""Of a token, on average, beyond which a prompt is no language."""


def found(name: str) -> "Spec | None":
    """The analysis of a name, which may be anything."""
    return registry.find(name) if len(name) <= _LONGEST else None


class Models:
    """A few models, one of them what is asked where none is named, and the desk before them.

    Args:
        settings: which, and within which limits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.desk = Desk(settings.waiting, settings.seconds)
        self.kept = Kept(settings.max_cells)
        self._held: dict[str, Model] = {}  # the one used last is last
        self.trouble: FluoroscopeError | None = None
        self.name = settings.model or specimen.NAMES[0]
        self._first: asyncio.Task[Model] | None = None

    @property
    def loaded(self) -> "Model | None":
        """The one that is asked where none is named, once it is there."""
        return self._held.get(self.name)

    @property
    def held(self) -> list[str]:
        """Those in memory, the one used last at the end."""
        return list(self._held)

    @property
    def choices(self) -> list[str]:
        """Every model that may be asked for."""
        return list(dict.fromkeys([self.settings.model or specimen.NAMES[0], *specimen.NAMES, *self.settings.models]))

    def begin(self) -> "asyncio.Task[Model]":
        """Loads the first model, before anything else at the desk; a failure stays in `trouble`."""
        if self._first is None:
            self._first = asyncio.create_task(self.desk.do(self.ready, timed=False))
            self._first.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._first

    async def arrived(self) -> "Model":
        """The model, once it is there; nothing is computed for it.

        Raises:
            Refused: it could not be loaded.
        """
        if self.loaded is None:
            await asyncio.wait([self.begin()])
        if self.loaded is None:
            raise self.trouble or Refused(503, "model", "the server ends")
        return self.loaded

    def ready(self, name: str | None = None) -> "Model":
        """A model, loaded if it was not; runs in a worker of the desk.

        Args:
            name: one of the choices; without it the one that is asked where none is named.

        Raises:
            Refused: it is none of the choices, cannot be loaded, or would be one too many.
        """
        wanted = self._chosen(name or self.name)
        if wanted not in self._held:
            if wanted != self.name and self.settings.held < 2:
                hint = "Change the model, or start the server with FLUOROSCOPE_HELD=2."
                raise Refused(409, "model", "this server holds one model at a time", hint)
            self._leave(self.settings.held - 1)
            self._held[wanted] = self._load(wanted)
        self._held[wanted] = model = self._held.pop(wanted)
        return model

    async def switch(self, name: str, told: Told | None = None) -> None:
        """Asks another model from now on where none is named; it is loaded behind whatever waits.

        Raises:
            Refused: it is none of the choices, or cannot be loaded; the old one stays.
        """
        self._chosen(name)

        def exchange() -> None:
            if name not in self._held:
                self._leave(self.settings.held - 1)
                self._held[name] = self._load(name)
            self._held[name] = self._held.pop(name)
            self.name = name
            self._leave(self.settings.held)
            self.kept.clear()

        await self.desk.do(exchange, told, timed=False)

    def _chosen(self, name: str) -> str:
        if name not in self.choices:
            raise Refused(403, "model", f"{name!r} is no model of this server", f"It has {', '.join(self.choices)}.")
        return name

    def _leave(self, most: int) -> None:
        """Closes the models that were used longest ago until no more are held; the one that all see stays."""
        spare = [name for name in self._held if name != self.name]
        for name in spare[: max(0, len(self._held) - most)]:
            self._held.pop(name).close()

    def _load(self, name: str) -> "Model":
        from fluoroscope import loading

        report("loading", 0, 1)
        try:
            model = loading.load(name, device=self.settings.device)
        except Cancelled:
            raise
        except Exception as error:
            self.trouble = error if isinstance(error, FluoroscopeError) else unforeseen(error)
            raise Refused(503, "model", self.trouble.message, self.trouble.hint) from error
        self.trouble = None
        report("loading", 1, 1)
        return model

    def run(self, name: str, arguments: Mapping[str, Any], model_name: str | None = None) -> "Result":
        """A result of an analysis; runs in a worker of the desk.

        Args:
            model_name: one of the choices, where it is not the one that is asked without a name.

        Raises:
            Refused: it asks for a file or a model of the server's machine, or for too much.
        """
        spec = found(name)
        if spec is None:
            raise Refused(404, "analysis", f"there is no analysis {name!r}", "GET /api/analyses lists them.")
        given = registry.check(spec, dict(arguments))
        model = self.ready(model_name)
        for parameter in spec.parameters:
            self._check(model, parameter, given[parameter.name])
        return registry.run(name, model, **given)

    def _check(self, model: "Model", parameter: "Parameter", value: Any) -> None:
        if parameter.file == "model" and value is not None:
            self._chosen(value)
        if parameter.file in ("input", "output") and value != parameter.default:
            raise Refused(403, "file", f"{parameter.name} names a file", "Use the library or fluoro for files.")
        if parameter.file == ".jinja" and value != parameter.default:
            message = f"{parameter.name} is a program, which cannot be stopped"
            raise Refused(403, "template", message, "Use the library or fluoro for templates.")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                self.check_length(model, text)

    def check_length(self, model: "Model", text: str) -> None:
        """Whether a text is short enough for this server.

        Raises:
            Refused: more tokens than a prompt may have, or letters, which take long to count as tokens; or a pattern of
                it would have too many cells.
        """
        limit = self.settings.max_tokens
        if len(text) > (most := limit * _LETTERS):
            raise Refused(413, "tokens", f"{len(text)} letters, where {most} are the most", "Shorten the prompt.")
        count = len(model.tokens(text).rows[0]) if text else 0
        if count > limit:
            raise Refused(413, "tokens", f"{count} tokens, where {limit} are the most", "Shorten the prompt.")
        if (cells := count**2 * model.n_layers * model.n_heads) > self.settings.max_cells:
            raise Refused(413, "cells", f"patterns of {cells:,} cells, {self.settings.max_cells:,} at most", "Shorten.")
