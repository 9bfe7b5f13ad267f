"""One prompt continued as the model is, with a direction added, and with it taken out.

Beside each token stands how far the changed model is from the unchanged one there: KL(unsteered ‖ steered) on the text
that was said. Turner et al. 2023, "Activation Addition"; Arditi et al. 2024, "Refusal in Language Models Is Mediated by
a Single Direction". What is left of what is taken out is the mean of the negative texts, or zero, as for a direction
from a file.
"""

from math import exp
from typing import TYPE_CHECKING, Any, Literal

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import projection, readout
from fluoroscope.methods import steering as steered
from fluoroscope.methods.directions import Direction, Method, Reading, Sides
from fluoroscope.render.text import number, percent, prose, visible
from fluoroscope.result import Record, Result
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyPrompt, InputFile
from fluoroscope.sites import Site
from fluoroscope.tasks import contrasts
from fluoroscope.tasks.contrasts import Source
from fluoroscope.tokens import Tokens as TokensOf
from fluoroscope.views import Column, Row, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.methods.steering import Said
    from fluoroscope.model import Model

THEME = "Steering and probes"


class Continuation(Record):
    """What is said in one of the three ways.

    Args:
        how: unsteered, steered or ablated.
        ids: its tokens; `pieces` what they show.
        kl: where each was chosen, in nats.
        log_probs: of each under the model as it is, in nats; None where it was impossible.
        perplexity: of all of it, under the model as it is; None beyond all numbers.
        stopped: why it ended.
    """

    how: str
    text: str
    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    kl: tuple[float, ...]
    log_probs: tuple[float | None, ...]
    perplexity: float | None
    stopped: str

    @property
    def mean_kl(self) -> float:
        """In nats per token."""
        return sum(self.kl) / len(self.kl)


class SteeredGeneration(Result):
    """Three continuations of one prompt.

    Args:
        source: what the direction is of; `texts` is the SHA-256 of its texts, 16 hex digits.
        site: where it is added.
        ratio: what a coefficient of 1 adds, as a share of the stream's length.
        positions: the token indices where it is added; None for all.
        steps: at which of the passes.
        level: what is left along the direction where it is taken out: mean (of the negative texts) or zero.
    """

    tokens: tuple[str, ...]
    source: str
    texts: str
    site: str
    ratio: float
    coefficient: float
    positions: tuple[int, ...] | None
    steps: str
    level: str
    continuations: tuple[Continuation, ...]

    def summary(self) -> str:
        plain, moved, without = self.continuations
        return (
            f"With {self.coefficient:g} times the {prose(self.source)} direction at {self.site} the model says "
            f"“{prose(moved.text)}” instead of “{prose(plain.text)}”, {number(moved.mean_kl)} nats per token from "
            f"itself and at a perplexity of {number(moved.perplexity)} instead of {number(plain.perplexity)}; without "
            f"the direction “{prose(without.text)}”."
        )

    def views(self) -> list[View]:
        return [*map(self._tokens, self.continuations[1:]), self._table()]

    def _tokens(self, said: Continuation) -> Tokens:
        marks = zip(said.pieces, said.ids, said.kl, strict=True)
        return Tokens(
            title=f"What it says {said.how}",
            caption="KL(unsteered ‖ this) where each token was chosen, on this text.",
            unit="nats",
            items=tuple(TokenMark(text=piece, id=token, value=kl) for piece, token, kl in marks),
        )

    def _table(self) -> Table:
        added = percent(abs(self.coefficient) * self.ratio)
        where = "everywhere" if self.positions is None else f"at tokens {', '.join(map(str, self.positions))}"
        left = "zero" if self.level == "zero" else "the mean of the negative texts"
        return Table(
            title="Side by side",
            caption=f"Steered: {self.coefficient:g} times the direction, {added} of the stream's length, added at "
            f"{self.site}, {where}. Ablated: at {left} in all that writes into the stream. Perplexity: under the "
            "model as it is.",
            columns=(
                Column(name="how"), Column(name="says"), Column(name="KL per token"), Column(name="perplexity"),
                Column(name="ended by"),
            ),
            rows=tuple(
                Row(cells=(said.how, visible(said.text), said.mean_kl, said.perplexity, said.stopped))
                for said in self.continuations
            ),
        )  # fmt: skip


@checked
def steered_generation(
    model: "Model",
    prompt: AnyPrompt,
    *,
    contrast: Literal["sentiment", "refusal"] | None = None,
    pairs: InputFile | None = None,
    positive: list[str] | None = None,
    negative: list[str] | None = None,
    vector: InputFile | None = None,
    method: Literal["mean", "pca"] = "mean",
    reading: Literal["last", "mean"] = "last",
    layer: int | None = None,
    coefficient: float = 1.0,
    positions: list[int] | None = None,
    steps: Literal["all", "prompt", "generated"] = "all",
    level: Literal["mean", "zero"] = "mean",
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
) -> SteeredGeneration:
    """Continues a prompt as the model is, with a direction added, and with it projected out; cached, by one seed.

    Args:
        prompt: the text to continue.
        contrast: the embedded texts that the direction is of; sentiment if nothing else is named.
        pairs: or the file of them: pairs, or texts with labels (.txt with tabs, .csv, .tsv, .json, .jsonl).
        positive: or texts that have what is to be added.
        negative: with texts that do not.
        vector: or the file of a kept direction, which stays at its own layer.
        method: the mean difference, or the first principal component of the differences of pairs.
        reading: a text's last token, or the mean over all but its first.
        layer: after which block to add it; where it is largest beside the stream if not given.
        coefficient: how many times it is added; 1 is the way from the negative texts to the positive ones.
        positions: where it is added, negative ones from the end of the prompt; everywhere if not given.
        steps: in which passes it is added.
        level: what is left of it where it is taken out: the mean of the negative texts, or zero.
        max_new_tokens: length of the continuations.
        temperature: 0 takes the likeliest token; otherwise tokens are drawn.
        seed: of the sampling.

    Raises:
        ArgumentError: several prompts, a layer beside a file's own, texts named in two ways or without a difference.
        TokenError, SiteError: prompt and continuation do not fit the context, no such position or layer.
        ArtifactError: a file that cannot be read, or a direction of another model.
    """
    source = contrasts.source(model, contrast, pairs, positive, negative, vector)
    found = _direction(model, source, layer, method, reading)
    tokens, ids = _only(model, prompt)
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
    texts = None if level == "zero" else source.texts
    without = {"edits": projection.ablated(model, found.unit, _ground(model, texts, reading))}
    added = {"edits": steered.steered(found, coefficient, positions), "edit_tokens": steps}
    runs = (("unsteered", {}), ("steered", added), ("ablated", without))
    said = {how: steered.say(model, ids, **run, **options) for how, run in runs}
    return SteeredGeneration(
        recipe=model.recipe(tokens, seed=seed), tokens=tuple(tokens.labels[0]), source=source.name,
        texts=found.made_of["texts"], site=str(found.site), ratio=found.ratio, coefficient=coefficient,
        positions=None if positions is None else tuple(positions), steps=steps, level=level if texts else "zero",
        continuations=tuple(_continuation(model, how, each) for how, each in said.items()),
    )  # fmt: skip


def _only(model: "Model", prompt: Any) -> tuple[TokensOf, list[int]]:
    """The tokens of a single prompt, and its ids."""
    tokens = model.tokens(prompt)
    readout.only_slot(tokens, -1)
    return tokens, tokens.rows[0]


def _ground(model: "Model", texts: Sides | None, reading: Reading) -> "dict[Site, Tensor] | None":
    return None if texts is None else projection.means(model, texts.negative, reading)


def _direction(model: "Model", source: Source, layer: int | None, method: Method, reading: Reading) -> Direction:
    """That of a layer, or of the one where it is largest beside the stream."""
    if layer is not None and source.held is not None:
        raise ArgumentError(f"layer={layer} and a direction with a layer of its own", "Leave the layer out.")
    layers = range(model.n_layers) if layer is None else [layer]
    sites = [model.site(Site("resid_post", each)) for each in layers]
    return max(source.directions(model, sites, method, reading), key=lambda each: each.ratio)


def _continuation(model: "Model", how: str, said: "Said") -> Continuation:
    surprise = -sum(said.log_probs) / len(said.log_probs)
    return Continuation(
        how=how, text=said.text, ids=tuple(said.ids), pieces=tuple(model.tokens(said.ids).labels[0]),
        kl=tuple(said.kl), log_probs=tuple(map(finite, said.log_probs)),
        perplexity=exp(surprise) if surprise < 700 else None, stopped=said.stopped,
    )  # fmt: skip
