"""How the residual stream grows and turns from block to block, at every token.

Its norm at every depth, how much each block adds, attention and MLP apart, and how far it turns the stream (cosine to
the depth before).
First tokens often hold an attention sink of huge norm: read their columns apart.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.arguments import checked
from fluoroscope.methods import readout
from fluoroscope.methods.translators import depth_sites
from fluoroscope.render.text import quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site
from fluoroscope.views import Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "States and weights"


class StreamDepth(Record):
    """The stream at one depth, a number per token.

    Args:
        site: the residual stream that was read.
        norm: its L2 norm.
        added: L2 norm of the difference to the depth before; equal to the norm at the first depth.
        attention: L2 norm of what the block's attention adds; None at the first depth, and where it cannot be read.
        mlp: the same of its MLP.
        cosine: cosine similarity to the depth before, 1 where a block turns nothing; None at the first depth.
    """

    site: str
    norm: tuple[float, ...]
    added: tuple[float, ...]
    attention: tuple[float, ...] | None
    mlp: tuple[float, ...] | None
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
        blocks, turn = self.depths[1:], "cosine to the depth before"
        pictures = [
            self._heatmap("How long the stream is", "L2 norm", self.depths, "norm"),
            self._heatmap("How much each block adds", "L2 norm", blocks, "added"),
            self._heatmap("How much its attention adds", "L2 norm", blocks, "attention"),
            self._heatmap("How much its MLP adds", "L2 norm", blocks, "mlp"),
            self._heatmap("How little each block turns the stream", turn, blocks, "cosine"),
        ]
        return [picture for picture in pictures if picture.rows]

    def _heatmap(self, title: str, unit: str, depths: tuple[StreamDepth, ...], field: str) -> Heatmap:
        depths = tuple(depth for depth in depths if getattr(depth, field) is not None)
        return Heatmap(
            title=title,
            unit=unit,
            signed=field == "cosine",
            rows=tuple(Mark(label=depth.label, site=depth.site) for depth in depths),
            columns=tuple(Mark(label=token, token=True) for token in self.tokens),
            values=tuple(getattr(depth, field) for depth in depths),
        )


@checked
def residual_stream(model: "Model", prompt: AnyPrompt) -> ResidualStream:
    """Norms, what each block adds and how far it turns the stream, at every depth and token.

    Args:
        prompt: the text to trace.

    Raises:
        ArgumentError: a batch of prompts.
        UnavailableError: this family has no residual stream that each block adds to.
    """
    streams = [Site.parse(name) for name in depth_sites(model.n_layers)]
    trace = model.trace(prompt, sites=[*streams, *model.sites("attn_out"), *model.sites("mlp_out")], logits=False)
    readout.only_slot(trace.tokens, -1)
    depths: list[StreamDepth] = []
    before: torch.Tensor | None = None
    for site in streams:
        stream = trace[site][0].double()
        layer = None if before is None else site.layer
        cosine = None if before is None else torch.nn.functional.cosine_similarity(stream, before, dim=-1)
        depths.append(
            StreamDepth(
                site=str(site),
                norm=tuple(stream.norm(dim=-1).tolist()),
                added=tuple((stream if before is None else stream - before).norm(dim=-1).tolist()),
                attention=_norm(trace, "attn_out", layer),
                mlp=_norm(trace, "mlp_out", layer),
                cosine=None if cosine is None else tuple(cosine.tolist()),
            )
        )
        before = stream
    return ResidualStream(recipe=trace.recipe, tokens=tuple(trace.tokens.labels[0]), depths=tuple(depths))


def _norm(trace: "Trace", name: str, layer: int | None) -> tuple[float, ...] | None:
    """L2 norm at every token of what a part of a block adds, if there is a block and its part can be read."""
    if layer is None or Site(name, layer) not in trace.values:
        return None
    return tuple(trace[Site(name, layer)][0].double().norm(dim=-1).tolist())
