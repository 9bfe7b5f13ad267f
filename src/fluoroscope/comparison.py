"""Two results beside each other, from their JSON: what was asked otherwise, made otherwise, and found otherwise."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from fluoroscope.render.text import number
from fluoroscope.views import Column, Row, Table, View

_WORDING = ("schema", "result", "summary", "recipe", "call")
_LONGEST = 60
_MOST = 5
_LEAVES = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Difference:
    """A value that two results do not share, as JSON has it; None too where one of them has no such value."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Change:
    """How one field of the numbers differs, over all its places.

    Args:
        name: without the places: `predictions.probability`.
        count: how many values both have in it.
        changed: how many of these differ.
        unpaired: how many values only one of the two has.
        largest: the largest difference of measured numbers, without its sign; None for counts, ids and texts.
        place: of the largest difference, else of the first one: `predictions[3].probability`.
        first: the value there.
        second: the value there.
    """

    name: str
    count: int
    changed: int
    unpaired: int
    largest: float | None
    place: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Comparison:
    """What differs between two results.

    Args:
        kinds: the class of each.
        arguments: what was asked: the analysis and its arguments.
        recipe: with what it was made.
        numbers: what was found; nothing where the results are of two kinds.
    """

    kinds: tuple[str, str]
    arguments: tuple[Difference, ...]
    recipe: tuple[Difference, ...]
    numbers: tuple[Change, ...]

    @classmethod
    def of(cls, first: Mapping[str, Any], second: Mapping[str, Any]) -> "Comparison":
        """Compares the JSON of two results."""
        asked = [{"analysis": call.get("analysis")} | call.get("arguments", {}) for call in _calls(first, second)]
        made = [_flat(data["recipe"]) for data in (first, second)]
        kinds = (str(first["result"]), str(second["result"]))
        found = _changes(_numbers(first), _numbers(second)) if kinds[0] == kinds[1] else ()
        return cls(kinds, _differences(*asked), _differences(*made), found)

    def summary(self) -> str:
        """What differs, in one sentence or two."""
        asked = _listed("Asked alike", "Asked otherwise", self.arguments)
        made = _listed("made alike", "made otherwise", self.recipe)
        return f"{asked}; {made}. {self._found()}"

    def _found(self) -> str:
        if self.kinds[0] != self.kinds[1]:
            return f"The numbers are of two kinds, {self.kinds[0]} and {self.kinds[1]}, and not compared."
        if not self.numbers:
            return "All numbers are the same."
        told = [each.name + _by(each) for each in sorted(self.numbers, key=lambda each: each.largest is None)]
        more = f" and {len(told) - _MOST} more" if len(told) > _MOST else ""
        return f"Found otherwise: {', '.join(told[:_MOST])}{more}."

    def views(self, names: tuple[str, str] = ("first", "second")) -> list[View]:
        """Two tables, or those of them that have something to say; `names` head their columns."""
        tables: list[View] = []
        if rows := [*self.arguments, *self.recipe]:
            cells = [Row(cells=(each.name, _brief(each.first), _brief(each.second))) for each in rows]
            tables.append(_table("Asked and made", ("", *names), cells))
        if self.numbers:
            heads = ("value", "differ", "at most by", "there", *names)
            tables.append(_table("Found", heads, [Row(cells=_cells(each)) for each in self.numbers]))
        return tables


def _by(each: Change) -> str:
    return "" if each.largest is None else f" (at most by {number(each.largest)})"


def _table(title: str, names: tuple[str, ...], rows: list[Row]) -> Table:
    return Table(title=title, columns=tuple(Column(name=name) for name in names), rows=tuple(rows))


def _cells(each: Change) -> tuple[str | int | float | None, ...]:
    values = (each.first, each.second)
    shown = [value if isinstance(value, float) else _brief(value) for value in values]
    where = "".join(re.findall(r"\[\d+\]", each.place))
    counted = f"{each.changed} of {each.count}" + (f", {each.unpaired} in one only" if each.unpaired else "")
    return (each.name, counted, each.largest, where, *shown)


def _calls(*data: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [each.get("call") or {} for each in data]


def _flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with each package's version by itself."""
    versions = {f"version of {name}": version for name, version in recipe["versions"].items()}
    return {name: value for name, value in recipe.items() if name != "versions"} | versions


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Difference, ...]:
    pairs = {name: (first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])}
    return tuple(Difference(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1])


def _numbers(data: Mapping[str, Any]) -> dict[str, Any]:
    """Place -> value of all that was found."""
    return dict(_leaves({name: value for name, value in data.items() if name not in _WORDING}))


def _changes(ones: Mapping[str, Any], others: Mapping[str, Any]) -> tuple[Change, ...]:
    """What differs, by field."""
    fields: dict[str, list[str]] = {}
    for place in dict.fromkeys([*ones, *others]):
        fields.setdefault(re.sub(r"\[\d+\]", "", place), []).append(place)
    found = (_change(name, places, ones, others) for name, places in fields.items())
    return tuple(each for each in found if each.changed or each.unpaired)


def _change(name: str, places: Sequence[str], ones: Mapping[str, Any], others: Mapping[str, Any]) -> Change:
    both = [place for place in places if place in ones and place in others]
    changed = [place for place in both if ones[place] != others[place]]
    gaps = {place: abs(ones[place] - others[place]) for place in changed if _measured(ones[place], others[place])}
    alone = [place for place in places if (place in ones) != (place in others)]
    at = max(gaps, key=lambda place: gaps[place]) if gaps else next(iter([*changed, *alone]), "")
    largest = float(gaps[at]) if gaps else None
    return Change(name, len(both), len(changed), len(alone), largest, at, ones.get(at), others.get(at))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every text, number or nothing in a value, with its place."""
    if isinstance(value, _LEAVES):
        yield place, value
    elif isinstance(value, dict):
        for name, each in cast("dict[str, Any]", value).items():
            yield from _leaves(each, f"{place}.{name}" if place else name)
    else:
        for index, each in enumerate(value):
            yield from _leaves(each, f"{place}[{index}]")


def _measured(*values: Any) -> bool:
    """Whether these are numbers of a scale; JSON writes 1.0 so, and counts and ids as 1."""
    return all(isinstance(value, float) for value in values)


def _listed(alike: str, otherwise: str, differences: tuple[Difference, ...]) -> str:
    names = ", ".join(each.name.replace("_", " ") for each in differences)
    return f"{otherwise} ({names})" if names else alike


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
