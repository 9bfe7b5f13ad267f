"""How well a fitted lens does on text that it was not fitted to, beside the logit lens."""

from pathlib import Path

from fluoroscope.errors import ArgumentError
from fluoroscope.render.text import percent
from fluoroscope.result import Record, Result
from fluoroscope.views import Column, Lines, Mark, Row, Series, Table, View


class FitDepth(Record):
    """One depth on held-out rows.

    Args:
        plain: KL(final ‖ logit lens), nats per token.
        fitted: the same for the fitted lens.
        plain_agrees: share of tokens whose likeliest token is the model's own, by the logit lens.
        fitted_agrees: the same by the fitted lens.
        stability: cosine of the maps of two halves of the text, for lenses that are averages.
    """

    site: str
    plain: float
    fitted: float
    plain_agrees: float
    fitted_agrees: float
    stability: float | None = None

    @property
    def tick(self) -> str:
        return "emb" if self.site == "resid_pre.0" else f"L{self.site.rpartition('.')[2]}"


class LensFit(Result):
    """A lens that was fitted on a text and written to a file.

    Args:
        kind: tuned or jacobian.
        file: where it is.
        tokens: how many were fitted to.
        held_out: how many it was judged by.
        losses: KL by step and depth while it was fitted; empty for closed forms.
    """

    kind: str
    file: str
    tokens: int
    held_out: int
    depths: tuple[FitDepth, ...]
    losses: tuple[tuple[float, ...], ...] = ()

    def summary(self) -> str:
        plain, fitted = (sum(getattr(d, name) for d in self.depths) / len(self.depths) for name in ("plain", "fitted"))
        agrees = sum(depth.fitted_agrees for depth in self.depths) / len(self.depths)
        return (
            f"The {self.kind} lens in {self.file!r} is {fitted:.2f} nats from the model's own prediction, the logit "
            f"lens {plain:.2f}: means over {len(self.depths)} depths and {self.held_out} held-out tokens, at "
            f"{percent(agrees)} of which its likeliest token is the model's own."
        )

    def views(self) -> list[View]:
        return [self._lines(), self._table(), *([self._course()] if self.losses else [])]

    def _lines(self) -> Lines:
        return Lines(
            title="Distance from the model's own prediction",
            caption="On rows that were not fitted to; 0 is no difference.",
            unit="KL, nats per token",
            x=tuple(Mark(label=depth.tick, site=depth.site) for depth in self.depths),
            series=(
                Series(label="logit lens", values=tuple(depth.plain for depth in self.depths)),
                Series(label=f"{self.kind} lens", values=tuple(depth.fitted for depth in self.depths)),
            ),
        )

    def _table(self) -> Table:
        averaged = any(depth.stability is not None for depth in self.depths)
        names = ["depth", "logit lens", f"{self.kind} lens", "agrees before", "after"]
        return Table(
            title="Every depth",
            caption="KL in nats, and the share of tokens with the model's own likeliest token."
            + (" stable: cosine of the maps of two halves of the text, 1 is the same." if averaged else ""),
            columns=tuple(Column(name=name) for name in [*names, *(["stable"] if averaged else [])]),
            rows=tuple(
                Row(
                    cells=(d.tick, d.plain, d.fitted, d.plain_agrees, d.fitted_agrees, *([d.stability] * averaged)),
                    site=d.site,
                )
                for d in self.depths
            ),
        )

    def _course(self) -> Lines:
        places = range(0, len(self.losses), max(1, len(self.losses) // 50))
        return Lines(
            title="While it was fitted",
            caption="Mean over the depths; each step sees other rows, so the line trembles.",
            unit="KL, nats per token",
            x=tuple(Mark(label=str(place)) for place in places),
            series=(Series(label="mean", values=tuple(sum(self.losses[n]) / len(self.losses[n]) for n in places)),),
        )


def check_file(name: str) -> str:
    """The name of a file for a lens; to be asked before the fit, which may take hours.

    Raises:
        ArgumentError: another suffix than .safetensors, or a folder that is not there.
    """
    if not name.endswith(".safetensors"):
        raise ArgumentError(f"a lens is not kept as {name!r}", "Name a file that ends in .safetensors.")
    if not Path(name).parent.is_dir():
        raise ArgumentError(f"there is no folder {str(Path(name).parent)!r} to keep a lens in", "Make it first.")
    return name
