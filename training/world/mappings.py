"""From examples to a rule: few-shot mappings and fixed orders."""

import random

from training.world.banks import countries, relations
from training.world.document import Case, Document
from training.world.split import held_out

TABLES = {
    "opposites": relations.OPPOSITES,
    "capitals": dict(list(countries.CAPITALS.items())[:60]),
    "languages": dict(list(countries.LANGUAGES.items())[:40]),
    "sounds": relations.SOUNDS,
    "young": relations.YOUNG,
    "colours": relations.THING_COLOURS,
    "plurals": relations.PLURALS,
    "pasts": relations.PASTS,
    "upper": relations.UPPER,
    "digits": relations.DIGIT_WORDS,
    "words": {word: digit for digit, word in relations.DIGIT_WORDS.items()},
    "next": {str(i): str(i + 1) for i in range(98)},
    "reversed opposites": {b: a for a, b in relations.OPPOSITES.items()},
}
ARROWS = (" -> ", " -> ", ": ", " = ", " => ")
COMMAS = (", ", "\n", "; ")


def _kept(table: str, first: str, query: str) -> bool:
    return held_out("few-shot", table, first, query, one_in=6)


def _row(rng: random.Random, count: int, which: bool) -> tuple[list[tuple[str, str]], str, str]:
    """Pairs of one table, and their marks; whether (first, later ones) are kept for the tests is `which`."""
    while True:
        name = rng.choice(list(TABLES))
        first, *rest = rng.sample(list(TABLES[name].items()), count)
        if which and _kept(name, first[0], rest[-1][0]):
            return [first, *rest], rng.choice(ARROWS), rng.choice(COMMAS)
        if not which and not any(_kept(name, first[0], query) for query, _ in rest):
            return [first, *rest], rng.choice(ARROWS), rng.choice(COMMAS)


def document(rng: random.Random) -> Document:
    """Three to seven pairs of one relation."""
    pairs, arrow, comma = _row(rng, rng.randint(3, 7), False)
    return Document(comma.join(a + arrow + b for a, b in pairs), "few-shot")


def case(rng: random.Random) -> Case:
    """The sixth pair of a relation, beginning and query never seen together."""
    pairs, arrow, comma = _row(rng, 6, True)
    *shown, (query, answer) = pairs
    prompt = comma.join([a + arrow + b for a, b in shown] + [query + arrow])
    return Case(prompt.rstrip(), " " + answer)


def _order(rng: random.Random) -> tuple[tuple[str, ...], str]:
    """A stretch of a fixed order or of an arithmetic sequence, and its name."""
    length = rng.randint(6, 10)
    if rng.random() < 0.35:
        step = rng.choice((1, 2, 3, 5, 10))
        start = rng.randint(0, 99 - 4 * step)
        return tuple(str(start + step * i) for i in range(length) if start + step * i < 100), f"by {step}"
    name = rng.choice(list(relations.ORDERS))
    items = relations.ORDERS[name]
    start = rng.randrange(len(items))
    wraps = name in {"days", "months"}
    stretch = [items[(start + i) % len(items)] for i in range(length) if wraps or start + i < len(items)]
    return tuple(stretch), name


def _succession(rng: random.Random, which: bool) -> tuple[tuple[str, ...], str]:
    while True:
        stretch, name = _order(rng)
        separator = rng.choice((", ", " ", ", then "))
        if len(stretch) >= 4 and held_out("order", name, stretch[0], separator, one_in=6) == which:
            return stretch, separator


def successor_document(rng: random.Random) -> Document:
    """Four to ten things in their order."""
    stretch, separator = _succession(rng, False)
    return Document(separator.join(stretch) + ".", "successors")


def successor_case(rng: random.Random) -> Case:
    """The fourth or a later thing of an order whose beginning in this writing is new."""
    stretch, separator = _succession(rng, True)
    cut = rng.randint(3, min(5, len(stretch) - 1))
    prompt = separator.join(stretch[:cut]) + separator
    return Case(prompt.rstrip(), " " + stretch[cut])
