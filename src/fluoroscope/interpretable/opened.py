"""What the functions of this package are handed, as the rest of Fluoroscope takes it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

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
