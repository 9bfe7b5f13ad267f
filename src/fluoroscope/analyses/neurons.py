"""Which MLP neurons wrote the logit of a token, what they react to, and what they push.

A neuron adds its activation times its row of W_out to the residual stream; read through the final norm as it was in
this run, that is its exact addend of the logit (the same sum as `logit_attribution --grain neuron`). Most neurons have
no one meaning: what they react to elsewhere is shown by `max_activating`.
"""

from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.attribution import Attributed, Split, split
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import effects
from fluoroscope.methods import neurons as lenses
from fluoroscope.render.text import counted, number, percent, quoted, visible
from fluoroscope.result import Record
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Column, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.methods.decomposition import Part
    from fluoroscope.model import Model

THEME = "Attribution"

_PUSHED = 5
_FOR, _AGAINST, _ELSEWHERE = "neurons for it", "neurons against it", "neurons elsewhere"
_KINDS = {"embed": "embeddings", "pos_embed": "embeddings", "z": "attention heads", "mlp_out": "MLPs kept whole"}
_MANY = (_FOR, _AGAINST, _ELSEWHERE, *_KINDS.values())
_ONE = {"biases": "bias", **{name: name.replace("s ", " ").removesuffix("s") for name in _MANY}}


class Pushed(Record):
    """A token that a neuron raises or lowers, and by how much beside others: a logit, were every norm's scale 1."""

    token: str
    id: int
    value: float


class Neuron(Record):
    """One neuron and its addend.

    Args:
        value: in logits.
        share: |value| over the sum of the sizes of all parts of the logit.
        activations: at every token of the prompt.
        peak: index of the token where the activation is largest in size.
        promotes: the tokens that an activation above zero raises most, most first.
        demotes: the tokens that it lowers most, most first.
    """

    site: str
    value: float
    share: float
    activations: tuple[float, ...]
    peak: int
    promotes: tuple[Pushed, ...]
    demotes: tuple[Pushed, ...]

    @property
    def label(self) -> str:
        """L3N359."""
        return Site.parse(self.site).label


class Remainder(Record):
    """What several other parts add together; `share` is the sum of their shares."""

    name: str
    count: int
    value: float
    share: float


class NeuronAttribution(Attributed):
    """The neurons that wrote most of one logit, or of the difference of two.

    Args:
        layer: the block asked about; None for all.
        raising: the neurons that add most, most first; at most `top_k`.
        lowering: those that take most away, most first; at most `top_k`.
        remainder: all other parts, so that everything together sums to `total`.
        all_neurons: what all neurons asked about add, the ones above among them.
    """

    layer: int | None
    raising: tuple[Neuron, ...]
    lowering: tuple[Neuron, ...]
    remainder: tuple[Remainder, ...]
    all_neurons: Remainder

    def summary(self) -> str:
        def named(neurons: tuple[Neuron, ...]) -> str:
            large = [each for each in neurons[:3] if abs(each.value) >= effects.worth(self.logit)]
            told = ", ".join(f"{each.label} {number(each.value, signed=True)}" for each in large)
            return told or f"none by {number(effects.worth(self.logit))}"

        cap = "" if self.softcap is None else f" before the softcap of {number(self.softcap)}"
        everything = self.all_neurons
        return (
            f"Of the {self.asked()} after {quoted(self.tokens[self.position])}{cap}, {number(self.logit)}, the "
            f"{everything.count} {everything.name} add {number(everything.value, signed=True)}; most for it: "
            f"{named(self.raising)}; most against: {named(self.lowering)}."
        )

    def views(self) -> list[View]:
        named = (*self.raising, *self.lowering)
        pictures = [self._bars(named), self._table(named), self._heatmap(named)] if named else []
        return [*pictures, self._whole(named)]

    def _bars(self, named: tuple[Neuron, ...]) -> Bars:
        first = Site.parse(named[0].site)
        return Bars(
            title=f"The neurons that wrote the {self.asked()}",
            caption=f"Above 0 raises it, below 0 lowers it; percent: share of the sizes of all parts of the logit. "
            f"{first.label} is neuron {first.unit} of the MLP of block {first.layer}.",
            unit="logits",
            signed=True,
            reach=effects.REACH * effects.worth(self.logit),
            items=tuple(Bar(label=n.label, value=n.value, remark=percent(n.share), site=n.site) for n in named),
        )

    def _table(self, named: tuple[Neuron, ...]) -> Table:
        return Table(
            title="What they react to and what they push",
            caption=f"Activation at {quoted(self.tokens[self.position])} and where it is largest in size. Promotes and "
            "demotes: the neuron's row of W_out through the final norm's gain and the unembedding, for an activation "
            "above zero (below, they swap); the norm's scale is ignored, and no later block is asked.",
            columns=(
                Column(name="neuron"), Column(name="logits"), Column(name="activation"),
                Column(name="peak at", token=True), Column(name="peak"), Column(name="promotes"),
                Column(name="demotes"),
            ),
            rows=tuple(
                Row(
                    cells=(
                        n.label, n.value, n.activations[self.position], self.tokens[n.peak], n.activations[n.peak],
                        _list(n.promotes), _list(n.demotes),
                    ),
                    site=n.site,
                )
                for n in named
            ),
        )  # fmt: skip

    def _heatmap(self, named: tuple[Neuron, ...]) -> Heatmap:
        return Heatmap(
            title="Their activations over the prompt",
            caption="Only the column of the token after which the prediction is made adds to its logit directly.",
            unit="activation",
            signed=True,
            rows=tuple(Mark(label=n.label, site=n.site) for n in named),
            columns=tuple(Mark(label=token, token=True) for token in self.tokens),
            values=tuple(n.activations for n in named),
        )

    def _whole(self, named: tuple[Neuron, ...]) -> Bars:
        value, share = sum(n.value for n in named), min(1.0, sum(n.share for n in named))
        above = [Bar(label=f"the {len(named)} neurons above", value=value, remark=percent(share))] if named else []
        rest = (
            Bar(
                label=counted(each.count, _ONE[each.name], each.name),
                value=each.value,
                remark=percent(min(1.0, each.share)),
            )
            for each in self.remainder
        )
        return Bars(
            title="And everything else",
            caption=f"The bars sum to {number(self.total)}. Parts of one bar may cancel: its share counts their sizes.",
            unit="logits",
            signed=True,
            items=(*above, *rest),
        )


@checked
def neurons(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    position: int = -1,
    layer: int | None = None,
    top_k: int = 8,
) -> NeuronAttribution:
    """Names the neurons that raise and lower a logit most, with what they react to and what they push.

    Args:
        prompt: the text whose next token is explained.
        target: the token to explain, as text or id (#338), or several (" Mary| Anna"), whose mean logit then counts;
            without it the model's own prediction.
        foil: a token, or several, whose logit is taken off: why the target rather than this.
        position: index of the token after which to predict; negative counts from the end.
        layer: the block whose neurons to look at; all if not given.
        top_k: how many neurons to name on each side.

    Raises:
        ArgumentError: `top_k` below 1, a batch of prompts, or a token that is in target and foil.
        SiteError: there is no such block.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: no neuron can be read (experts, say), or the logits have no exact decomposition.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    layers = [site.layer for site in ([model.site(Site("neurons", layer))] if layer is not None else _offered(model))]
    found = split(model, prompt, (target, foil), position, "neuron")
    asked = [part for part in found.parts if part.site and part.site.name == "neurons" and part.layer in layers]
    order = sorted(asked, key=lambda part: -part.value)
    raising = [part for part in order[:top_k] if part.value > 0]
    lowering = [part for part in order[::-1][:top_k] if part.value < 0]
    records = _neurons(model, found, [*raising, *lowering])
    return NeuronAttribution(
        **found.fields,
        layer=layer,
        raising=tuple(records[: len(raising)]),
        lowering=tuple(records[len(raising) :]),
        remainder=_remainder(found, asked, [*raising, *lowering]),
        all_neurons=_sum(found, "neurons" if layer is None else f"neurons of block {layer}", asked),
    )


def _offered(model: "Model") -> list[Site]:
    found = model.sites("neurons")
    if not found:
        experts = ", its MLPs are mixtures of experts" if model.architecture.experts else ""
        raise UnavailableError(
            f"no neuron of {model.name} can be read{experts}: {model.unavailable['neurons', 0]}",
            "logit_attribution splits a logit into heads and whole MLPs.",
        )
    return found


def _neurons(model: "Model", found: Split, parts: "list[Part]") -> list[Neuron]:
    """The parts with their activations and what they push, in the order given."""
    units: dict[int, list[int]] = {}
    for part in parts:
        units.setdefault(part.layer, []).append(_unit(part))
    pushed = {
        (layer, unit): row
        for layer, chosen in units.items()
        for unit, row in zip(chosen, lenses.lens(model, layer, chosen), strict=True)
    }
    records: list[Neuron] = []
    for part in parts:
        activations = found.trace[f"neurons.{part.layer}"][0, :, _unit(part)].double()
        row = pushed[part.layer, _unit(part)]
        most, least = (row.topk(min(_PUSHED, len(row)), largest=largest) for largest in (True, False))
        records.append(
            Neuron(
                site=part.name,
                value=part.value,
                share=found.share(part),
                activations=tuple(activations.tolist()),
                peak=int(activations.abs().argmax()),
                promotes=_pushed(model, most.indices.tolist(), most.values.tolist()),
                demotes=_pushed(model, least.indices.tolist(), least.values.tolist()),
            )
        )
    return records


def _unit(part: "Part") -> int:
    return (part.site and part.site.unit) or 0


def _pushed(model: "Model", ids: list[int], values: list[float]) -> tuple[Pushed, ...]:
    return tuple(
        Pushed(token=model.token_label(token), id=token, value=value) for token, value in zip(ids, values, strict=True)
    )


def _remainder(found: Split, asked: "list[Part]", named: "list[Part]") -> tuple[Remainder, ...]:
    """Everything that is not named, in groups that a person knows, the neurons first."""
    told, mine = {part.name for part in named}, {part.name for part in asked}
    groups: dict[str, list[Part]] = {_FOR: [], _AGAINST: [], _ELSEWHERE: []}
    for part in found.parts:
        if part.name in mine:
            group = _FOR if part.value > 0 else _AGAINST
        elif part.site is None:
            group = "biases"
        else:
            group = _KINDS.get(part.site.name, _ELSEWHERE)
        if part.name not in told:
            groups.setdefault(group, []).append(part)
    return tuple(_sum(found, name, members) for name, members in groups.items() if members)


def _sum(found: Split, name: str, parts: "list[Part]") -> Remainder:
    return Remainder(
        name=name,
        count=len(parts),
        value=sum(part.value for part in parts),
        share=found.share(*parts),
    )


def _list(tokens: tuple[Pushed, ...]) -> str:
    return " ".join(visible(each.token) for each in tokens)
