"""Where the answer is decided: another prompt's values at every block and token.

Each cell is a run of its own, in which one value of one block at one token is the other prompt's; all cells are made
in one sweep (`replay.py`). Meng et al. 2022, "Locating and Editing Factual Associations in GPT"; Heimersheim & Nanda
2024, "How to use and interpret activation patching".
"""

from typing import TYPE_CHECKING, Literal

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.methods import contrast, sweeps
from fluoroscope.patched import Patched
from fluoroscope.render.text import counted, quoted, share
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

Name = Literal["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "neurons"]
_SAID = {
    "resid_pre": "the stream entering block", "resid_mid": "the stream between attention and MLP of block",
    "resid_post": "the stream leaving block", "attn_out": "the attention of block", "mlp_out": "the MLP of block",
    "z": "the heads of block", "q": "the queries of block", "k": "the keys of block", "v": "the values of block",
    "pattern": "the patterns of block", "neurons": "the neurons of block",
}  # fmt: skip
_SEVERAL = ("z", "q", "k", "v", "pattern", "neurons")  # of which a sentence speaks as of many
_NAMED = 10
Grid = tuple[tuple[float | None, ...], ...]


class ActivationPatching(Patched):
    """The effect of every block and token.

    Args:
        site: the kind of value that was patched.
        layers: the blocks that offer it.
        positions: indices of the tokens at which.
        together: whether at all of these at once, so that each row of the numbers has one; else at each apart.
        effects: share of the way from one score to the other, `[layer][position]`; exactly 0 where the value is the
            same in both prompts, as before the first token that differs; None where a cancelled run had not come to.
        scores: the metric itself, likewise.
    """

    site: str
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    effects: Grid
    scores: Grid
    together: bool = False

    def cells(self) -> list[tuple[int, int, float]]:
        """Layer, position (the first of several together) and share of every cell, the largest first."""
        rows = zip(self.layers, self.effects, strict=True)
        cells = ((layer, *cell) for layer, row in rows for cell in zip(self.positions, row, strict=not self.together))
        found = [(layer, place, value) for layer, place, value in cells if value is not None]
        return sorted(found, key=lambda cell: -abs(cell[2]))

    def summary(self) -> str:
        (layer, place, value), count = self.cells()[0], len(self.cells())
        ties = sum(abs(each) >= abs(value) for _, _, each in self.cells()) - 1
        verb = self.verb().removesuffix("s") if self.site in _SEVERAL else self.verb()
        most = f"{_SAID[self.site]} {layer} at {self._place(place)} {verb} {share(value)}"
        first = f"{self.partial()}Of the {self.asked()} ({self.gap()}), {most}"
        others = f"as much as {counted(ties, 'other')}, and no other does more" if ties else "more than any other"
        measured = f"{count} measured" if self.missing else str(count)
        return f"{first}, {others} of {measured}.{self._path()}{self.doubts()}"

    def _path(self) -> str:
        """Where a stream's largest share lies in the first and in the last block."""
        if not self.site.startswith("resid") or len(self.layers) < 2 or self.missing or self.together:
            return ""
        cells = {layer: (place, value) for layer, place, value in sorted(self.cells(), key=lambda cell: cell[2])}
        ends = [cells[layer][0] for layer in (self.layers[0], self.layers[-1])]
        if ends[0] == ends[1]:
            return ""
        return f" What decides it lies at {self._token(ends[0])} in block {self.layers[0]} and has come to " + (
            f"{self._token(ends[1])} by block {self.layers[-1]}."
        )

    def views(self) -> list[View]:
        return [
            Heatmap(
                title=f"How much of the {self.asked()} each value {self.verb()}",
                caption=f"A row is {_SAID[self.site]} of that number, a column {self._columns()}. {self.caption()}",
                unit="share",
                signed=True,
                rows=tuple(Mark(label=f"{self.site}.{layer}", site=f"{self.site}.{layer}") for layer in self.layers),
                columns=(Mark(label="together"),)
                if self.together
                else tuple(Mark(label=self._token(place)) for place in self.positions),
                values=self.effects,
            ),
            Bars(
                title="The largest",
                unit="share",
                signed=True,
                items=tuple(
                    Bar(label=f"{self.site}.{layer} at {self._place(place)}", value=value, site=f"{self.site}.{layer}")
                    for layer, place, value in self.cells()[:_NAMED]
                ),
            ),
        ]

    def _columns(self) -> str:
        return "all named tokens at once" if self.together else "a token of the clean prompt"

    def _place(self, position: int) -> str:
        several = self.together and len(self.positions) > 1
        return f"all {len(self.positions)} tokens" if several else self._token(position)

    def _token(self, position: int) -> str:
        mine, other = self.clean[position], self.corrupted[position]
        return f"{quoted(mine)} {position}" if mine == other else f"{quoted(mine)}/{quoted(other)} {position}"


@checked
def activation_patching(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    site: Literal[
        "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "neurons"
    ] = "resid_pre",
    positions: list[int] | None = None,
    together: bool = False,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> ActivationPatching:
    """Patches a kind of value at every block and token, one at a time, and measures what that does to the answer.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        site: what is patched, of a whole block; head_patching takes heads apart.
        positions: indices of the tokens at which; negative counts from the end; without them at every token.
        together: whether at all of these at once, so that each block has one share; else at each apart.
        metric: what is measured at the end of the prompt.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length or the same tokens, both scored alike, or a sweep beyond the budget.
        TokenError: answer or foil is not one token or a set of them, or a prompt has no such position.
        UnavailableError: this model has no such values.
    """
    sites = sweeps.offered(model, site, whole=True)
    sweep = sweeps.Sweep(model, [(clean, corrupted)], [site], direction, budget << 20, precision)
    places = sweep.positions(range(sweep.length) if positions is None else positions) or ()
    parts = [sweeps.Part((each,), group) for each in sites for group in ([places] if together else zip(places))]
    sweep.expect(parts)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)

    def result(found: sweeps.Effects) -> ActivationPatching:
        return ActivationPatching(
            **patched.fields(model, sweep, found, told, against),
            metric=metrics.resolve(metric),
            site=site,
            layers=tuple(each.layer or 0 for each in sites),
            positions=places,
            together=together,
            effects=_rows(sites, found.shares[:, 0].tolist()),
            scores=_rows(sites, found.scores[:, 0].tolist()),
        )

    return sweeps.told(lambda: sweep.effects(parts, measured), result)


def _rows(sites: list[Site], values: list[float]) -> Grid:
    known, wide = [*map(finite, values)], len(values) // len(sites)
    return tuple(tuple(known[start : start + wide]) for start in range(0, len(known), wide))
