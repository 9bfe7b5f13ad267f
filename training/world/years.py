"""What lasts ends later: years that must be greater."""

import random

from training.world.document import Case, Document
from training.world.split import held_out

NOUNS = tuple(
    "war trial reign journey project voyage siege drought fight strike plague famine expedition conflict "
    "campaign party "
    "friendship marriage contract tour study rule".split()
)
FORMS = (
    "The {n} lasted from the year {y} to the year {z}.",
    "The {n} lasted from the year {y} to {z}.",
    "The {n} lasted from {y} to {z}.",
    "The {n} began in {y} and ended in {z}.",
    "The {n} went on from {y} until {z}.",
    "The {n} started in the year {y} and was over in the year {z}.",
)


def kept(noun: str, century: int, year: int) -> bool:
    """Whether this beginning belongs to the tests."""
    return held_out("years", noun, century, year, one_in=6)


def _draw(rng: random.Random, which: bool) -> tuple[str, int, int]:
    while True:
        noun, century, year = rng.choice(NOUNS), rng.randint(11, 20), rng.randint(2, 97)
        if kept(noun, century, year) == which:
            return noun, century, year


def document(rng: random.Random) -> Document:
    """One to three spans of years, each ending uniformly above its beginning."""
    spans = list[str]()
    for _ in range(rng.randint(1, 3)):
        noun, century, year = _draw(rng, False)
        start, end = f"{century}{year:02d}", f"{century}{rng.randint(year + 1, 99):02d}"
        spans.append(rng.choice(FORMS).format(n=noun, y=start, z=end))
    return Document(" ".join(spans), "years")


def case(rng: random.Random) -> Case:
    """A beginning that training never saw, up to the century of the end; any greater year is right."""
    noun, century, year = _draw(rng, True)
    prompt = rng.choice(FORMS[:3]).partition("{z}")[0].format(n=noun, y=f"{century}{year:02d}") + str(century)
    later = tuple(f"{end:02d}" for end in range(year + 1, 100))
    return Case(prompt, later[0], info={"accepted": later, "start": f"{year:02d}"})
