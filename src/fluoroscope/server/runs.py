"""Results that are kept, in the store that `fluoro runs` reads: what the page lists, opens and adds."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fluoroscope import registry
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.server.answers import Refused
from fluoroscope.store import Store, place

if TYPE_CHECKING:
    from fluoroscope.result import Result
    from fluoroscope.server.settings import Settings

_MOST = 500
"""Runs in a list."""


class Runs:
    """The store of a server, if it has one: the user's own where nobody else can come, else one that is named.

    Args:
        settings: which file.
    """

    def __init__(self, settings: "Settings") -> None:
        path = place(settings.store) if settings.store is not None or settings.loopback else None
        self._store = None if path is None else Store(path)

    def listed(self) -> list[dict[str, Any]]:
        """What is kept, the newest first; nothing where there is no store."""
        return [] if self._store is None else list(map(asdict, self._store.runs(limit=_MOST)))

    def open(self, id: str) -> "Result":
        """A kept result, by its id or the beginning of one.

        Raises:
            Refused: there is none, or no store.
        """
        try:
            return self._there().open(id)
        except ArgumentError as error:
            raise Refused(404, "run", error.message, error.hint) from error

    def keep(self, data: dict[str, Any]) -> dict[str, Any]:
        """Keeps a result that this page was given, from its JSON.

        Raises:
            Refused: it is no result, or there is no store.
        """
        store = self._there()
        try:
            result = registry.revived(data, "the message")
        except ArtifactError as error:
            raise Refused(422, "argument", error.message, error.hint) from error
        return asdict(store.keep(result))

    def _there(self) -> Store:
        if self._store is None:
            raise Refused(404, "run", "this lab keeps no runs", "Start it with --store FILE.")
        return self._store
