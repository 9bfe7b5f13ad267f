"""The passages of a text file that drive a neuron, or every unit of a layer, hardest.

The file is read once, in passages that do not overlap, and never held in memory. What drives a unit hardest is the tip
of what it does: the statistics say how often it is active at all, and the largest examples rarely show its usual ones.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import passages, running, units
from fluoroscope.pieces import split
from fluoroscope.render.text import number, percent, quoted, visible
from fluoroscope.result import Record, Result
from fluoroscope.signature import InputFile
from fluoroscope.sites import Site
from fluoroscope.views import Column, Row, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "States and weights"

LEVELS = (0.5, 0.9, 0.99, 0.999)
"""The quantiles that are told of every unit."""

_ROWS = 20


class Example(Record):
    """One passage, around the token at which the unit is largest.

    Args:
        line: of the file, on which its paragraph begins, from 1.
        index: of that token in its paragraph.
        value: of the unit there.
        tokens: what stands around it.
        values: of the unit at each of them.
        peak: index of the token among `tokens`.
    """

    line: int
    index: int
    value: float
    tokens: tuple[str, ...]
    values: tuple[float, ...]
    peak: int

    def quote(self, around: int = 5) -> str:
        """The nearest tokens in one line, the peak in brackets."""
        shown = [visible(token).replace("·", " ") for token in self.tokens]
        peak = shown[self.peak]
        bare = peak.lstrip()
        shown[self.peak] = f"{peak[: len(peak) - len(bare)]}[{bare}]"
        return "".join(shown[max(0, self.peak - around) : self.peak + around + 1]).strip()


class Unit(Record):
    """One unit over the whole text.

    Args:
        std: standard deviation over all tokens.
        active: share of the tokens at which it is above zero.
        quantiles: at the levels of the result.
        examples: hardest first, one per passage.
    """

    site: str
    mean: float
    std: float
    minimum: float
    maximum: float
    active: float
    quantiles: tuple[float, ...]
    examples: tuple[Example, ...]

    @property
    def label(self) -> str:
        """L3N359."""
        return Site.parse(self.site).label


class MaxActivating(Result):
    """What drives the units of a site.

    Args:
        text: the file, as it was named; `sha256` is that of its bytes.
        site: what was asked about.
        unit: what `value` is in.
        context: the most tokens of a passage.
        levels: of the quantiles, which are off by at most `quantile_error` of their size (below 0.0001 they are 0).
        units: every unit asked about, in order.
    """

    text: str
    sha256: str
    site: str
    unit: str
    context: int
    passages: int
    tokens: int
    levels: tuple[float, ...]
    quantile_error: float
    units: tuple[Unit, ...]

    @property
    def normed(self) -> bool:
        """Whether the values are lengths of vectors, which are always above zero."""
        return self.unit.startswith("L2 norm")

    def top(self) -> list[Unit]:
        """The units from the largest maximum down."""
        return sorted(self.units, key=lambda each: -each.maximum)

    def summary(self) -> str:
        first = self.top()[0]
        example, file = first.examples[0], Path(self.text).name
        where = f"{number(example.value)} at {quoted(example.tokens[example.peak])} (line {example.line} of {file})"
        if len(self.units) > 1:
            silent = sum(each.active == 0 for each in self.units)
            never = "" if self.normed else f"; {silent} are never above zero"
            return (
                f"Of the {len(self.units)} units of {self.site}, {first.label} reaches highest, {where}, in "
                f"{self.tokens} tokens{never}."
            )
        far = (example.value - first.mean) / first.std if first.std else 0.0
        often = "" if self.normed else f"; it is above zero at {percent(first.active)} of them"
        return (
            f"{first.label} is driven hardest, to {where}, {number(far)} standard deviations over its mean of "
            f"{number(first.mean)} in {self.tokens} tokens{often}."
        )

    def views(self) -> list[View]:
        alone = len(self.units) == 1
        chosen = self.top()[: 1 if alone else 3]
        examples = [
            self._example(each, place) for each in chosen for place in range(len(each.examples) if alone else 1)
        ]
        return [*examples, self._table()] if alone else [self._table(), *examples]

    def _example(self, unit: Unit, place: int) -> Tokens:
        example = unit.examples[place]
        return Tokens(
            title=f"{unit.label}, example {place + 1}: {number(example.value)} at "
            f"{quoted(example.tokens[example.peak])}, line {example.line}",
            unit=self.unit,
            signed=any(value < 0 for value in example.values),
            items=tuple(TokenMark(text=t, value=v) for t, v in zip(example.tokens, example.values, strict=True)),
            marked=example.peak,
        )

    def _table(self) -> Table:
        alone = len(self.units) == 1
        levels = [f"q{100 * level:g}" for level in self.levels] if alone else []
        names = ["unit", "max", *levels, "mean", "std", "above 0", *([] if alone else ["largest at"])]
        rest = "" if len(self.units) <= _ROWS else f" The {_ROWS} highest of {len(self.units)}; the JSON has all."
        below = f" q99: not reached by 99 %, within {percent(self.quantile_error)} of its size." if alone else ""
        return Table(
            title="What it does on the whole text" if alone else "What the units do on the whole text",
            caption=f"{self.tokens} tokens; values are {self.unit}; above 0: share of the tokens.{below} Paragraphs (a "
            f"line is where one begins) are read apart, in passages of at most {self.context} tokens: the first tokens "
            f"of each see little before them.{rest}",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(
                Row(
                    cells=(
                        *(each.label, each.maximum, *(each.quantiles if alone else ()), each.mean, each.std),
                        *(each.active, *(() if alone else (each.examples[0].quote(),))),
                    ),
                    site=each.site,
                )
                for each in self.top()[:_ROWS]
            ),
        )


@checked
def max_activating(
    model: "Model",
    text: InputFile,
    site: str,
    *,
    top_k: int = 5,
    context: int | None = None,
    window: int = 10,
) -> MaxActivating:
    """Finds the passages in which units are largest, with statistics over the whole text.

    Args:
        text: path of a text file in UTF-8; blank lines separate its paragraphs.
        site: a unit such as L3N7 or L3H0 (the L2 norm of its z), or all units of a site, such as neurons.3.
        top_k: how many passages to show of each unit.
        context: the most tokens of a passage; as many as the model reads, at most 256, if not given.
        window: how many tokens to show on each side of the largest.

    Raises:
        ArgumentError: no such file or no text in it, a site without units, `top_k` below 1 or `window` below 0.
        SiteError: the model has no such site.
        TokenError: no tokenizer, or a context that the model does not have.
        UnavailableError: this model cannot give the site, or it is NaN.
    """
    if top_k < 1 or window < 0:
        raise ArgumentError(f"top_k={top_k}, window={window} show nothing", "Give at least 1 and 0.")
    asked = model.site(site)
    units.check(asked)
    found = units.survey(model, asked, text, top_k, window, context)
    with Path(text).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return MaxActivating(
        recipe=model.recipe(),
        text=text,
        sha256=digest,
        site=str(asked),
        unit={"neuron": "activation", "expert": "router logit"}.get(asked.kind.unit or "", f"L2 norm of {asked.name}"),
        context=passages.room(model, context),
        passages=found.count,
        tokens=found.moments.count,
        levels=LEVELS,
        quantile_error=running.ERROR,
        units=tuple(_units(model, asked, found)),
    )


def _units(model: "Model", asked: Site, found: units.Survey) -> list[Unit]:
    moments, quantiles = found.moments, [found.quantiles.at(level).tolist() for level in LEVELS]
    pieces = {
        index: split(list(passage.ids[passage.lead :]), model.tokenizer) for index, passage in found.passages.items()
    }
    columns = zip(
        *(part.tolist() for part in (moments.mean, moments.deviation, moments.minimum, moments.maximum, moments.above)),
        zip(*quantiles, strict=True),
        strict=True,
    )
    return [
        Unit(
            site=str(asked if asked.unit is not None else Site(asked.name, asked.layer, index)),
            mean=mean, std=std, minimum=minimum, maximum=maximum, active=active,
            quantiles=tuple(min(max(value, minimum), maximum) for value in levels),
            examples=tuple(_examples(found, pieces, index)),
        )
        for index, (mean, std, minimum, maximum, active, levels) in enumerate(columns)
    ]  # fmt: skip


def _examples(found: units.Survey, pieces: dict[int, list[str]], unit: int) -> Iterator[Example]:
    largest = found.largest
    rows = (part[unit].tolist() for part in (largest.values, largest.passage, largest.slot, largest.around))
    for value, index, slot, around in zip(*rows, strict=True):
        if index < 0:
            return  # fewer passages than were asked for
        passage = found.passages[index]
        peak = slot - passage.lead
        first = max(0, peak - largest.window)
        seen = [each for each in around if not math.isnan(each)]
        yield Example(
            line=passage.line,
            index=passage.start + peak,
            value=value,
            tokens=tuple(pieces[index][first : first + len(seen)]),
            values=tuple(seen),
            peak=peak - first,
        )
