"""What a page shows of one result, before any medium draws it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fluoroscope.views import View


@dataclass(frozen=True)
class Section:
    """A result on a page, alone or among others.

    Args:
        name: the anchor that leads to it.
        recipe: fields of the recipe and their values.
        again: how to ask for it again, by language; nothing where that is not known.
        files: what belongs to it, by name: an address, or a text that is to be part of the page.
    """

    name: str
    title: str
    summary: str
    views: Sequence[View]
    recipe: Mapping[str, object]
    again: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Sequence["File"] = ()


@dataclass(frozen=True)
class File:
    """A file beside a page, or carried by it: then `text` is its content, None where that is too large.

    Args:
        size: of the content in bytes; None for a file that lies beside the page.
    """

    name: str
    size: int | None = None
    text: str | None = None
