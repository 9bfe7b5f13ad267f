"""What every prediction along a prompt is made of, token by token and block by block.

After each token the logit of what the model then expects is split exactly, as `logit_attribution` splits one of them:
embeddings, every head, every MLP, biases. The map sums the heads of a block up. With a target named, all columns are
about its logit, and show where in the text it begins to rise.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope import contrasted
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, decomposition, effects, readout
from fluoroscope.progress import track
from fluoroscope.render.text import counted, number, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.views import Column, Heatmap, Mark, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.methods.decomposition import Part
    from fluoroscope.model import Model

THEME = "Attribution"


class Component(Record):
    """A row of the map: the embeddings, the attention or the MLP of a block, or the biases at the end."""

    label: str
    site: str | None


class Largest(Record):
    """A part of one logit; its share is |value| over the sum of all |values| of that logit."""

    label: str
    site: str | None
    value: float
    share: float


class Expectation(Record):
    """What the model expects after one token, and what wrote it.

    Args:
        predicted: the likeliest next token, with its `probability`.
        actual: the token that comes; None at the end. `actual_probability` is what the model gave it.
        logit: of `predicted`, or what was asked about instead, before any softcap.
        values: what each component adds, in logits.
        error: what they miss the logit by.
        top: the heads, MLPs, embeddings and biases of largest absolute value, largest first.
    """

    token: str
    predicted: str
    predicted_id: int
    probability: float
    actual: str | None
    actual_probability: float | None
    logit: float
    error: float
    values: tuple[float, ...]
    top: tuple[Largest, ...]


class TokenAttribution(Result):
    """The parts of what is expected after every token; `positions[i].values[c]` is what component c adds there.

    Args:
        target, foil: what all positions are about, if not each about its own prediction; of sets the texts with `|`
            between.
    """

    target: str | None
    target_ids: tuple[int, ...]
    foil: str | None
    foil_ids: tuple[int, ...]
    components: tuple[Component, ...]
    positions: tuple[Expectation, ...]

    def summary(self) -> str:
        leaders = [place.top[0].label for place in self.positions]
        most = max(dict.fromkeys(leaders), key=leaders.count)
        if self.target is not None:
            highest, lowest = (end(self.positions, key=lambda place: place.logit) for end in (max, min))
            where = f"is highest after {quoted(highest.token)}, {number(highest.logit)}"
            if highest.logit - lowest.logit < effects.worth(highest.logit):
                where = f"is much the same after every token, {number(highest.logit)}"
            return (
                f"The {self._asked()} {where}; {most} is its largest part after {leaders.count(most)} of "
                f"{counted(len(leaders), 'token')}; every sum meets its logit within {number(self._worst())}."
            )
        right = sum(place.predicted == place.actual for place in self.positions)
        said = f", and {right} of the {len(leaders) - 1} next tokens are what it expects" if len(leaders) > 1 else ""
        return (
            f"{most} is the largest part of {leaders.count(most)} of {len(leaders)} predictions{said}; "
            f"every sum meets its logit within {number(self._worst())}."
        )

    def _worst(self) -> float:
        return max(abs(place.error) for place in self.positions)

    def _asked(self) -> str:
        several = max(len(self.target_ids), len(self.foil_ids)) > 1
        return "prediction" if self.target is None else contrasted.wording(self.target, self.foil, several=several)

    def views(self) -> list[View]:
        return [self._heatmap(), self._predictions(), self._parts()]

    def _heatmap(self) -> Heatmap:
        return Heatmap(
            title=f"What each part adds to the {self._asked()} after every token",
            caption="A column is a token of the prompt and is about the likeliest token behind it; it sums to that "
            "token's logit. Columns are about different tokens, so compare inside of a column."
            if self.target is None
            else "A column is a token of the prompt; it sums to what is asked about, behind that token.",
            unit="logits",
            signed=True,
            rows=tuple(Mark(label=part.label, site=part.site) for part in self.components),
            columns=tuple(Mark(label=place.token, token=True) for place in self.positions),
            values=tuple(zip(*(place.values for place in self.positions), strict=True)),
        )

    def _predictions(self) -> Table:
        names = ("index", "after", "expected", "p", "what comes", "its p")
        return Table(
            title="What the model expects after every token",
            columns=tuple(Column(name=name, token=name in ("after", "expected", "what comes")) for name in names),
            rows=tuple(
                Row(cells=(n, p.token, p.predicted, p.probability, p.actual, p.actual_probability))
                for n, p in enumerate(self.positions)
            ),
        )

    def _parts(self) -> Table:
        return Table(
            title=f"The largest parts of {'each' if self.target is None else 'the'} {self._asked()}",
            caption="In logits, of all heads, MLPs, embeddings and biases.",
            columns=(
                Column(name="index"),
                Column(name="expected", token=True),
                *(Column(name=f"part {n + 1}") for n in range(len(self.positions[0].top))),
            ),
            rows=tuple(
                Row(cells=(index, place.predicted, *map(_told, place.top)), site=place.top[0].site)
                for index, place in enumerate(self.positions)
            ),
        )


@checked
@torch.no_grad()
def token_attribution(
    model: "Model", prompt: AnyPrompt, *, target: AnyToken | None = None, foil: AnyToken | None = None, top_k: int = 3
) -> TokenAttribution:
    """Splits what the model expects after every token of a prompt into what each of its parts added.

    Args:
        prompt: the text to read.
        target: a token to explain after every token, as text or id (#338), or several (" Mary| Anna"), whose mean logit
            then counts; without it at each place the model's own prediction.
        foil: a token, or several, whose logit is taken off that of the target.
        top_k: how many parts to name for each token.

    Raises:
        ArgumentError: `top_k` below 1, a batch of prompts, a foil without a target, or a token in both.
        TokenError: target or foil is not one token or a set of them.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    if foil is not None and target is None:
        raise ArgumentError("a foil is compared with a target, and none is named", "Name one, or leave out the foil.")
    asked = contrast.asked(model, target, foil)
    trace = model.trace(prompt, sites=decomposition.sites_needed(model, "head"))
    readout.only_slot(trace.tokens, -1)
    ids, pieces = trace.tokens.rows[0], [*trace.tokens.labels[0], None]
    log_p = readout.log_probs(trace.logits[0])
    components: dict[str, Component] = {}
    found: list[Expectation] = []
    for slot in track(range(len(ids)), "tokens"):
        likeliest = int(log_p[slot].argmax())
        weights = asked.at(log_p[slot]).weights(model.d_vocab)
        parts = decomposition.decompose(model, trace, slot, weights, "head")
        logit = decomposition.linear_logit(model, trace, slot, weights)
        sums: dict[str, float] = {}
        for part in parts:
            component = _component(part, model.n_layers)
            components.setdefault(component.label, component)
            sums[component.label] = sums.get(component.label, 0.0) + part.value
        following = ids[slot + 1 : slot + 2]
        found.append(
            Expectation(
                token=pieces[slot] or "",
                predicted=model.token_label(likeliest),
                predicted_id=likeliest,
                probability=float(log_p[slot, likeliest].exp()),
                actual=pieces[slot + 1],
                actual_probability=float(log_p[slot, following[0]].exp()) if following else None,
                logit=logit,
                error=sum(sums.values()) - logit,
                values=tuple(sums.values()),
                top=_largest(parts, top_k),
            )
        )
    return TokenAttribution(
        recipe=trace.recipe,
        **contrasted.named(model, asked),
        components=tuple(components.values()),
        positions=tuple(found),
    )


def _component(part: "Part", n_layers: int) -> Component:
    """The row of the map that a part belongs to: heads, and the bias of their output, are their block's attention."""
    if part.site is not None and part.site.name != "z":
        return Component(label=part.label, site=str(part.site))
    if part.layer == n_layers:
        return Component(label="biases", site=None)
    return Component(label=f"attn_out.{part.layer}", site=f"attn_out.{part.layer}")


def _largest(parts: "list[Part]", top_k: int) -> tuple[Largest, ...]:
    size = sum(abs(part.value) for part in parts) or 1.0
    return tuple(
        Largest(
            label=part.label,
            site=None if part.site is None else str(part.site),
            value=part.value,
            share=abs(part.value) / size,
        )
        for part in sorted(parts, key=lambda part: -abs(part.value))[:top_k]
    )


def _told(part: Largest) -> str:
    return f"{part.label} {number(part.value, signed=True)}"
