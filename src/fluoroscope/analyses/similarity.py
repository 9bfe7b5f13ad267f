"""How alike depths, prompts or models are inside, and how many dimensions their states fill.

The residual stream is compared, depth by depth. CKA compares the geometry of a set of tokens, whatever the coordinates;
the cosine compares the coordinates themselves. Both are dominated by tokens of huge norm (attention sinks, often the
first token), and neither says what is used.
"""

from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from fluoroscope import loading, offer
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import alignment, geometry, passages, readout
from fluoroscope.progress import track
from fluoroscope.render.text import counted, number, prose
from fluoroscope.result import Recipe, Record, Result
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyPrompt, InputFile, ModelName
from fluoroscope.views import Column, Heatmap, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "States and weights"

_SITES = ["resid_pre.0", "resid_post.*"]


class OtherModel(Record):
    """The model that the first one is compared with.

    Args:
        recipe: what it is.
        sites: its depths, shallowest first.
        dimension, distinct: as of the first model.
        read: how many tokens either model read of the same text; the leads of their tokenizers are left out.
    """

    recipe: Recipe
    sites: tuple[str, ...]
    dimension: tuple[float | None, ...]
    distinct: tuple[int, ...]
    read: tuple[int, int]


class Similarity(Result):
    """The residual stream of many tokens, depth by depth.

    Args:
        sites: the depths, shallowest first.
        tokens: how many tokens were compared.
        against: what the columns are: the same depths, those of a second prompt, or those of another model.
        cka: `cka[depth][depth]`, unbiased linear CKA; None where a depth does not vary.
        cosine: mean over tokens of the cosine; None for models of different widths.
        dimension: intrinsic dimension by TwoNN; None for fewer than 20 distinct vectors.
        distinct: how many distinct vectors each dimension is told from.
        other_model: None unless models were compared.
    """

    sites: tuple[str, ...]
    tokens: int
    against: Literal["itself", "prompt", "model"]
    cka: tuple[tuple[float | None, ...], ...]
    cosine: tuple[tuple[float, ...], ...] | None
    dimension: tuple[float | None, ...]
    distinct: tuple[int, ...]
    other_model: OtherModel | None

    def best(self) -> list[tuple[int, float] | None]:
        """For each depth the column that it is most alike, and their CKA; None where it does not vary."""
        known = [[(value, -place) for place, value in enumerate(row) if value is not None] for row in self.cka]
        return [(-max(row)[1], max(row)[0]) if row else None for row in known]

    def summary(self) -> str:
        told = {"itself": lambda: self._turn() + self._filled(), "prompt": self._prompts, "model": self._models}
        return f"Over {counted(self.tokens, 'token')} {told[self.against]()}."

    def _prompts(self) -> str:
        told = [(row[place], depth) for place, (row, depth) in enumerate(zip(self.cka, self.sites, strict=True))]
        known = [(value, depth) for value, depth in told if value is not None]
        if not known:
            return "no depth varies, so the prompts cannot be compared"
        (least, at), (most, where) = min(known), max(known)
        return f"the two prompts are most alike at {where} (CKA {number(most)}) and least at {at} ({number(least)})"

    def _models(self) -> str:
        known = [(found[1], place, found[0]) for place, found in enumerate(self.best()) if found is not None]
        if self.other_model is None or not known:
            return "no depth varies, so the models cannot be compared"
        mine, theirs = self._names()
        (least, low, its), (most, high, like) = min(known), max(known)
        there = self.other_model.sites
        return (
            f"read by both, {mine} at {self.sites[high]} is most like {theirs} at {there[like]} (CKA {number(most)}); "
            f"its {self.sites[low]} is least like any depth there, at best {there[its]} ({number(least)})"
        )

    def _names(self) -> tuple[str, str]:
        """Of both models, without the folders they lie in."""
        found = [recipe.model for recipe in (self.recipe, *([self.other_model.recipe] if self.other_model else []))]
        short = [prose(Path(name).name or name) for name in found]
        return (short[0], f"the other {short[-1]}") if short[0] == short[-1] else (short[0], short[-1])

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
        mine, theirs = self._names()
        rest = {
            "itself": "",
            "prompt": " Rows: the first prompt; columns: the second.",
            "model": f" Rows: {mine}; columns: {theirs}.",
        }[self.against]
        about = "1: the same but for turning and scaling; about 0: nothing in common, however few tokens."
        found: list[View] = [
            self._heatmap(
                "How alike the geometry is", "linear CKA, unbiased", f"{about}{rest}{self._places()}", self.cka
            )
        ]
        if self.other_model is not None:
            found.append(self._likest(self.other_model))
        if self.cosine is not None:
            own = " Coordinates of models that were trained apart mean different things." if self.other_model else ""
            note = f"Mean over tokens, each with itself.{own}{rest}"
            found.append(self._heatmap("How alike the coordinates are", "cosine", note, self.cosine))
        who = "it fills" if self.other_model is None else f"{mine} fills"
        found += _lines(_marks(self.sites), self.dimension, self.distinct, who)
        if (other := self.other_model) is not None:
            found += _lines(_marks(other.sites, here=False), other.dimension, other.distinct, f"{theirs} fills")
        return found

    def _places(self) -> str:
        """Where the tokens of two models come from."""
        if self.other_model is None:
            return ""
        widths = "" if self.cosine is not None else " Their states have different widths, so there is no cosine."
        one, two = self.other_model.read
        if one == two == self.tokens:
            return f" Both read the same {counted(one, 'token')}.{widths}"
        return (
            f" Of {one} and {two} tokens those are compared behind which both have read the same text: both tokenizers "
            f"end a token there.{widths}"
        )

    def _heatmap(self, title: str, unit: str, caption: str, values: tuple[tuple[float | None, ...], ...]) -> Heatmap:
        rows = _marks(self.sites)
        other = None if self.other_model is None else _marks(self.other_model.sites, here=False)
        return Heatmap(
            title=title, unit=unit, caption=caption, signed=True, maximum=1.0, rows=rows, columns=other or rows,
            values=values,
        )  # fmt: skip

    def _likest(self, other: OtherModel) -> Table:
        mine, theirs = self._names()
        pairs = zip(self.sites, self.best(), strict=True)
        return Table(
            title="Which depths are most alike",
            caption=f"For each depth of {mine} the one of {theirs} with the highest CKA. That two depths are alike "
            "does not say that they compute the same.",
            columns=(Column(name=mine), Column(name=f"most alike in {theirs}"), Column(name="CKA")),
            rows=tuple(
                Row(cells=(site, "", None) if found is None else (site, other.sites[found[0]], found[1]), site=site)
                for site, found in pairs
            ),
        )


def _marks(sites: tuple[str, ...], *, here: bool = True) -> tuple[Mark, ...]:
    """The depths; those of the other model are no places of this one."""
    return tuple(Mark(label=_label(site), site=site if here else None) for site in sites)


def _lines(
    depths: tuple[Mark, ...], dimension: tuple[float | None, ...], distinct: tuple[int, ...], who: str
) -> list[Lines]:
    """One picture; none where no depth has a dimension."""
    if all(size is None for size in dimension):
        return []
    lines = Lines(
        title=f"How many dimensions {who}",
        caption="TwoNN, from the two nearest neighbours of each token: told too low where tokens are few. From "
        f"{min(distinct)} to {max(distinct)} distinct vectors per depth.",
        unit="dimensions",
        x=depths,
        series=(Series(label="intrinsic dimension", values=dimension),),
    )
    return [lines]


@checked
def similarity(
    model: "Model",
    prompt: AnyPrompt,
    *,
    other: AnyPrompt | None = None,
    other_model: ModelName | None = None,
    text: InputFile | None = None,
    tokens: int = 2000,
) -> Similarity:
    """Compares all depths of the residual stream with each other, or with those of another prompt or model.

    Args:
        prompt: the text to read.
        other: a second prompt of as many tokens; its depths are compared with those of the first, token by token.
        other_model: folder or hub id of a model to compare with, as --model takes it; it reads the same text, in its
            own dtype.
        text: path of a text file whose tokens are added to those of the prompt; dimensions need hundreds.
        tokens: how many tokens to compare at most.

    Raises:
        ArgumentError: fewer than four tokens, prompts of different lengths, `other` together with `text` or
            `other_model`, or a text that the tokenizers of two models do not give back alike.
        LoadError: the other model cannot be loaded.
        UnavailableError: this family has no residual stream that each block adds to.
    """
    if other is not None and (text is not None or other_model is not None):
        name = "text" if other_model is None else "other_model"
        raise ArgumentError(f"other and {name} were given", "A second prompt is compared alone; leave one out.")
    if other_model is not None:
        return _between_models(model, loading.load(other_model, device=model.device), prompt, text, tokens)
    trace = model.trace(prompt, sites=_SITES)
    readout.only_slot(trace.tokens, -1)
    first = _depths(trace)
    _check_limit(tokens, first.shape[1])
    if text is not None and tokens > first.shape[1]:
        first = torch.cat([first, passages.values(model, text, trace.sites, tokens - first.shape[1])], 1)
    second = first if other is None else _depths(model.trace(other, sites=_SITES))
    if first.shape != second.shape:
        raise ArgumentError(
            f"the prompts have {first.shape[1]} and {second.shape[1]} tokens, so no token faces another",
            "Word them so that they have as many tokens: fluoro tokens shows where they part.",
        )
    _check_count(first.shape[1])
    told = [geometry.two_nn(depth) for depth in first] if other is None else []
    return Similarity(
        recipe=trace.recipe, sites=tuple(map(str, trace.sites)), tokens=first.shape[1],
        against="itself" if other is None else "prompt", cka=_cka(first, second), cosine=_cosine(first, second),
        dimension=tuple(size for size, _ in told), distinct=tuple(count for _, count in told), other_model=None,
    )  # fmt: skip


def _between_models(model: "Model", other: "Model", prompt: str, text: str | None, tokens: int) -> Similarity:
    """The same text through two models, at the tokens that face each other."""
    recipes = [each.recipe(each.tokens(prompt)) for each in (model, other)]
    pair = alignment.facing(model, other, prompt)
    _check_limit(tokens, len(pair[0].slots))
    rest = () if text is None else alignment.read(model, other, text)
    mine, theirs = zip(*alignment.limited(chain([pair], rest), tokens), strict=True)
    _check_count(sum(len(each.slots) for each in mine))
    sites = [offer.expand(each, _SITES) for each in (model, other)]
    first, second = alignment.states(model, mine, sites[0]), alignment.states(other, theirs, sites[1])
    told, said = ([geometry.two_nn(depth) for depth in track(list(side), "dimensions")] for side in (first, second))
    return Similarity(
        recipe=recipes[0], sites=tuple(map(str, sites[0])), tokens=first.shape[1], against="model",
        cka=_cka(first, second), cosine=_cosine(first, second) if model.d_model == other.d_model else None,
        dimension=tuple(size for size, _ in told), distinct=tuple(count for _, count in told),
        other_model=OtherModel(
            recipe=recipes[1], sites=tuple(map(str, sites[1])), dimension=tuple(size for size, _ in said),
            distinct=tuple(count for _, count in said),
            read=(sum(len(each.ids) - each.lead for each in mine), sum(len(each.ids) - each.lead for each in theirs)),
        ),
    )  # fmt: skip


def _check_limit(tokens: int, prompt: int) -> None:
    if tokens < prompt:
        raise ArgumentError(f"tokens={tokens} are fewer than the {prompt} of the prompt", "Shorten the prompt.")


def _check_count(tokens: int) -> None:
    if tokens < 4:
        raise ArgumentError(f"{counted(tokens, 'token')} cannot be compared", "Give at least 4, better hundreds.")


def _cka(first: torch.Tensor, second: torch.Tensor) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(finite(geometry.linear_cka(x, y)) for y in second) for x in track(list(first), "CKA"))


def _cosine(first: torch.Tensor, second: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(geometry.mean_cosine(x, y) for y in second) for x in first)


def _depths(trace: "Trace") -> torch.Tensor:
    """[depth, token, d_model] of one prompt."""
    return torch.stack([trace[site][0] for site in trace.sites]).double()


def _label(site: str) -> str:
    return "emb" if site == "resid_pre.0" else f"L{site.rpartition('.')[2]}"
