"""Which tokens each attention, head and MLP promotes and demotes at a position.

The logit lens of single components: what each adds to the residual stream, through the final norm as it was in this run
and the unembedding. Every number is an addend of a logit, the same that `logit_attribution` gives for that token. On
models with a softcap it is the logit before the cap.
"""

from typing import TYPE_CHECKING, Literal

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import component_lens as method
from fluoroscope.methods import decomposition, readout
from fluoroscope.render import text
from fluoroscope.render.text import quoted, visible
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.views import Column, HeadGrid, Heatmap, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from fluoroscope.methods.component_lens import Push, Voice
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "Predictions and lenses"

_MEANINGS = {
    "embed": "embed: the token itself",
    "pos_embed": "pos_embed: its position",
    "z": "LnHm: head m of block n",
    "attn_out": "attn_out.n: the attention of block n",
    "mlp_out": "mlp_out.n: the MLP of block n",
    "b_O": "b_O.n: a bias of the attention of block n",
    "b_norm": "b_norm: the bias of the final norm",
    "b_U": "b_U: the bias of the unembedding",
}


class Pushed(Record):
    """A token and what a component adds to its logit."""

    token: str
    id: int
    value: float


class Component(Record):
    """One component and what it adds to the logits.

    Args:
        name: canonical site, or the name of a bias.
        label: its name for people.
        site: None for a bias.
        layer: block that it is in; -1 for embeddings, the number of blocks for the biases at the end.
        mean: what it adds to the mean token; that much for every token changes no probability.
        spread: standard deviation over all tokens of what it adds: its size.
        promotes: the tokens whose logits it raises most over the mean, most first.
        demotes: those that it lowers most under the mean, most first.
        target: what it adds to the logit of the target.
    """

    name: str
    label: str
    site: str | None
    layer: int
    mean: float
    spread: float
    promotes: tuple[Pushed, ...]
    demotes: tuple[Pushed, ...]
    target: float

    def over_mean(self, pushed: tuple[Pushed, ...]) -> float | None:
        """What the first of some tokens gets beside the mean token; None without any."""
        return pushed[0].value - self.mean if pushed else None


class ComponentsAt(Record):
    """All components at one position, in the order of computation.

    Args:
        position: index of the token after which the prediction is made.
        target: the token to which every component's addend is told.
        components: over all of them the addends of a token sum to its logit, before any softcap.
    """

    position: int
    target: str
    target_id: int
    components: tuple[Component, ...]


class ComponentLens(Result):
    """All components at a position; numbers are logits.

    Args:
        tokens: the prompt, as the model reads it.
        position: as in `ComponentsAt`, of the last position that was asked for, as are target and components.
        softcap: the cap that the model applies afterwards, if any.
        top: how many of them the views name.
        earlier: the other positions that were asked for, in order.
    """

    tokens: tuple[str, ...]
    position: int
    target: str
    target_id: int
    softcap: float | None
    components: tuple[Component, ...]
    top: int
    earlier: tuple[ComponentsAt, ...] = ()

    def ranked(self) -> list[Component]:
        """The components, those of largest spread first."""
        return sorted(self.components, key=lambda each: -each.spread)

    def summary(self) -> str:
        first, *others = self.ranked()[:3]
        cap = "" if self.softcap is None else f" before the softcap of {text.number(self.softcap)}"
        then = ", ".join(f"{each.label} {_first(each)}" for each in others)
        return (
            f"After {quoted(self.tokens[self.position])}, {first.label} sets tokens apart most, by a standard "
            f"deviation of {text.number(first.spread)} logits{cap}: it promotes {_first(first)}"
            f"{f'; then {then}' if then else ''}."
        )

    def views(self) -> list[View]:
        extra = [view for view in (self._grid(), self._depth()) if view is not None]
        return [*([self._heatmap()] if self.earlier else []), self._table(), *extra]

    def _heatmap(self) -> Heatmap:
        """Every position that was asked for: what the largest components promote there."""
        columns = [*((each.position, each.components) for each in self.earlier), (self.position, self.components)]
        largest = [max(components[row].spread for _, components in columns) for row in range(len(self.components))]
        rows = sorted(sorted(range(len(largest)), key=lambda row: -largest[row])[: self.top])
        cells = [[components[row] for _, components in columns] for row in rows]
        return Heatmap(
            title="What the largest components promote after each token",
            caption="The token that gets most over the mean token, and the spread: standard deviation over all tokens "
            "of what the component adds to their logits.",
            unit="logits",
            rows=tuple(Mark(label=self.components[row].label, site=self.components[row].site) for row in rows),
            columns=tuple(Mark(label=f"{quoted(self.tokens[slot])} {slot}") for slot, _ in columns),
            values=tuple(tuple(each.spread for each in row) for row in cells),
            tokens=tuple(tuple(each.promotes[0].token if each.promotes else "" for each in row) for row in cells),
        )

    def _table(self) -> Table:
        named = self.ranked()[: self.top]
        cap = "" if self.softcap is None else ", before the model's softcap"
        legend = "; ".join(dict.fromkeys(_MEANINGS[each.name.partition(".")[0]] for each in named))
        return Table(
            title="What the largest components promote and demote"
            + (f" after {quoted(self.tokens[self.position])} {self.position}" if self.earlier else ""),
            caption=f"spread: standard deviation over all tokens of what it adds to their logits{cap}; promotes and "
            f"demotes: the tokens at the ends, and what the first of them gets beside the mean token. This is what a "
            f"component adds directly: later ones may read it and undo it. {legend}.",
            columns=(
                Column(name="component"),
                Column(name="spread"),
                Column(name="promotes"),
                Column(name="first by"),
                Column(name="demotes"),
                Column(name="first by"),
                Column(name=f"to {quoted(self.target)}"),
            ),
            rows=tuple(
                Row(
                    cells=(
                        each.label, each.spread, _list(each.promotes), each.over_mean(each.promotes),
                        _list(each.demotes), each.over_mean(each.demotes), each.target - each.mean,
                    ),
                    site=each.site,
                )
                for each in named
            ),
        )  # fmt: skip

    def _grid(self) -> HeadGrid | None:
        rows: dict[int, list[float]] = {}
        for each in self.components:
            if each.site is not None and each.site.startswith("z."):
                rows.setdefault(each.layer, []).append(each.spread)
        if not rows:
            return None
        return HeadGrid(
            title="How far each head tells tokens apart",
            caption="The spread of what it adds to the logits. A row is a block, a column a head in it.",
            unit="logits",
            signed=False,
            values=tuple(tuple(rows[layer]) for layer in sorted(rows)),
        )

    def _depth(self) -> Lines:
        names = {"attn_out": "attention", "mlp_out": "MLP"}
        found: dict[str, list[Component]] = {}
        for each in self.components:
            kind = each.name.partition(".")[0]
            if kind in names:
                found.setdefault(kind, []).append(each)
        return Lines(
            title="How far each block tells tokens apart",
            caption="The spread of what "
            + ("attention and MLP of each block add" if len(found) > 1 else "the MLP of each block adds")
            + " to the logits.",
            unit="logits",
            x=tuple(Mark(label=f"L{each.layer}") for each in found["mlp_out"]),
            series=tuple(
                Series(label=names[kind], values=tuple(each.spread for each in each_kind))
                for kind, each_kind in found.items()
            ),
        )


@checked
def component_lens(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    position: int | None = None,
    positions: list[int] | None = None,
    grain: Literal["head", "layer"] = "head",
    top: int = 10,
    top_k: int = 5,
) -> ComponentLens:
    """Reads what every component adds at a position as tokens, and ranks components by how much they add.

    Args:
        prompt: the text to read.
        target: a token to which every component's addend is told, as text or id (#338); without it the model's own
            prediction.
        position: index of the token after which to predict, negative from the end; without it the last.
        positions: indices of several, instead of position; they are shown side by side, the last one in full.
        grain: every head by itself, or the attention of a block as a whole.
        top: how many components to show, those of largest spread; the result keeps all.
        top_k: how many tokens to keep of each component on each side, at most.

    Raises:
        ArgumentError: `top` or `top_k` below 1, position and positions, or a batch of prompts.
        TokenError: target is not exactly one token, or the prompt has no such position.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    for name, value in (("top", top), ("top_k", top_k)):
        if value < 1:
            raise ArgumentError(f"{name}={value} shows nothing", "Give at least 1.")
    if positions is not None and (position is not None or not positions):
        raise ArgumentError(
            f"position={position} and positions={positions} are no places to read together", "Give one of them."
        )
    named = None if target is None else readout.token_id(model, target)
    trace = model.trace(prompt, sites=decomposition.sites_needed(model, grain))
    asked = positions or [-1 if position is None else position]
    slots = sorted({readout.only_slot(trace.tokens, index) for index in asked})
    *earlier, last = (_at(model, trace, slot, named, grain, top_k) for slot in slots)
    return ComponentLens(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        **{name: getattr(last, name) for name in ComponentsAt.model_fields},
        softcap=model.architecture.softcap,
        top=top,
        earlier=tuple(earlier),
    )


def _at(
    model: "Model", trace: "Trace", slot: int, named: int | None, grain: Literal["head", "layer"], top_k: int
) -> ComponentsAt:
    target = int(trace.logits[0, slot].argmax()) if named is None else named
    voices = method.voices(model, trace, slot, grain, top_k, [target])
    return ComponentsAt(
        position=slot,
        target=model.token_label(target),
        target_id=target,
        components=tuple(_component(model, voice) for voice in voices),
    )


def _component(model: "Model", voice: "Voice") -> Component:
    return Component(
        name=voice.name,
        label=voice.name if voice.site is None else voice.site.label,
        site=None if voice.site is None else str(voice.site),
        layer=voice.layer,
        mean=voice.mean,
        spread=voice.spread,
        promotes=_pushed(model, voice.promotes),
        demotes=_pushed(model, voice.demotes),
        target=voice.asked[0],
    )


def _pushed(model: "Model", pushes: "list[Push]") -> tuple[Pushed, ...]:
    return tuple(Pushed(token=model.token_label(token), id=token, value=value) for token, value in pushes)


def _first(component: Component) -> str:
    if not component.promotes:
        return "nothing"
    by = text.number(component.over_mean(component.promotes), signed=True)
    return f"{quoted(component.promotes[0].token)} {by}"


def _list(pushed: tuple[Pushed, ...]) -> str:
    return " ".join(visible(each.token) for each in pushed)
