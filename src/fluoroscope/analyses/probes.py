"""What a line through the stream tells of a text, by layer, beside what it learns by heart.

Accuracy of linear probes on texts that they were not fitted to (every text is left out once), on labels that mean
nothing (Hewitt & Liang 2019, "Designing and Interpreting Probes with Control Tasks"), and behind LEACE, which takes the
labels away (Belrose et al. 2023). What can be read need not be used: see direction-ablation.
"""

from typing import TYPE_CHECKING, Literal

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import confidence
from fluoroscope.methods import probes as probing
from fluoroscope.methods.directions import states
from fluoroscope.progress import track
from fluoroscope.render.text import number, percent, prose
from fluoroscope.result import Record, Result
from fluoroscope.signature import InputFile
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts
from fluoroscope.views import Column, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Steering and probes"


class Accuracy(Record):
    """Share of texts that are told right by a probe that was not fitted to them, and its 95 % interval (Wilson)."""

    share: float
    low: float
    high: float


class ProbedLayer(Record):
    """The probes of one depth.

    Args:
        logistic: a logistic probe.
        mean: the mean difference with a threshold halfway.
        erased: a logistic probe behind LEACE.
        control: a logistic probe of shuffled labels, mean over shuffles.
    """

    site: str
    logistic: Accuracy
    mean: Accuracy
    erased: Accuracy
    control: Accuracy

    @property
    def selectivity(self) -> float:
        """Accuracy of the logistic probe less that of its control."""
        return self.logistic.share - self.control.share


class Probes(Result):
    """How well two sets of texts can be told apart by a line through the stream.

    Args:
        source: what the texts are.
        texts: SHA-256 of them, 16 hex digits.
        positive: how many texts have it; `negative` how many do not.
        chance: accuracy of the commoner side alone.
        shuffles: how many controls there were of each layer.
        best: index of the first depth of the highest accuracy.
    """

    source: str
    texts: str
    reading: str
    positive: int
    negative: int
    folds: int
    shuffles: int
    chance: float
    layers: tuple[ProbedLayer, ...]
    best: int

    def summary(self) -> str:
        layer = self.layers[self.best]
        told = layer.logistic
        return (
            f"At {layer.site} a line tells {percent(told.share)} of {self.positive + self.negative} texts of "
            f"{prose(self.source)} right that it was not fitted to ({told.low:.2f} to {told.high:.2f}, chance "
            f"{number(self.chance)}), {percent(layer.control.share)} with shuffled labels, and behind LEACE "
            f"{percent(layer.erased.share)}."
        )

    def views(self) -> list[View]:
        lines = {
            "logistic": [layer.logistic.share for layer in self.layers],
            "mean difference": [layer.mean.share for layer in self.layers],
            "behind LEACE": [layer.erased.share for layer in self.layers],
            "shuffled labels": [layer.control.share for layer in self.layers],
        }
        chart = Lines(
            title="How much a line can tell, by depth",
            caption=f"Accuracy on texts that were left out, in {self.folds} folds; guessing gives "
            f"{number(self.chance)}. What can be read is not thereby used.",
            unit="accuracy",
            maximum=1.0,
            x=tuple(Mark(label=layer.site, site=layer.site) for layer in self.layers),
            series=tuple(Series(label=label, values=tuple(values)) for label, values in lines.items()),
            marked=self.best,
        )
        names = ("depth", "logistic", "95 %", "mean difference", "behind LEACE", "shuffled", "selectivity")
        table = Table(
            title="Probes by depth",
            caption=f"Selectivity: accuracy less that on shuffled labels, mean of {self.shuffles}.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(
                Row(
                    cells=(
                        layer.site, layer.logistic.share, f"{layer.logistic.low:.2f} to {layer.logistic.high:.2f}",
                        layer.mean.share, layer.erased.share, layer.control.share, layer.selectivity,
                    ),
                    site=layer.site,
                )
                for layer in self.layers
            ),
        )  # fmt: skip
        return [chart, table]


@checked
def probes(
    model: "Model",
    *,
    contrast: Literal["sentiment", "refusal"] | None = None,
    pairs: InputFile | None = None,
    positive: list[str] | None = None,
    negative: list[str] | None = None,
    reading: Literal["last", "mean"] = "last",
    layers: list[int] | None = None,
    folds: int = 5,
    shuffles: int = 5,
    seed: int = 0,
) -> Probes:
    """Fits linear probes to the stream behind each layer and judges them on texts that were left out.

    Args:
        contrast: the embedded texts to tell apart; sentiment if nothing else is named.
        pairs: or the file of them: pairs, or texts with labels (.txt with tabs, .csv, .tsv, .json, .jsonl).
        positive: or texts of one side.
        negative: with texts of the other.
        reading: a text's last token, or the mean over all but its first.
        layers: after which blocks to read; all if not given.
        folds: in how many parts the texts are left out.
        shuffles: how often labels are shuffled for the control.
        seed: of the folds and of the shuffles.

    Raises:
        ArgumentError: more folds than texts of a side, no shuffle, no such layer, or texts named in two ways.
        ArtifactError: a file that cannot be read.
    """
    if shuffles < 1:
        raise ArgumentError(f"shuffles={shuffles} gives no control", "Give at least 1.")
    source = contrasts.texts(contrast, pairs, positive, negative)
    assert source.texts is not None
    yes, no = source.texts.positive, source.texts.negative
    sites = [model.site(Site("resid_post", layer)) for layer in (range(model.n_layers) if layers is None else layers)]
    labels = torch.tensor([True] * len(yes) + [False] * len(no))
    parts = probing.stratified(labels, folds, seed)
    values = states(model, [*yes, *no], sites, reading).cpu()
    told = tuple(
        _probed(site, value, labels, parts, [seed + number for number in range(shuffles)])
        for site, value in track([*zip(sites, values, strict=True)], "layers")
    )
    return Probes(
        recipe=model.recipe(seed=seed), source=source.name, texts=source.texts.digest, reading=reading,
        positive=len(yes), negative=len(no), folds=folds, shuffles=shuffles,
        chance=max(len(yes), len(no)) / len(labels), layers=told,
        best=max(range(len(told)), key=lambda n: told[n].logistic.share),
    )  # fmt: skip


def _probed(site: Site, values: "Tensor", labels: "Tensor", parts: list[list[int]], seeds: list[int]) -> ProbedLayer:
    fits = {"logistic": probing.logistic, "mean": probing.mean_difference, "erased": probing.erased}
    right = {name: _accuracy([probing.held_out(values, labels, fit, parts)]) for name, fit in fits.items()}
    controls: list[Tensor] = []
    for seed in seeds:
        other = probing.shuffled(labels, seed)
        folds = probing.stratified(other, len(parts), seed)
        controls.append(probing.held_out(values, other, probing.logistic, folds))
    return ProbedLayer(site=str(site), **right, control=_accuracy(controls))


def _accuracy(right: "list[Tensor]") -> Accuracy:
    """The mean over runs; the interval is that of one run's texts, for runs share them."""
    share = float(torch.stack(right).double().mean())
    low, high = confidence.share(share, len(right[0]))
    return Accuracy(share=share, low=low, high=high)
