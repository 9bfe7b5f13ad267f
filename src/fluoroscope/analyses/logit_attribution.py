"""Which embeddings, heads, source tokens, MLPs or neurons wrote a logit, as an exact sum.

A logit is the score that softmax turns into a probability. It is a sum over everything that the residual stream
collects, read through the final norm as it was in this run (Elhage et al. 2021, "A Mathematical Framework for
Transformer Circuits"). On models with a softcap it is the logit before the cap. A logit by itself holds what raises
every token alike, which makes none of them likelier; held against a foil, that drops out. `explain` does so by default.
"""

from typing import TYPE_CHECKING, Literal

from fluoroscope.arguments import checked
from fluoroscope.attribution import Attributed, Split, split
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import effects
from fluoroscope.render import text
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, HeadGrid, Lines, Mark, Series, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.methods.decomposition import Part
    from fluoroscope.model import Model

THEME = "Attribution"

_MEANINGS = {
    "embed": "the token itself",
    "pos_embed": "its position",
    "z": "head {unit} of block {layer}",
    "attn_out": "the attention of block {layer}",
    "mlp_out": "the MLP of block {layer}",
    "neurons": "neuron {unit} of the MLP of block {layer}",
    "b_out": "a bias of the MLP of block {layer}",
    "b_O": "a bias of the attention of block {layer}",
    "b_norm": "the bias of the final norm",
    "b_U": "the bias of the unembedding",
}


class Contribution(Record):
    """One addend, in logits.

    Args:
        name: canonical site, or the name of a bias.
        label: its name for people.
        site: None for a bias.
        layer: block that adds it; -1 for embeddings, the number of blocks for the biases at the end.
        source: index of the token that a head read this from; None for whole parts.
        share: |value| over the sum of all |values|, so that the shares of all parts sum to 1.
    """

    name: str
    label: str
    site: str | None
    layer: int
    source: int | None
    value: float
    share: float


class LogitAttribution(Attributed):
    """The parts of one logit, or of the difference of two.

    Args:
        parts: every addend, in the order of computation.
        cumulative: the sum after the embeddings, after each block, and after the biases at the end if there are any.
        top_k: how many parts the views name before they sum up the rest.
    """

    parts: tuple[Contribution, ...]
    cumulative: tuple[float, ...]
    top_k: int

    def top(self) -> list[Contribution]:
        """The `top_k` parts of largest absolute value, largest first."""
        return sorted(self.parts, key=lambda part: -abs(part.value))[: self.top_k]

    def rest(self) -> tuple[float, float]:
        """What all parts outside of the top sum to, in logits, and their share."""
        others = sorted(self.parts, key=lambda part: -abs(part.value))[self.top_k :]
        return sum(part.value for part in others), sum(part.share for part in others)

    def summary(self) -> str:
        first = [part for part in self.top()[:3] if abs(part.value) >= effects.worth(self.logit)] or self.top()[:1]
        named = ", ".join(f"{part.label} {text.number(part.value, signed=True)}" for part in first)
        smaller = len(self.parts) - len(first)
        others = f" and {smaller} smaller parts" if smaller else ""
        cap = "" if self.softcap is None else f", before the softcap of {text.number(self.softcap)},"
        unit = "" if self.foil is None else " logits"
        return (
            f"The {self.asked()} after {quoted(self.tokens[self.position])}{cap} is {text.number(self.logit)}{unit}: "
            f"{named}{others} sum to it within {abs(self.error):.1e}."
        )

    def views(self) -> list[View]:
        extra = [view for view in (self._neurons(), self._sources(), self._grid()) if view is not None]
        return [self._bars(), self._depth(), *extra]

    def _bars(self) -> Bars:
        top, count = self.top(), len(self.parts)
        bars = [Bar(label=p.label, value=p.value, remark=percent(p.share), site=p.site) for p in top]
        if count > len(top):
            value, share = self.rest()
            bars.append(Bar(label=f"{count - len(top)} others", value=value, remark=percent(share)))
        return Bars(
            title=f"What wrote the {self.asked()}",
            caption=f"{self._meaning()}, and the bars sum to {text.number(self.total)}; percent: share of the sizes of "
            f"all parts. {_legend(top)}.",
            unit="logits",
            signed=True,
            reach=effects.REACH * effects.worth(self.logit),
            items=tuple(bars),
        )

    def _meaning(self) -> str:
        """What is split, and what the signs say."""
        cap = "" if self.softcap is None else " (here before the model's softcap)"
        if self.foil is None:
            return (
                f"A logit is the score that softmax turns into a probability{cap}; what raises all tokens alike is in "
                "it, until a foil takes it off. Above 0 raises it, below 0 lowers it"
            )
        likely = "" if cap or len(self.target_ids) + len(self.foil_ids) > 2 else ": 0.69 is twice as likely"
        return (
            f"A lead is one logit{cap} minus another{likely}; what raises both alike drops out. "
            f"Above 0 speaks for {quoted(self.target)}, below 0 for {quoted(self.foil)}"
        )

    def _depth(self) -> Lines:
        blocks = 1 + max(part.layer for part in self.parts if part.site)
        labels = ["emb", *(f"L{layer}" for layer in range(blocks)), "biases"][: len(self.cumulative)]
        return Lines(
            title="The sum after each block",
            caption="Through the final norm as it is at the end: the step at a block is what that block adds.",
            unit="logits",
            x=tuple(Mark(label=label) for label in labels),
            series=(Series(label=self.asked(), values=self.cumulative),),
        )

    def _neurons(self) -> Bars | None:
        neurons = [part for part in self.parts if part.name.startswith("neurons.")]
        if not neurons:
            return None
        top = sorted(neurons, key=lambda part: -abs(part.value))[: self.top_k]
        return Bars(
            title="The neurons that add or take most",
            caption=f"Of {len(neurons)}, which together add {text.number(sum(n.value for n in neurons), signed=True)}. "
            f"{_legend(top[:1])}.",
            unit="logits",
            signed=True,
            reach=effects.REACH * effects.worth(self.logit),
            items=tuple(Bar(label=p.label, value=p.value, remark=percent(p.share), site=p.site) for p in top),
        )

    def _sources(self) -> Tokens | None:
        read: dict[int, float] = {}
        for part in self.parts:
            if part.source is not None:
                read[part.source] = read.get(part.source, 0.0) + part.value
        if not read:
            return None
        return Tokens(
            title="What all heads together read from each token",
            caption="A head moves what earlier blocks have put at a token, which may stem from other tokens before it.",
            unit="logits",
            signed=True,
            items=tuple(TokenMark(text=token, value=read.get(slot)) for slot, token in enumerate(self.tokens)),
            marked=self.position,
        )

    def _grid(self) -> HeadGrid | None:
        heads: dict[str, float] = {}
        for part in self.parts:
            if part.site and part.site.startswith("z."):
                heads[part.site] = heads.get(part.site, 0.0) + part.value
        if not heads:
            return None
        units: dict[int, list[float]] = {}
        for site, value in heads.items():
            units.setdefault(Site.parse(site).layer or 0, []).append(value)
        rows = tuple(tuple(units[layer]) for layer in sorted(units))
        return HeadGrid(
            title="What each head adds", caption="A row is a block, a column a head in it.", unit="logits",
            reach=effects.REACH * effects.worth(self.logit), values=rows,
        )  # fmt: skip


@checked
def logit_attribution(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    position: int = -1,
    grain: Literal["head", "layer", "neuron", "source"] = "head",
    top_k: int = 10,
) -> LogitAttribution:
    """Splits a logit, or the difference of two, into what each part of the model added to it.

    Args:
        prompt: the text whose next token is explained.
        target: the token to explain, as text or id (#338), or several (" Mary| Anna"), whose mean logit then counts;
            without it the model's own prediction.
        foil: a token, or several, whose logit is taken off: why the target rather than this.
        position: index of the token after which to predict; negative counts from the end.
        grain: every head by itself, attention by layer, every head and every neuron of the MLPs (`neurons` also tells
            what they react to), or every head split by the token that it reads.
        top_k: how many parts to name before summing up the rest.

    Raises:
        ArgumentError: `top_k` below 1, a batch of prompts, or a token that is in target and foil.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    found = split(model, prompt, (target, foil), position, grain)
    parts = found.parts
    return LogitAttribution(
        **found.fields,
        parts=tuple(_contribution(found, part) for part in parts),
        cumulative=tuple(sum(p.value for p in parts if p.layer <= layer) for layer in range(-1, 1 + parts[-1].layer)),
        top_k=top_k,
    )


def _contribution(found: Split, part: "Part") -> Contribution:
    read = "" if part.source is None else f" {quoted(found.trace.tokens.labels[0][part.source])}"
    return Contribution(
        name=part.name,
        label=part.label + read,
        site=None if part.site is None else str(part.site),
        layer=part.layer,
        source=part.source,
        value=part.value,
        share=found.share(part),
    )


def _legend(parts: list[Contribution]) -> str:
    """What the labels of a list mean, one of each kind."""
    first: dict[str, str] = {}
    for part in parts:
        kind = part.name.partition(".")[0]
        unit, _, source = part.name.rpartition(".")[2].partition("@")
        read = f", reading token {source}" if source else ""
        first.setdefault(kind, f"{part.label} is {_MEANINGS[kind].format(layer=part.layer, unit=unit)}{read}")
    return ", ".join(first.values())
