"""Which heads move the answer when they have another prompt's values.

Every head is patched alone, in a run of its own, and all runs are made in one sweep at the price of what differs
(`replay.py`). Vig et al. 2020, "Investigating Gender Bias in Language Models Using Causal Mediation Analysis"; Wang et
al. 2022, "Interpretability in the Wild".
"""

from typing import TYPE_CHECKING, Literal, cast

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.methods import contrast, sweeps
from fluoroscope.patched import Patched
from fluoroscope.render.text import quoted
from fluoroscope.render.text import share as share_text
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bar, Bars, HeadGrid, Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

Grid = tuple[tuple[float | None, ...], ...]
Cube = tuple[tuple[tuple[float | None, ...] | None, ...], ...]
_PARTS = {"z": "output", "q": "query", "k": "key", "v": "value", "pattern": "pattern"}
_WORTH = 0.1  # of the way: what a summary counts
_NAMED = 12


class HeadPatching(Patched):
    """The effect of every head.

    Args:
        part: what of a head was patched; keys and values count by kv head.
        positions: indices of the tokens at which, each alone; None for all of them together.
        effects: share of the way from one score to the other, `[layer][head]`, or `[layer][head][position]` where
            positions are named; None where a layer has no such heads, or a cancelled run had not come to one.
        scores: the metric itself, likewise.
    """

    part: Literal["z", "q", "k", "v", "pattern"]
    positions: tuple[int, ...] | None
    effects: Grid | Cube
    scores: Grid | Cube

    def heads(self) -> list[tuple[Site, int | None, float]]:
        """Every head, with the position where one is named, and its share; the largest first."""
        found: list[tuple[Site, int | None, float | None]] = []
        for layer, row in enumerate(self.effects):
            for head, value in enumerate(row):
                site = Site(self.part, layer, head)
                if isinstance(value, tuple):
                    found += [(site, *pair) for pair in zip(self.positions or (), value, strict=True)]
                else:
                    found.append((site, None, value))
        measured = [(site, place, value) for site, place, value in found if value is not None]
        return sorted(measured, key=lambda each: -abs(each[2]))

    def summary(self) -> str:
        ranked = self.heads()
        first = patched.most([(self._label(site, place), share) for site, place, share in ranked])
        many = sum(abs(share) >= _WORTH for _, _, share in ranked)
        measured = "measured " if self.missing else ""
        counted = "heads" if self.positions is None else "heads and tokens"
        return (
            f"{self.partial()}Of the {self.asked()} ({self.gap()}), single heads {self.verb().removesuffix('s')}: "
            f"{first}; {many} of {len(ranked)} {counted} {measured}reach {share_text(_WORTH)}.{self.doubts()}"
        )

    def views(self) -> list[View]:
        bars = Bars(
            title=f"How much of the {self.asked()} a head {self.verb()}",
            caption=self.caption(),
            unit="share",
            signed=True,
            items=tuple(
                Bar(label=self._label(site, place), value=share, site=str(site))
                for site, place, share in self.heads()[:_NAMED]
            ),
        )
        return [bars, *self._all()]

    def _all(self) -> list[View]:
        what = f"Every head's {_PARTS[self.part]}"
        if self.positions is None:
            caption = "A row is a block, a column a head in it."
            return [HeadGrid(title=what, caption=caption, unit="share", values=cast("Grid", self.effects))]
        heads = list(dict.fromkeys(site for site, _, _ in self.heads()))[: 2 * _NAMED]
        cells = {(site, place): share for site, place, share in self.heads()}
        heatmap = Heatmap(
            title=f"{what}, by token",
            caption=f"The {len(heads)} heads with the largest shares; tokens of the clean prompt.",
            unit="share",
            signed=True,
            rows=tuple(Mark(label=self._label(site, None), site=str(site)) for site in heads),
            columns=tuple(Mark(label=self._token(place)) for place in self.positions),
            values=tuple(tuple(cells.get((site, place)) for place in self.positions) for site in heads),
        )
        return [heatmap]

    def _label(self, site: Site, place: int | None) -> str:
        head = Site("z", site.layer, site.unit).label
        return head if place is None else f"{head} at {self._token(place)}"

    def _token(self, position: int) -> str:
        return f"{quoted(self.clean[position])} {position % len(self.clean)}"


@checked
def head_patching(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    positions: list[int] | None = None,
    part: Literal["z", "q", "k", "v", "pattern"] = "z",
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> HeadPatching:
    """Patches every head with its value in another prompt, and measures what that does to the answer.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        positions: indices of the tokens at which heads are patched, each apart; negative counts from the end; without
            them at all tokens at once.
        part: what is patched: z, the head's output before W_O; q, k, v or the pattern.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length or the same tokens, both scored alike, or a sweep beyond the budget.
        TokenError: answer or foil is not one token or a set of them, or a prompt has no such position.
        UnavailableError: this model has no such part of a head.
    """
    sites = sweeps.offered(model, part)
    sweep = sweeps.Sweep(model, [(clean, corrupted)], [part], direction, budget << 20, precision)
    places = sweep.positions(positions)
    parts = [sweeps.Part((site,), None if place is None else (place,)) for site in sites for place in places or [None]]
    sweep.expect(parts)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    each = len(places or [None])

    def result(found: sweeps.Effects) -> HeadPatching:
        return HeadPatching(
            **patched.fields(model, sweep, found, told, against),
            metric=metrics.resolve(metric),
            part=part,
            positions=places,
            effects=_grid(sites, found.shares[:, 0].tolist(), each, apart=places is not None),
            scores=_grid(sites, found.scores[:, 0].tolist(), each, apart=places is not None),
        )

    return sweeps.told(lambda: sweep.effects(parts, measured), result)


def _grid(sites: list[Site], values: list[float], each: int, *, apart: bool) -> Grid | Cube:
    """Values of sites, `each` of them a site, as rows of layers."""
    known = [*map(finite, values)]
    groups = [tuple(known[start : start + each]) for start in range(0, len(known), each)]
    if apart:
        return by_layer({str(site): group for site, group in zip(sites, groups, strict=True)})
    return by_layer({str(site): group[0] for site, group in zip(sites, groups, strict=True)})
