"""How alike depths or prompts are in the residual stream, and how many dimensions it fills.

CKA compares the geometry of a set of tokens, whatever the coordinates; the cosine compares the coordinates themselves.
Both are dominated by tokens of huge norm (attention sinks, often the first token), and neither says what is used.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import geometry, passages, readout
from fluoroscope.progress import track
from fluoroscope.render.text import number
from fluoroscope.result import Result
from fluoroscope.result import number as finite
from fluoroscope.signature import InputFile
from fluoroscope.views import Heatmap, Lines, Mark, Series, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace


class Similarity(Result):
    """The residual stream of many tokens, depth by depth.

    Args:
        sites: the depths, shallowest first.
        tokens: how many tokens were compared.
        cka: `cka[depth][depth]`, unbiased linear CKA; None where a depth does not vary.
        cosine: mean over tokens of the cosine.
        dimension: intrinsic dimension by TwoNN; None for fewer than 20 distinct vectors.
        distinct: how many distinct vectors each dimension is told from.
        between: whether rows are depths of the first prompt and columns depths of the second.
    """

    sites: tuple[str, ...]
    tokens: int
    cka: tuple[tuple[float | None, ...], ...]
    cosine: tuple[tuple[float, ...], ...]
    dimension: tuple[float | None, ...]
    distinct: tuple[int, ...]
    between: bool

    def summary(self) -> str:
        return f"Over {self.tokens} tokens {self._alike() if self.between else f'{self._turn()}{self._filled()}'}."

    def _alike(self) -> str:
        told = [(row[place], depth) for place, (row, depth) in enumerate(zip(self.cka, self.sites, strict=True))]
        known = [(value, depth) for value, depth in told if value is not None]
        if not known:
            return "no depth varies, so the prompts cannot be compared"
        (least, at), (most, where) = min(known), max(known)
        return f"the two prompts are most alike at {where} (CKA {number(most)}) and least at {at} ({number(least)})"

    def _turn(self) -> str:
        steps = [(self.cka[place][place + 1], depth) for place, depth in enumerate(self.sites[1:])]
        known = [(value, depth) for value, depth in steps if value is not None]
        return f"the stream changes most on its way to {min(known)[1]} (CKA {number(min(known)[0])}); " if known else ""

    def _filled(self) -> str:
        known = [(size, depth) for size, depth in zip(self.dimension, self.sites, strict=True) if size is not None]
        if not known:
            return f"{max(self.distinct)} distinct states are too few to tell how many dimensions it fills"
        (low, shallow), (high, wide) = min(known), max(known)
        return f"it fills from {number(low)} dimensions ({shallow}) to {number(high)} ({wide})"

    def views(self) -> list[View]:
        rest = " Rows: the first prompt; columns: the second." if self.between else ""
        cka = self._heatmap(
            "How alike the geometry is",
            "linear CKA, unbiased",
            f"1: the same but for turning and scaling; about 0: nothing in common, however few tokens.{rest}",
            self.cka,
        )
        cosine = self._heatmap(
            "How alike the coordinates are", "cosine", f"Mean over tokens, each with itself.{rest}", self.cosine
        )
        return [cka, cosine] if self.between or set(self.dimension) == {None} else [cka, cosine, self._lines()]

    def _heatmap(self, title: str, unit: str, caption: str, values: tuple[tuple[float | None, ...], ...]) -> Heatmap:
        marks = tuple(Mark(label=_label(site), site=site) for site in self.sites)
        return Heatmap(
            title=title, unit=unit, caption=caption, signed=True, maximum=1.0, rows=marks, columns=marks, values=values
        )

    def _lines(self) -> Lines:
        return Lines(
            title="How many dimensions it fills",
            caption="TwoNN, from the two nearest neighbours of each token: told too low where tokens are few. From "
            f"{min(self.distinct)} to {max(self.distinct)} distinct vectors per depth.",
            unit="dimensions",
            x=tuple(Mark(label=_label(site), site=site) for site in self.sites),
            series=(Series(label="intrinsic dimension", values=self.dimension),),
        )


def similarity(
    model: "Model", prompt: str, *, other: str | None = None, text: InputFile | None = None, tokens: int = 2000
) -> Similarity:
    """Compares all depths of the residual stream with each other, or those of two prompts.

    Args:
        prompt: the text to read.
        other: a second prompt of as many tokens; its depths are compared with those of the first, token by token.
        text: path of a text file whose tokens are added to those of the prompt; dimensions need hundreds.
        tokens: how many tokens to read at most.

    Raises:
        ArgumentError: fewer than four tokens, prompts of different lengths, or `other` together with `text`.
        UnavailableError: this family has no residual stream that each block adds to.
    """
    if other is not None and text is not None:
        raise ArgumentError("other and text were given", "A second prompt is compared alone; leave one out.")
    sites = ["resid_pre.0", "resid_post.*"]
    trace = model.trace(prompt, sites=sites)
    readout.only_slot(trace.tokens, -1)
    names = tuple(map(str, trace.sites))
    first = _depths(trace)
    if tokens < first.shape[1]:
        raise ArgumentError(f"tokens={tokens} are fewer than the {first.shape[1]} of the prompt", "Shorten the prompt.")
    if text is not None and tokens > first.shape[1]:
        first = torch.cat([first, *_read(model, text, sites, tokens - first.shape[1])], 1)
    second = first if other is None else _depths(model.trace(other, sites=sites))
    if first.shape != second.shape:
        raise ArgumentError(
            f"the prompts have {first.shape[1]} and {second.shape[1]} tokens, so no token faces another",
            "Word them so that they have as many tokens: fluoro tokens shows where they part.",
        )
    if first.shape[1] < 4:
        raise ArgumentError(f"{first.shape[1]} tokens cannot be compared", "Give at least 4, better hundreds.")
    told = [geometry.two_nn(depth) for depth in first] if other is None else []
    return Similarity(
        recipe=trace.recipe,
        sites=names,
        tokens=first.shape[1],
        cka=tuple(tuple(finite(geometry.linear_cka(x, y)) for y in second) for x in track(list(first), "CKA")),
        cosine=tuple(tuple(geometry.mean_cosine(x, y) for y in second) for x in first),
        dimension=tuple(size for size, _ in told),
        distinct=tuple(count for _, count in told),
        between=other is not None,
    )


def _depths(trace: "Trace") -> torch.Tensor:
    """[depth, token, d_model] of one prompt."""
    return torch.stack([trace[site][0] for site in trace.sites]).double()


def _read(model: "Model", text: str, sites: list[str], room: int) -> list[torch.Tensor]:
    """The same of the passages of a file, at most `room` tokens."""
    found: list[torch.Tensor] = []
    for batch in passages.batches(passages.passages(model, text)):
        tokens = model.tokens([list(passage.ids) for passage in batch])
        trace = model.trace(tokens, sites=sites)
        mask = passages.counted(batch, tokens)
        found.append(torch.stack([trace[site][mask] for site in trace.sites]).double())
        room -= found[-1].shape[1]
        if room <= 0:
            found[-1] = found[-1][:, : found[-1].shape[1] + room]
            break
    return found


def _label(site: str) -> str:
    return "emb" if site == "resid_pre.0" else f"L{site.rpartition('.')[2]}"
