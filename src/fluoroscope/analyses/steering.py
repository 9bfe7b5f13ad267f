"""What adding a direction does: layers and coefficients, their effect and its price.

The direction leads from one set of texts to another (Turner et al. 2023, "Activation Addition"; Rimsky et al. 2023,
"Steering Llama 2 via Contrastive Activation Addition") and keeps the length that it has in the stream, so that a
coefficient of 1 is the way from the one to the other. Beside the answer's log-odds stand the distance to the unsteered
model on neutral text, and how unlikely the unsteered model finds what the steered one says.
"""

from itertools import islice, pairwise
from math import exp, log
from typing import TYPE_CHECKING, Literal

from fluoroscope import contrasted
from fluoroscope.arguments import checked
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.methods import steering as steered
from fluoroscope.methods.passages import passages
from fluoroscope.render.text import number, percent, prose, quoted
from fluoroscope.result import Record
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyPrompt, AnyToken, InputFile
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts
from fluoroscope.views import Column, Heatmap, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from fluoroscope.methods.directions import Direction
    from fluoroscope.methods.steering import Swept
    from fluoroscope.model import Model

THEME = "Steering and probes"

_PASSAGES = 16


class Steered(Record):
    """What a coefficient does at one layer.

    Args:
        log_odds: of the target, in nats; None where it has no bound.
        kl: KL(unsteered ‖ steered) on neutral text, in nats per token.
        perplexity: of what is said, under the unsteered model; None beyond all numbers.
        says: the greedy continuation.
    """

    coefficient: float
    log_odds: float | None
    kl: float
    perplexity: float | None
    says: str


class Layer(Record):
    """One place where the direction is added.

    Args:
        ratio: what a coefficient of 1 adds, as a share of the stream's length.
        monotone: whether the log-odds rise from each coefficient to the next.
        swing: how far they move between the ends of the coefficients whose KL is within the limit, in nats.
    """

    site: str
    ratio: float
    monotone: bool
    swing: float
    points: tuple[Steered, ...]


class Steering(Contrasted):
    """The effect of a direction on one answer, and its price.

    Args:
        tokens: the prompt, as the model reads it.
        source: what the direction is of.
        texts: SHA-256 of the texts that it was made of, 16 hex digits.
        limit: the KL on neutral text up to which a coefficient counts, in nats per token.
        neutral_tokens: over how many tokens the KL is.
        blocks: how many the model has.
        best: index of the layer of the largest swing, of those where the log-odds rise all the way if there are any.
    """

    tokens: tuple[str, ...]
    source: str
    texts: str
    method: str
    reading: str
    limit: float
    neutral_tokens: int
    layers: tuple[Layer, ...]
    blocks: int
    best: int

    def summary(self) -> str:
        layer = self.layers[self.best]
        held = [point for point in layer.points if point.kl <= self.limit]
        low, high = held[0], held[-1]
        last = layer.site == str(Site("resid_post", self.blocks - 1))
        where = f"{layer.site}, behind the last block, where nothing but the logits reads it" if last else layer.site
        rising = "rising at every step" if layer.monotone else "not at every step upwards"
        return (
            f"The {prose(self.source)} direction works best at {where}: from {low.coefficient:g} to "
            f"{high.coefficient:g} times it the log-odds of {self._target()} go from {number(low.log_odds)} to "
            f"{number(high.log_odds)} nats, {rising}, with a KL of at most "
            f"{number(max(low.kl, high.kl))} nats per token on neutral text and a perplexity of "
            f"{number(low.perplexity)} and {number(high.perplexity)}."
        )

    def _target(self) -> str:
        first = quoted(self.target.split("|")[0] or "|") if len(self.target_ids) > 1 else quoted(self.target)
        return first if len(self.target_ids) == 1 else f"{first} and {len(self.target_ids) - 1} more"

    def views(self) -> list[View]:
        return [self._curve(), self._price(), *([self._grid()] if len(self.layers) > 1 else []), self._table()]

    def _marks(self) -> tuple[Mark, ...]:
        return tuple(Mark(label=f"{point.coefficient:g}") for point in self.layers[0].points)

    def _curve(self) -> Lines:
        ranked = sorted(self.layers, key=lambda layer: -layer.swing)
        shown = [self.layers[self.best], *(layer for layer in ranked if layer is not self.layers[self.best])][:4]
        return Lines(
            title=f"Log-odds of {self._target()} over coefficients",
            caption="The best layer first; a coefficient of 0 is the model as it is.",
            unit="nats",
            x=self._marks(),
            series=tuple(
                Series(label=layer.site, site=layer.site, values=tuple(point.log_odds for point in layer.points))
                for layer in shown
            ),
            marked=_middle(self.layers[0]),
        )

    def _price(self) -> Lines:
        layer = self.layers[self.best]
        return Lines(
            title=f"What it costs at {layer.site}",
            caption=f"KL from the unsteered model per token, over {self.neutral_tokens} tokens of neutral text, and "
            "the log of the perplexity of the continuation under the unsteered model: low and flat is good.",
            unit="nats",
            x=self._marks(),
            series=(
                Series(label="KL on neutral text", values=tuple(point.kl for point in layer.points)),
                Series(label="surprise at what is said", values=tuple(_log(point) for point in layer.points)),
            ),
            marked=_middle(layer),
        )

    def _grid(self) -> Heatmap:
        base = self.layers[0].points[_middle(self.layers[0])].log_odds or 0.0
        return Heatmap(
            title="Log-odds by layer and coefficient, less those without steering",
            unit="nats",
            signed=True,
            rows=tuple(Mark(label=layer.site, site=layer.site) for layer in self.layers),
            columns=self._marks(),
            values=tuple(
                tuple(None if point.log_odds is None else point.log_odds - base for point in layer.points)
                for layer in self.layers
            ),
        )

    def _table(self) -> Table:
        layer = self.layers[self.best]
        names = ("coefficient", "of the stream", "log-odds", "KL", "perplexity")
        return Table(
            title=f"Steering at {layer.site}",
            caption="Of the stream: what is added as a share of its length. KL on neutral text and log-odds in nats.",
            columns=(*(Column(name=name) for name in names), Column(name="says", token=True)),
            rows=tuple(
                Row(
                    cells=(
                        f"{point.coefficient:g}", percent(abs(point.coefficient) * layer.ratio), point.log_odds,
                        point.kl, point.perplexity, point.says,
                    ),
                    site=layer.site,
                )
                for point in layer.points
            ),
        )  # fmt: skip


@checked
def steering(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    contrast: Literal["sentiment", "refusal"] | None = None,
    pairs: InputFile | None = None,
    positive: list[str] | None = None,
    negative: list[str] | None = None,
    vector: InputFile | None = None,
    method: Literal["mean", "pca"] = "mean",
    reading: Literal["last", "mean"] = "last",
    layers: list[int] | None = None,
    strongest: float = 1.0,
    steps: int = 4,
    limit: float = 1.0,
    max_new_tokens: int = 12,
    text: InputFile | None = None,
) -> Steering:
    """Adds a direction to the stream behind each layer, at every token, and measures what that does.

    Args:
        prompt: the text whose next token is looked at.
        target: the token to move, or several (" glad| happy"); without it the words of an embedded contrast, else the
            model's own prediction.
        foil: what it is held against; without it all others.
        contrast: the embedded texts that the direction is of; sentiment if nothing else is named.
        pairs: or the file of them: pairs, or texts with labels (.txt with tabs, .csv, .tsv, .json, .jsonl).
        positive: or texts that have what is to be added.
        negative: with texts that do not.
        vector: or the file of a kept direction, which stays at its own layer.
        method: the mean difference, or the first principal component of the differences of pairs.
        reading: a text's last token, or the mean over all but its first.
        layers: after which blocks to steer; all if not given.
        strongest: the largest coefficient, on both sides.
        steps: how many coefficients on each side.
        limit: the KL on neutral text that is borne, in nats per token.
        max_new_tokens: length of the continuations.
        text: text file of neutral text; five embedded sentences if not given.

    Raises:
        ArgumentError: a number of 0 or less, texts named in two ways or without a difference, target and foil alike.
        TokenError, SiteError: no such token or layer.
        ArtifactError: a file that cannot be read, or a direction of another model.
    """
    _check(strongest=strongest, steps=steps, limit=limit, max_new_tokens=max_new_tokens)
    source = contrasts.source(model, contrast, pairs, positive, negative, vector)
    tokens = model.tokens(prompt)
    about = source.about(model, target, foil).at(model.trace(tokens).logits[0, readout.only_slot(tokens, -1)])
    found = source.directions(model, _sites(model, layers), method, reading)
    coefficients = [strongest * step / steps for step in range(-steps, steps + 1)]
    neutral = _neutral(model, text)
    swept = steered.sweep(model, tokens.rows[0], about, found, coefficients, neutral, max_new_tokens)
    told = tuple(_layer(model, *each, coefficients, limit) for each in zip(found, swept, strict=True))
    return Steering(
        recipe=model.recipe(tokens), **contrasted.named(model, about), tokens=tuple(tokens.labels[0]),
        source=source.name, **{name: found[0].made_of[name] for name in ("texts", "method", "reading")}, limit=limit,
        neutral_tokens=sum(map(len, neutral)), layers=told, blocks=model.n_layers, best=_best(told),
    )  # fmt: skip


def _check(**numbers: float) -> None:
    for name, value in numbers.items():
        if value <= 0:
            raise ArgumentError(f"{name}={value} steers nothing", "Give a number above 0.")


def _best(layers: tuple[Layer, ...]) -> int:
    """The largest swing, of the layers that rise at every step if any does."""
    rising = any(layer.monotone for layer in layers)
    return max(range(len(layers)), key=lambda n: (layers[n].monotone or not rising, layers[n].swing))


def _sites(model: "Model", layers: list[int] | None) -> list[Site]:
    return [model.site(Site("resid_post", layer)) for layer in (range(model.n_layers) if layers is None else layers)]


def _neutral(model: "Model", text: str | None) -> list[list[int]]:
    if text is None:
        return [model.tokens(each).rows[0][: model.n_ctx] for each in contrasts.NEUTRAL]
    return [list(each.ids) for each in islice(passages(model, text), _PASSAGES)]


def _layer(model: "Model", found: "Direction", swept: "Swept", coefficients: list[float], limit: float) -> Layer:
    points = tuple(
        Steered(
            coefficient=coefficient, log_odds=finite(odds), kl=kl, perplexity=_exp(surprise),
            says="".join(model.tokens(list(ids)).pieces[0]),
        )
        for coefficient, odds, kl, surprise, ids in zip(
            coefficients, swept.log_odds, swept.kl, swept.surprise, swept.says, strict=True
        )
    )  # fmt: skip
    held = [odds for odds, kl in zip(swept.log_odds, swept.kl, strict=True) if kl <= limit]
    swing = finite(held[-1] - held[0]) or 0.0
    monotone = all(low < high for low, high in pairwise(swept.log_odds))
    return Layer(site=str(found.site), ratio=found.ratio, monotone=monotone, swing=swing, points=points)


def _middle(layer: Layer) -> int:
    return len(layer.points) // 2


def _exp(surprise: float) -> float | None:
    return exp(surprise) if surprise < 700 else None


def _log(point: Steered) -> float | None:
    return None if point.perplexity is None else max(0.0, log(point.perplexity))
