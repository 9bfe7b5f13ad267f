"""Results in a notebook, live: anywidget around the lab's own pictures; of one model they share one selection."""

import json
from collections.abc import Mapping
from typing import Any, Self
from weakref import WeakValueDictionary

import anywidget
import traitlets
from pydantic import ValidationError

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.marks import Selection
from fluoroscope.render import pages
from fluoroscope.render.section import Section
from fluoroscope.views import HeadGrid


class Shared(traitlets.HasTraits):
    """What is chosen in all widgets of one model; `sizes`: its layers and heads, once a picture has shown them."""

    selection = traitlets.Dict()
    sizes: tuple[int, int] | None = None


_SHARED: WeakValueDictionary[str, Shared] = WeakValueDictionary()


class Widget(anywidget.AnyWidget):
    """The pictures of a result.

    Args:
        given: title, sentence and views, as JSON.
        group: fingerprint of the weights that the result is of.
        selection: layer, head, query and key that are chosen, None for what is not; set by a click or by Python.
    """

    given = traitlets.Unicode().tag(sync=True)
    group = traitlets.Unicode().tag(sync=True)
    selection = traitlets.Dict().tag(sync=True)

    _link: traitlets.link | None = None
    _shared: Shared | None = None
    _still: Mapping[str, str] = {}

    @classmethod
    def of(cls, section: Section, still: Mapping[str, str], group: str) -> Self:
        """A widget of one result, linked with the others of its group.

        Args:
            still: the same pictures for those who cannot show widgets, by MIME type.

        Raises:
            UnavailableError: this installation holds no lab page.
        """
        script = pages.bundle("widget.js")
        if script is None:
            raise UnavailableError(
                "live pictures are part of the lab's page, which this installation does not hold",
                "Install it again where npm can be reached, or without FLUOROSCOPE_WEB=skip.",
            )
        views = [view.model_dump(mode="json") for view in section.views]
        given = json.dumps({"title": section.title, "summary": section.summary, "views": views}, allow_nan=False)
        shared = _SHARED.setdefault(group, Shared(selection=_whole({})))
        shared.sizes = next((_sizes(view) for view in section.views if isinstance(view, HeadGrid)), shared.sizes)
        made = cls(_esm=script, given=given, group=group, selection=shared.selection)
        made._still, made._shared = still, shared
        made._link = traitlets.link((shared, "selection"), (made, "selection"))
        return made

    @traitlets.validate("selection")
    def _check(self, proposal: Mapping[str, Any]) -> dict[str, int | None]:
        return _whole(proposal["value"], self._shared.sizes if self._shared else None)

    def close(self) -> None:
        if self._link is not None:  # ipywidgets closes a widget again when it is collected
            self._link.unlink()
            self._link = None
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The widget, and for whoever cannot show one the same without: nbconvert, GitHub, an editor."""
        live = super()._repr_mimebundle_(**kwargs)
        return live and ({**self._still, **live[0], "text/plain": self._still["text/plain"]}, live[1])


def _sizes(view: HeadGrid) -> tuple[int, int]:
    """The layers of a model and the heads of a layer, as a picture of them has them."""
    return len(view.values), max(map(len, view.values), default=0)


def _whole(given: Mapping[str, Any], most: tuple[int, int] | None = None) -> dict[str, int | None]:
    """A selection with all its fields.

    Args:
        most: how many layers, and heads of a layer, there are.

    Raises:
        ArgumentError: an unknown field, or one that is no place, or one that the model does not have.
    """
    try:
        found = Selection.model_validate(given, strict=True).model_dump()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        known = ", ".join(Selection.model_fields)
        raise ArgumentError(
            f"{given!r} is no selection: {wrong}", f"Fields: {known}, each a number or None."
        ) from error
    for name, count in zip(("layer", "head"), most or (), strict=False):
        if found[name] is not None and found[name] >= count:
            raise ArgumentError(f"{given!r} is no selection: there are {count} {name}s", f"They run 0..{count - 1}.")
    return found
