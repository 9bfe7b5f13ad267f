"""What the functions of this package are handed, as the rest of Fluoroscope takes it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fluoroscope.interpretable.refusals import LayerError, SettingError
from fluoroscope.interventions import Intervention
from fluoroscope.model import Model
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.run import Edits


def xray(model: "InterpretableModel | Model") -> Model:
    """The `fluoroscope.Model` of an `InterpretableModel`; one itself is handed back."""
    return model if isinstance(model, Model) else model.xray


def edits(interventions: Mapping[str, Intervention] | None) -> "Edits":
    """Interventions by module path or site."""
    found: dict[str | Site, Intervention] = {}
    found.update(interventions or {})
    return found


def numbered(model: Model, layers: "Sequence[int] | None") -> list[int]:
    """Layers from 0; negative ones count from the end, and None is all of them.

    Raises:
        LayerError: no such layer.
        SettingError: no list of layers, or none in it.
    """
    if layers is None:
        return list(range(model.n_layers))
    wanted = [] if isinstance(layers, int | str) else list(layers)
    if not wanted or any(isinstance(layer, str) for layer in wanted):
        raise SettingError(f"layers={layers!r} is no list of layers", "Give numbers, such as [0, 3], or None for all.")
    if beyond := [layer for layer in wanted if not -model.n_layers <= layer < model.n_layers]:
        last = model.n_layers - 1
        raise LayerError(f"layer {beyond[0]} is beyond the last layer of {model.name}", f"Layers run 0..{last}.")
    return list(dict.fromkeys(layer % model.n_layers for layer in wanted))
