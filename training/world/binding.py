"""Who has which: facts that hold in one text only, told in two to four pairs and asked for by either end."""

import random
from dataclasses import dataclass

from training.world import english
from training.world.banks import names, words
from training.world.document import Case, Document
from training.world.split import held_out

CITIES = tuple(
    "Paris Rome London Berlin Madrid Tokyo Cairo Oslo Lima Moscow Vienna Athens Dublin Boston Chicago".split()
)
NUMBERS = tuple(str(i) for i in range(100))
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")
ANY = words.WORDS


@dataclass(frozen=True)
class Style:
    """How a pair is told (one form per text) and asked; {v} is the answer, {k} what it belongs to."""

    keys: tuple[str, ...]
    values: tuple[str, ...]
    tellings: tuple[str, ...]
    askings: tuple[str, ...]
    share: float


STYLES = {
    "places": Style(
        words.OBJECTS,
        words.CONTAINERS,
        (
            "The {k} is in the {v}.",
            "The {k} lies in the {v}.",
            "{n} put the {k} in the {v}.",
            "The {k} was in the {v}.",
        ),
        ("Where is the {k}? The {k} is in the {v}.", "Where is the {k}? In the {v}.", "The {k} is in the {v}."),
        30,
    ),
    "owners": Style(
        words.OBJECTS,
        names.NAMES,
        (
            "{v} has the {k}.",
            "{v} took the {k}.",
            "The {k} belongs to {v}.",
            "{v} owns the {k}.",
            "{v} bought the {k}.",
        ),
        (
            "Who has the {k}? {v}.",
            "The {k} belongs to {v}.",
            "Who has the {k}? Answer: {v}.",
            "The one with the {k} is {v}.",
        ),
        14,
    ),
    "homes": Style(
        names.NAMES,
        CITIES,
        ("{k} lives in {v}.", "{k} comes from {v}.", "{k} works in {v}.", "{k} moved to {v}."),
        ("{k} lives in {v}.", "Where does {k} live? In {v}.", "Where does {k} live? {k} lives in {v}."),
        10,
    ),
    "tastes": Style(
        names.NAMES,
        words.FOODS + words.ANIMALS,
        ("{k} likes the {v}.", "{k} wants the {v}.", "{k} has a {v}.", "{k} bought a {v}."),
        ("What does {k} like? The {v}.", "{k} likes the {v}.", "The favorite of {k} is the {v}."),
        9,
    ),
    "colours": Style(
        words.OBJECTS + words.FOODS,
        words.COLOURS,
        ("The {k} is {v}.", "The color of the {k} is {v}.", "There is a {v} {k}."),
        ("What color is the {k}? {v}.", "The color of the {k} is {v}.", "The {k} is {v}."),
        10,
    ),
    "variables": Style(
        LETTERS, NUMBERS, ("{k} = {v};", "{k} := {v};"), ("{k} -> {v}", "print({k}) # {v}", "{k} == {v}"), 12
    ),
    "lists": Style(LETTERS, NUMBERS, ("let {k} be {v}.",), ("{k} is {v}.", "What is {k}? {v}."), 4),
    "entries": Style(ANY, ANY, ("{k}: {v};", "{k} -> {v};", "{k} = {v},"), ("{k}: {v}", "{k} -> {v}", "{k} = {v}"), 8),
    "arbitrary": Style(
        ANY,
        ANY,
        ("The {k} is with the {v}.", "The {k} goes to the {v}.", "The {k} needs the {v}."),
        ("Which one is with the {k}? The {v}.", "The {k} goes to the {v}.", "What does the {k} need? The {v}."),
        8,
    ),
}
INTERLUDES = ("It was a {j} day.", "The room was {j}.", "Nobody spoke.", "Time went by.", "Everything was {j} and {i}.")
SIMPLE = frozenset({"variables", "lists", "entries"})


def _kept(style: str, key: str, value: str) -> bool:
    return held_out("binding", style, key, value, one_in=6)


def _pairs(rng: random.Random, name: str, count: int) -> list[tuple[str, str]]:
    """Keys and values, all different, none kept for the tests."""
    style = STYLES[name]
    while True:
        keys = rng.sample(style.keys, count)
        values = [value for value in rng.sample(style.values, min(len(style.values), count + 4)) if value not in keys]
        pairs = list(zip(keys, values[:count], strict=False))
        if len(pairs) == count and not any(_kept(name, *pair) for pair in pairs):
            return pairs


def _told(rng: random.Random, name: str, pairs: list[tuple[str, str]]) -> str:
    style = STYLES[name]
    telling = rng.choice(style.tellings)
    mixed = name not in SIMPLE and rng.random() < 0.3
    lines = [
        (rng.choice(style.tellings) if mixed else telling).format(k=k, v=v, n=rng.choice(names.NAMES)) for k, v in pairs
    ]
    if name not in SIMPLE and rng.random() < 0.3:
        j, i = rng.sample(words.ADJECTIVES, 2)
        lines.insert(rng.randint(1, len(lines)), rng.choice(INTERLUDES).format(j=j, i=i))
    return " ".join(lines) if name in SIMPLE else english.articles(" ".join(lines))


def _choose(rng: random.Random) -> tuple[str, int]:
    name = rng.choices(list(STYLES), [style.share for style in STYLES.values()])[0]
    return name, rng.choice((2, 2, 3, 3, 4))


def document(rng: random.Random) -> Document:
    """The pairs, and questions about some or all of them."""
    name, count = _choose(rng)
    pairs = _pairs(rng, name, count)
    told = _told(rng, name, pairs)
    asked = rng.sample(pairs, rng.randint(1, count))
    asking = rng.choice(STYLES[name].askings)
    questions = ("; " if name in {"entries", "variables"} else " ").join(asking.format(k=k, v=v) for k, v in asked)
    return Document(f"{told} {questions}", "binding", muted=len(told))


def case(rng: random.Random) -> Case:
    """A question about one pair, which training never told in this style."""
    while True:
        name, count = _choose(rng)
        style = STYLES[name]
        pairs = _pairs(rng, name, count)
        key, value = rng.choice(style.keys), rng.choice(style.values)
        others = {word for pair in pairs for word in pair}
        if key == value or {key, value} & others or not _kept(name, key, value):
            continue
        index = rng.randrange(count)
        pairs[index] = (key, value)
        prompt = rng.choice(style.askings).partition("{v}")[0].format(k=key)
        foil = pairs[(index + 1) % count][1]
        text = f"{_told(rng, name, pairs)} {prompt}".rstrip(" ")
        return Case(text, " " + value, " " + foil, {"style": name, "pairs": count})
