"""Whether a behaviour hangs on one direction: its rate without it, and without random ones.

Arditi et al. 2024, "Refusal in Language Models Is Mediated by a Single Direction": taken out of everything that writes
into the stream, the behaviour goes; added where it does not belong, it comes. What is left along it is the mean of
texts without the behaviour (Marshall et al. 2024, "Refusal in LLMs is an Affine Function") or zero. Half of the texts
find the direction and its layer, the other half judge; random directions are the control.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention
from fluoroscope.methods import confidence, orthogonal, projection, readout
from fluoroscope.methods import contrast as targets
from fluoroscope.methods import steering as steered
from fluoroscope.methods.directions import Direction, Sides, directions
from fluoroscope.progress import track
from fluoroscope.render.text import number, percent, prose, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyToken, InputFile, OutputFile
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts
from fluoroscope.views import Bar, Bars, Column, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Steering and probes"

_Edits = dict[str | Site, Intervention]


class Rate(Record):
    """Share of texts after which the behaviour begins.

    Args:
        what: the run, in words.
        low: ends of its 95 % interval (Wilson).
    """

    what: str
    share: float
    low: float
    high: float


class AblatedLayer(Record):
    """A direction on the texts that it was found in.

    Args:
        rate: of the behaviour on texts that had it, without the direction.
        added: its rate on texts that had it not, with the direction added.
        kl: KL(plain ‖ ablated) of what follows the texts without the behaviour, in nats.
    """

    site: str
    ratio: float
    rate: float
    added: float
    kl: float


class DirectionAblation(Result):
    """The rate of a behaviour with and without a direction, on texts that the direction was not found in.

    Args:
        source: what the direction is of.
        texts: SHA-256 of the texts, 16 hex digits.
        target: the tokens with which the behaviour begins, with `|` between.
        level: what is left along the direction: the mean of texts without the behaviour, or zero.
        layers: the directions that were tried; `best` is the index of the one that is judged.
        before: with everything in place.
        after: without the direction.
        random: without each of the random ones.
        added: the direction added to texts without the behaviour, at its layer; `spared` these as they are.
        kl: KL(plain ‖ ablated) on neutral text, in nats per token.
        judged: how many texts with the behaviour judge; `judged_without` how many without it.
    """

    source: str
    texts: str
    method: str
    reading: str
    target: str
    target_ids: tuple[int, ...]
    level: str
    layers: tuple[AblatedLayer, ...]
    best: int
    before: Rate
    after: Rate
    random: tuple[Rate, ...]
    added: Rate
    spared: Rate
    kl: float
    judged: int
    judged_without: int

    def summary(self) -> str:
        control = f"; without a random one at {percent(self._random())}" if self.random else ""
        return (
            f"Of {self.judged} texts {percent(self.before.share)} go on with {quoted(self.target)}, without the "
            f"{prose(self.source)} direction of {self.layers[self.best].site} {percent(self.after.share)}{control}. "
            f"Added to {self.judged_without} others it brings the rate from {percent(self.spared.share)} to "
            f"{percent(self.added.share)}."
        )

    def _random(self) -> float:
        return sum(each.share for each in self.random) / len(self.random)

    def views(self) -> list[View]:
        rates = [self.before, self.after, *self.random, self.spared, self.added]
        left = "zero" if self.level == "zero" else "the mean of texts without it"
        bars = Bars(
            title=f"How often {quoted(self.target)} comes next",
            caption=f"Without: {left} along it in all that writes into the stream; KL on neutral text then "
            f"{number(self.kl)} nats per token. Texts that it was not found in; ends of 95 % intervals.",
            unit="share of texts",
            reach=1.0,
            items=tuple(
                Bar(label=each.what, value=each.share, remark=f"{each.low:.2f} to {each.high:.2f}") for each in rates
            ),
        )
        return [bars, *([self._depth()] if len(self.layers) > 1 else []), self._table()]

    def _depth(self) -> Lines:
        return Lines(
            title="By the layer that the direction is of",
            caption="The rate of the behaviour where it is taken out, and where it is added to texts without it, on "
            "texts that it was found in. The marked one is judged.",
            unit="share of texts",
            maximum=1.0,
            x=tuple(Mark(label=layer.site, site=layer.site) for layer in self.layers),
            series=(
                Series(label="taken out", values=tuple(layer.rate for layer in self.layers)),
                Series(label="added to others", values=tuple(layer.added for layer in self.layers)),
            ),
            marked=self.best,
        )

    def _table(self) -> Table:
        return Table(
            title="The directions that were tried",
            caption="Of the stream: its length beside the stream's. KL of what follows texts without the behaviour.",
            columns=tuple(Column(name=name) for name in ("layer", "of the stream", "taken out", "added", "KL")),
            rows=tuple(
                Row(cells=(layer.site, percent(layer.ratio), layer.rate, layer.added, layer.kl), site=layer.site)
                for layer in self.layers
            ),
        )


@checked
def direction_ablation(
    model: "Model",
    *,
    contrast: Literal["sentiment", "refusal"] | None = None,
    pairs: InputFile | None = None,
    positive: list[str] | None = None,
    negative: list[str] | None = None,
    target: AnyToken | None = None,
    level: Literal["mean", "zero"] = "mean",
    method: Literal["mean", "pca"] = "mean",
    reading: Literal["last", "mean"] = "last",
    layers: list[int] | None = None,
    controls: int = 3,
    seed: int = 0,
    export: OutputFile | None = None,
) -> DirectionAblation:
    """Takes a direction out of all that writes into the stream and counts how often a behaviour still begins.

    Args:
        contrast: the embedded texts that the direction is of; refusal if nothing else is named.
        pairs: or the file of them: pairs, or texts with labels (.txt with tabs, .csv, .tsv, .json, .jsonl).
        positive: or texts after which the behaviour comes.
        negative: with texts after which it does not.
        target: the token, or several, with which it begins; without it what most often follows the positive texts only.
        level: what is left along the direction: the mean of the negative texts, or zero.
        method: the mean difference, or the first principal component of the differences of pairs.
        reading: a text's last token, or the mean over all but its first.
        layers: after which blocks to look for the direction; all if not given.
        controls: how many random directions to take out instead.
        seed: of the halves and of the random directions.
        export: a folder that is made for the model with the judged direction taken out of its weights.

    Raises:
        ArgumentError: fewer than two texts on a side, no such layer, texts named twice or alike, or no telling token.
        TokenError: the target is not one token or a set of them.
        ArtifactError: a file that cannot be read, or a folder that is there already.
        UnavailableError: weights that the direction cannot be taken out of alone.
    """
    if controls < 0:
        raise ArgumentError(f"controls={controls} is no count", "Give 0 or more.")
    if export is not None:
        orthogonal.fresh(export)
    source = contrasts.texts(contrast, pairs, positive, negative, default="refusal")
    assert source.texts is not None
    fit, judge = source.texts.split(seed)
    sites = [model.site(Site("resid_post", n)) for n in (range(model.n_layers) if layers is None else layers)]
    found = directions(model, fit, sites, method, reading)
    plain = projection.starts(model, fit.negative)
    ids = _target(model, target, projection.starts(model, fit.positive), plain)
    ground = projection.means(model, fit.negative, reading) if level == "mean" else None
    runs = _Runs(model, judge, ids, ground)
    tried = tuple(_tried(runs, fit, each, plain) for each in track(found, "layers"))
    best = min(range(len(tried)), key=lambda n: (tried[n].rate - tried[n].added, tried[n].kl))
    if export is not None:
        orthogonal.export(model, found[best], export, ground)
    return DirectionAblation(
        recipe=model.recipe(seed=seed), source=source.name, texts=source.texts.digest, method=method, reading=reading,
        target=targets.label(model, ids), target_ids=ids, level=level, layers=tried, best=best,
        **runs.judged(found[best], controls, seed),
    )  # fmt: skip


class _Runs:
    """The model without directions, on the texts that judge."""

    def __init__(self, model: "Model", judge: Sides, ids: tuple[int, ...], ground: "dict[Site, Tensor] | None") -> None:
        self.model, self.judge, self.ids, self.ground = model, judge, ids, ground

    def without(self, found: Direction) -> _Edits:
        return projection.ablated(self.model, found.unit, self.ground)

    def share(self, logits: "Tensor") -> float:
        told = torch.isin(logits.argmax(-1), torch.tensor(self.ids, device=logits.device))
        return float(told.double().mean())

    def rate(
        self, what: str, texts: "tuple[str, ...]", edits: "dict[str | Site, projection.Intervention] | None" = None
    ) -> Rate:
        share = self.share(projection.starts(self.model, texts, edits))
        low, high = confidence.share(share, len(texts))
        return Rate(what=what, share=share, low=low, high=high)

    def judged(self, found: Direction, controls: int, seed: int) -> dict[str, Any]:
        """All that is told of one direction."""
        yes, no = self.judge.positive, self.judge.negative
        edits = self.without(found)
        others = [found.random(seed + number) for number in range(controls)]
        return {
            "before": self.rate("as it is", yes),
            "after": self.rate("without the direction", yes, edits),
            "random": tuple(
                self.rate(f"without random direction {number}", yes, self.without(each))
                for number, each in enumerate(others, 1)
            ),
            "spared": self.rate("other texts as they are", no),
            "added": self.rate("other texts, direction added", no, steered.steered(found)),
            "kl": _distance(self.model, edits),
            "judged": len(yes),
            "judged_without": len(no),
        }


def _tried(runs: _Runs, fit: Sides, found: Direction, plain: "Tensor") -> AblatedLayer:
    edits = runs.without(found)
    rate = runs.share(projection.starts(runs.model, fit.positive, edits))
    after = projection.starts(runs.model, fit.negative, edits)
    kl = float(readout.kl(readout.log_probs(plain), readout.log_probs(after)).double().mean())
    added = runs.share(projection.starts(runs.model, fit.negative, steered.steered(found)))
    return AblatedLayer(site=str(found.site), ratio=found.ratio, rate=rate, added=added, kl=kl)


def _target(model: "Model", target: AnyToken | None, positive: "Tensor", negative: "Tensor") -> tuple[int, ...]:
    """The tokens named, or the one that tells the sides apart best."""
    if target is not None:
        return readout.token_ids(model, target)
    yes, no = (each.argmax(-1) for each in (positive, negative))
    more = {token: float((yes == token).double().mean() - (no == token).double().mean()) for token in set(yes.tolist())}
    token = max(more, key=more.__getitem__)
    if more[token] <= 0:
        raise ArgumentError(
            f"no next token is commoner after the positive texts: {quoted(model.token_label(token))} is not",
            "Name the target with which the behaviour begins.",
        )
    return (token,)


def _distance(model: "Model", edits: _Edits) -> float:
    """KL on neutral text, in nats per token."""
    rows = [model.tokens(each).rows[0][: model.n_ctx] for each in contrasts.NEUTRAL]
    total = 0.0
    for ids in rows:
        total += float(steered.distance(model, ids, readout.log_probs(model.trace([ids]).logits[0]), edits)[0])
    return total / sum(map(len, rows))
