"""Which neurons move the answer when they have another prompt's values.

Every neuron of the MLPs is patched alone, in a run of its own, and each block's neurons all at once, in one sweep
(`replay.py`); where a few neurons carry what a block does, their shares come near to that of the block.
"""

from typing import TYPE_CHECKING, Any

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, sweeps
from fluoroscope.patched import Patched
from fluoroscope.render.text import quoted
from fluoroscope.render.text import share as share_text
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

_WORTH = 0.01  # of the way: what a sentence counts


class NeuronPatching(Patched):
    """The effect of every neuron of some blocks.

    Args:
        layers: the blocks.
        position: index of the token at which neurons were patched; None for all.
        effects: share of the way from one score to the other, `[block][neuron]`; exactly 0 where a neuron holds the
            same in both prompts, None where a cancelled run had not come to it.
        together: share with all neurons of a block patched at once, likewise.
        scores: the metric itself with a neuron patched, likewise.
        top_k: how many neurons the bars name.
    """

    layers: tuple[int, ...]
    position: int | None
    effects: tuple[tuple[float | None, ...], ...]
    together: tuple[float | None, ...]
    scores: tuple[tuple[float | None, ...], ...]
    top_k: int

    def neurons(self) -> list[tuple[Site, float]]:
        """Every neuron and its share; the largest first."""
        rows = zip(self.layers, self.effects, strict=True)
        cells = ((Site("neurons", layer, unit), value) for layer, row in rows for unit, value in enumerate(row))
        found = [(site, value) for site, value in cells if value is not None]
        return sorted(found, key=lambda each: -abs(each[1]))

    def summary(self) -> str:
        ranked = self.neurons()
        first = patched.most([(site.label, value) for site, value in ranked])
        many = sum(abs(value) >= _WORTH for _, value in ranked)
        where = "" if self.position is None else f" at {quoted(self.clean[self.position])} {self.position}"
        blocks = [(value, layer) for value, layer in zip(self.together, self.layers, strict=True) if value is not None]
        most = "" if not blocks else (
            f"; all neurons of block {max(blocks, key=lambda each: abs(each[0]))[1]} at once "
            f"{share_text(max((value for value, _ in blocks), key=abs))}"
        )  # fmt: skip
        alone = (
            f": {first}; {many} of {len(ranked)} {'measured ' if self.missing else ''}reach{'es' * (many == 1)} "
            f"{share_text(_WORTH)}{most}"
            if ranked
            else f": none was measured{most}"
        )
        return (
            f"{self.partial()}Of the {self.asked()} ({self.gap()}), single neurons{where} "
            f"{self.verb().removesuffix('s')}{alone}.{self.doubts()}"
        )

    def views(self) -> list[View]:
        top = self.neurons()[: self.top_k]
        rows = zip(self.layers, self.together, self.effects, strict=True)
        blocks = [(layer, value, _sum(row)) for layer, value, row in rows]
        return [
            Bars(
                title=f"How much of the {self.asked()} a neuron {self.verb()}",
                caption=self.caption(),
                unit="share",
                signed=True,
                items=tuple(Bar(label=site.label, value=value, site=str(site)) for site, value in top),
            ),
            Bars(
                title="All neurons of a block at once",
                caption="Beside it the sum of the shares of single neurons; where it is another, neurons work together "
                "or against each other, or later parts do not add up what they read.",
                unit="share",
                signed=True,
                items=tuple(
                    Bar(label=f"block {layer}", value=value, remark=remark, site=f"neurons.{layer}")
                    for layer, value, remark in blocks
                ),
            ),
        ]


@checked
def neuron_patching(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    layers: list[int] | None = None,
    position: int | None = None,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    top_k: int = 20,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> NeuronPatching:
    """Patches every neuron with its value in another prompt, and measures what that does to the answer.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        layers: blocks whose neurons are patched; without them all that have neurons, of which large models have many.
        position: index of the token at which; negative counts from the end; without it all tokens at once.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        top_k: how many neurons to name.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: a block without neurons, `top_k` below 1, prompts of unequal length or the same tokens, both
            scored alike, or a sweep beyond the budget.
        TokenError: answer or foil is not one token or a set of them, or the prompt has no such position.
        UnavailableError: this model has no neurons.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    blocks = _blocks(sweeps.offered(model, "neurons", whole=True), layers)
    sweep = sweeps.Sweep(model, [(clean, corrupted)], ["neurons"], direction, budget << 20, precision)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    places = None if position is None else (sweep.position(position),)
    units = [site for site in sweeps.units(model, "neurons") if site.whole in blocks]
    parts = [sweeps.Part((site,), places) for site in (*blocks, *units)]

    def result(found: sweeps.Effects) -> NeuronPatching:
        about = patched.fields(model, sweep, found, told, against)
        position = None if places is None else places[0]
        numbers = _numbers(blocks, units, found)
        return NeuronPatching(**about, metric=metrics.resolve(metric), position=position, top_k=top_k, **numbers)

    return sweeps.told(lambda: sweep.effects(parts, measured), result)


def _blocks(offered: list[Site], layers: list[int] | None) -> list[Site]:
    """The blocks that are named.

    Raises:
        ArgumentError: none, or one without neurons.
    """
    known = {site.layer: site for site in offered}
    chosen = list(known) if layers is None else list(dict.fromkeys(layers))
    missing = [layer for layer in chosen if layer not in known]
    if missing or not chosen:
        what = f"block {missing[0]} has no neurons" if missing else "no block is named"
        raise ArgumentError(what, f"Blocks with neurons: {', '.join(map(str, known))}.")
    return [known[layer] for layer in chosen]


def _numbers(blocks: list[Site], units: list[Site], found: sweeps.Effects) -> dict[str, Any]:
    shares, scores = ([*map(finite, each[:, 0].tolist())] for each in (found.shares, found.scores))
    return {
        "layers": tuple(site.layer or 0 for site in blocks),
        "effects": _rows(blocks, units, shares[len(blocks) :]),
        "together": tuple(shares[: len(blocks)]),
        "scores": _rows(blocks, units, scores[len(blocks) :]),
    }


def _sum(row: tuple[float | None, ...]) -> str:
    """The sum of the shares of single neurons, where none is missing."""
    known = [each for each in row if each is not None]
    return f"sum {share_text(sum(known))}" if len(known) == len(row) else ""


def _rows(blocks: list[Site], units: list[Site], values: "list[float | None]") -> tuple[tuple[float | None, ...], ...]:
    pairs = [*zip(units, values, strict=True)]
    return tuple(tuple(value for site, value in pairs if site.whole == block) for block in blocks)
