"""Fits a future lens on a text: what one position says about tokens further ahead.

Pal et al. 2023, "Future Lens: Anticipating Subsequent Tokens from a Single Hidden State": linear maps, by least
squares, from each depth at one position to the final stream of later positions. A tenth of the rows is held out.
"""

from typing import TYPE_CHECKING

from fluoroscope import artifact
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.lens_fit import check_file
from fluoroscope.methods import corpus, future_lens
from fluoroscope.methods.translators import provenance
from fluoroscope.render.text import percent
from fluoroscope.result import Record, Result
from fluoroscope.signature import InputFile, OutputFile
from fluoroscope.views import Lines, Mark, Series, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class Foresight(Record):
    """How well a depth foresees the model's own prediction `distance` positions later, on held-out rows.

    Args:
        predicted: share of positions where its likeliest token is the model's own there.
        surprisal: its cross-entropy on the token that the text really has there, in nats.
    """

    site: str
    distance: int
    predicted: float
    surprisal: float


class FutureLensFit(Result):
    """A future lens that was written to a file, and how far it sees."""

    file: str
    tokens: int
    held_out: int
    foresight: tuple[Foresight, ...]

    def summary(self) -> str:
        blind = {item.distance: item.predicted for item in self.foresight if item.site == "resid_pre.0"}
        ends = [max(self._at(distance), key=lambda item: item.predicted) for distance in blind]
        told = "; ".join(
            f"+{item.distance + 1} {percent(item.predicted)} (from the token alone {percent(blind[item.distance])})"
            for item in ends
        )
        return f"The best depth foresees the model's own token at {told} of {self.held_out} held-out positions."

    def views(self) -> list[View]:
        return [self._lines("predicted", "share of positions"), self._lines("surprisal", "nats")]

    def _at(self, distance: int) -> list[Foresight]:
        return [item for item in self.foresight if item.distance == distance]

    def _lines(self, field: str, unit: str) -> Lines:
        titles = {
            "predicted": ("How often a depth foresees the model's own token", 1.0),
            "surprisal": ("How surprised a depth is by the token of the text", None),
        }
        distances = sorted({item.distance for item in self.foresight})
        sites = [item.site for item in self._at(distances[0])]
        ticks = ["emb" if site == "resid_pre.0" else f"L{site.rpartition('.')[2]}" for site in sites]
        return Lines(
            title=titles[field][0],
            caption="emb knows only the token itself: what lies above it was read from the prompt before.",
            unit=unit,
            maximum=titles[field][1],
            x=tuple(Mark(label=tick, site=site) for tick, site in zip(ticks, sites, strict=True)),
            series=tuple(
                Series(label=f"+{distance + 1}", values=tuple(getattr(item, field) for item in self._at(distance)))
                for distance in distances
            ),
        )


@checked
def fit_future_lens(
    model: "Model", text: InputFile, *, file: OutputFile, ahead: int = 4, context: int | None = None
) -> FutureLensFit:
    """Least-squares maps from every depth to the final streams of the next positions.

    Args:
        text: path of a text file in UTF-8; blank lines separate its paragraphs.
        file: the file to write, .safetensors.
        ahead: how many tokens ahead to look; 1 is the next token.
        context: the most tokens of a passage; as many as the model reads, at most 256, if not given.

    Raises:
        ArgumentError: `ahead` below 1, a text that cannot be read or is one passage, a file of another kind.
    """
    if ahead < 1:
        raise ArgumentError(f"ahead={ahead} looks nowhere", "Give at least 1.")
    path = check_file(file)
    source = corpus.load(model, text, context)
    fitted_to, held_out = source.split()
    weight, bias = future_lens.fit(model, fitted_to, ahead)
    meta = provenance(model, source.digest, fitted_to, 0) | {"kind": future_lens.KIND, "context": context}
    artifact.write_tensors(path, {"weight": weight, "bias": bias}, meta)
    return FutureLensFit(
        recipe=model.recipe(),
        file=file,
        tokens=sum(map(len, fitted_to)),
        held_out=sum(map(len, held_out)),
        foresight=tuple(Foresight(**vars(item)) for item in future_lens.judge(model, weight, bias, held_out)),
    )
