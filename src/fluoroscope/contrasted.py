"""What results about a target have in common: its name and its foil's, and how sentences speak of them."""

from typing import TYPE_CHECKING, Any

from fluoroscope.methods import contrast
from fluoroscope.render.text import quoted
from fluoroscope.result import Result

if TYPE_CHECKING:
    from fluoroscope.methods.contrast import Contrast
    from fluoroscope.model import Model


class Contrasted(Result):
    """A result about a token or a set of them, perhaps held against others.

    Args:
        target: its text; of a set the texts with `|` between, as a parameter names it.
        foil: likewise what is taken off; None for nothing, and `foil_ids` is empty.
    """

    target: str
    target_ids: tuple[int, ...]
    foil: str | None
    foil_ids: tuple[int, ...]

    def asked(self) -> str:
        """What is looked at, in words."""
        return wording(self.target, self.foil, several=max(len(self.target_ids), len(self.foil_ids)) > 1)


def wording(target: str, foil: str | None, *, several: bool) -> str:
    """`logit of ‘·Mary’`, or `lead of ‘·Mary’ over ‘·John’`, the difference of two; their mean if these are sets."""
    mean = "mean " if several else ""
    if foil is None:
        return f"{mean}logit of {quoted(target)}"
    return f"{mean}lead of {quoted(target)} over {quoted(foil)}"


def named(model: "Model", about: "Contrast") -> dict[str, Any]:
    """The fields of a `Contrasted`; None for what is not named."""
    target, foil = (contrast.label(model, tokens) if tokens else None for tokens in (about.target, about.foil))
    return {"target": target, "target_ids": about.target, "foil": foil, "foil_ids": about.foil}
