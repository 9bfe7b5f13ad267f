"""The likeliest tokens after every block at every position, exact and several times faster.

The logit lens (nostalgebraist 2020) without probabilities, for long prompts and large vocabularies. Candidates are
found in half precision where the processor is fast at it, proved to be complete, and ranked by their exact logits.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.methods.top_tokens import top_tokens
from fluoroscope.methods.translators import depth_sites
from fluoroscope.render.text import number, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.views import Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class GridCell(Record):
    """The likeliest tokens of one depth at one position, likeliest first, with their logits."""

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    logits: tuple[float, ...]

    @property
    def lead(self) -> float | None:
        """How far the first is before the second, in logits; None where only one was kept."""
        return self.logits[0] - self.logits[1] if len(self.logits) > 1 else None


class LensGrid(Result):
    """What each depth would say at each position: `cells[depth][position]`, shallowest depth first."""

    tokens: tuple[str, ...]
    sites: tuple[str, ...]
    cells: tuple[tuple[GridCell, ...], ...]

    def summary(self) -> str:
        end = self.cells[-1][-1]
        same = [row[-1].ids[0] == end.ids[0] for row in self.cells]
        first = next(depth for depth in range(len(same)) if all(same[depth:]))
        lead = "" if end.lead is None else f", {number(end.lead)} logits before {quoted(end.pieces[1])} at the end"
        begin = self._depth(first) if first else f"the {self._depth(first)}"
        return f"{quoted(end.pieces[0])} leads after {quoted(self.tokens[-1])} from {begin} on{lead}."

    def views(self) -> list[View]:
        marks = tuple(Mark(label=self._depth(depth), site=site) for depth, site in enumerate(self.sites))
        return [
            Heatmap(
                title="What each depth would say",
                caption="The likeliest token after each position and its lead over the second. Early depths are "
                "written for later blocks, not for the output head.",
                unit="logits",
                rows=marks,
                columns=tuple(Mark(label=token, token=True) for token in self.tokens),
                values=tuple(tuple(cell.lead for cell in row) for row in self.cells),
                tokens=tuple(tuple(cell.pieces[0] for cell in row) for row in self.cells),
            )
        ]

    def _depth(self, depth: int) -> str:
        return "embedding" if depth == 0 else f"block {depth - 1}"


@checked
def lens_grid(model: "Model", prompt: AnyPrompt, *, top_k: int = 5) -> LensGrid:
    """The output head on every depth of the residual stream at every position, for the likeliest tokens only.

    Args:
        prompt: the text to read.
        top_k: how many tokens to keep for every depth and position; fewer where the vocabulary is smaller.

    Raises:
        ArgumentError: `top_k` below 1.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} keeps nothing", "Give at least 1.")
    sites = depth_sites(model.n_layers)
    trace = model.trace(prompt, sites=sites)
    count = readout.only_slot(trace.tokens, -1) + 1
    found = top_tokens(model, torch.cat([trace[site][0] for site in sites]), min(top_k, model.d_vocab))
    label = {token: model.token_label(token) for token in set(found.ids.flatten().tolist())}
    cells = [
        GridCell(ids=tuple(ids), pieces=tuple(label[token] for token in ids), logits=tuple(logits))
        for ids, logits in zip(found.ids.tolist(), found.logits.tolist(), strict=True)
    ]
    return LensGrid(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        sites=tuple(sites),
        cells=tuple(tuple(cells[depth * count : (depth + 1) * count]) for depth in range(len(sites))),
    )
