"""How the residual stream grows and turns from block to block, at every token.

Its norm at every depth, how much each block adds, and how far it turns the stream (cosine to the depth before).
First tokens often hold an attention sink of huge norm: read their columns apart.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.methods import readout
from fluoroscope.render.text import quoted
from fluoroscope.result import Record, Result
from fluoroscope.views import Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model


class StreamDepth(Record):
    """The stream at one depth, a number per token.

    Args:
        site: the residual stream that was read.
        norm: its L2 norm.
        added: L2 norm of the difference to the depth before; equal to the norm at the first depth.
        cosine: cosine similarity to the depth before, 1 where a block turns nothing; None at the first depth.
    """

    site: str
    norm: tuple[float, ...]
    added: tuple[float, ...]
    cosine: tuple[float, ...] | None

    @property
    def label(self) -> str:
        return "embedding" if self.site == "resid_pre.0" else f"block {self.site.rpartition('.')[2]}"


class ResidualStream(Result):
    """The residual stream over depth and tokens, shallowest depth first."""

    tokens: tuple[str, ...]
    depths: tuple[StreamDepth, ...]

    def summary(self) -> str:
        start, end = self.depths[0].norm[-1], self.depths[-1].norm[-1]
        block = max(self.depths[1:], key=lambda depth: depth.added[-1])
        return (
            f"At the last token {quoted(self.tokens[-1])} the residual stream grows from a norm of {start:.2f} to "
            f"{end:.2f}; {block.label} adds the most, {block.added[-1]:.2f}."
        )

    def views(self) -> list[View]:
        turned = tuple(depth for depth in self.depths if depth.cosine is not None)
        return [
            self._heatmap("How long the stream is", "L2 norm", self.depths, "norm"),
            self._heatmap("How much each block adds", "L2 norm", turned, "added"),
            self._heatmap("How little each block turns it", "cosine to the depth before", turned, "cosine"),
        ]

    def _heatmap(self, title: str, unit: str, depths: tuple[StreamDepth, ...], field: str) -> Heatmap:
        return Heatmap(
            title=title,
            unit=unit,
            signed=field == "cosine",
            rows=tuple(Mark(label=depth.label, site=depth.site) for depth in depths),
            columns=tuple(Mark(label=token, token=True) for token in self.tokens),
            values=tuple(getattr(depth, field) for depth in depths),
        )


def residual_stream(model: "Model", prompt: str) -> ResidualStream:
    """Norms, what each block adds and how far it turns the stream, at every depth and token.

    Args:
        prompt: the text to trace.

    Raises:
        ArgumentError: a batch of prompts.
        UnavailableError: this family has no residual stream that each block adds to.
    """
    trace = model.trace(prompt, sites=["resid_pre.0", "resid_post.*"])
    readout.only_slot(trace.tokens, -1)
    depths: list[StreamDepth] = []
    before: torch.Tensor | None = None
    for site in trace.sites:
        stream = trace[site][0].double()
        cosine = None if before is None else torch.nn.functional.cosine_similarity(stream, before, dim=-1)
        depths.append(
            StreamDepth(
                site=str(site),
                norm=tuple(stream.norm(dim=-1).tolist()),
                added=tuple((stream if before is None else stream - before).norm(dim=-1).tolist()),
                cosine=None if cosine is None else tuple(cosine.tolist()),
            )
        )
        before = stream
    return ResidualStream(recipe=trace.recipe, tokens=tuple(trace.tokens.pieces[0]), depths=tuple(depths))
