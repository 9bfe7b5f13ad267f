"""The model that a server looks into, which others may be chosen, and what a request may ask of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fluoroscope import registry, specimen
from fluoroscope.progress import report
from fluoroscope.server.answers import Refused
from fluoroscope.server.desk import Desk, Told
from fluoroscope.server.settings import Settings

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.result import Result
    from fluoroscope.signature import Parameter


class Models:
    """One model at a time, and the desk before it.

    Args:
        settings: which, and within which limits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.desk = Desk(settings.waiting, settings.seconds)
        self.loaded: Model | None = None
        self.name = settings.model or specimen.NAMES[0]

    @property
    def choices(self) -> list[str]:
        """Every model that may be asked for."""
        return list(dict.fromkeys([self.settings.model or specimen.NAMES[0], *specimen.NAMES, *self.settings.models]))

    def ready(self) -> "Model":
        """The model, loaded if it was not; runs in a worker of the desk."""
        if self.loaded is None:
            self.loaded = self._load(self.name)
        return self.loaded

    async def switch(self, name: str, told: Told | None = None) -> None:
        """Loads another model, behind whatever waits.

        Raises:
            Refused: it is none of the choices.
            LoadError: it cannot be loaded; the old one stays.
        """
        if name not in self.choices:
            raise Refused(403, "model", f"{name!r} is no model of this server", f"It has {', '.join(self.choices)}.")

        def exchange() -> None:
            new = self._load(name)
            if self.loaded is not None:
                self.loaded.close()
            self.loaded, self.name = new, name

        await self.desk.do(exchange, told)

    def _load(self, name: str) -> "Model":
        from fluoroscope import loading

        report("loading", 0, 1)
        model = loading.load(name, device=self.settings.device)
        report("loading", 1, 1)
        return model

    def run(self, name: str, arguments: Mapping[str, Any]) -> "Result":
        """A result of an analysis; runs in a worker of the desk.

        Raises:
            Refused: it asks for a file or a model of the server's machine, or for too much.
        """
        spec = registry.find(name)
        if spec is None:
            raise Refused(404, "analysis", f"there is no analysis {name!r}", "GET /api/analyses lists them.")
        given = registry.check(spec, dict(arguments))
        model = self.ready()
        for parameter in spec.parameters:
            self._check(model, parameter, given[parameter.name])
        return registry.run(name, model, **given)

    def _check(self, model: "Model", parameter: "Parameter", value: Any) -> None:
        if parameter.file == "model" and value is not None and value not in self.choices:
            raise Refused(403, "model", f"{value!r} is no model of this server", f"It has {', '.join(self.choices)}.")
        if parameter.file in ("input", "output") and value != parameter.default:
            raise Refused(403, "file", f"{parameter.name} names a file", "Use the library or fluoro for files.")
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                self.check_length(model, text)

    def check_length(self, model: "Model", text: str) -> int:
        """The number of tokens of a text.

        Raises:
            Refused: more than a prompt may have, or a pattern of it would have too many cells.
        """
        limit = self.settings.max_tokens
        if len(text.encode("utf8", "surrogatepass")) <= limit and limit**2 * _heads(model) <= self.settings.max_cells:
            return 0
        count = len(model.tokens(text).rows[0]) if text else 0
        if count > limit:
            raise Refused(413, "tokens", f"{count} tokens, where {limit} are the most", "Shorten the prompt.")
        cells = count**2 * _heads(model)
        if cells > self.settings.max_cells:
            raise Refused(413, "cells", f"patterns of {cells:,} cells, {self.settings.max_cells:,} at most", "Shorten.")
        return count


def _heads(model: "Model") -> int:
    return model.n_layers * model.n_heads
