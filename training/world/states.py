"""Two hops: from a city over its state or country to that one's capital."""

import random

from training.world.banks import countries, states
from training.world.document import Case, Document
from training.world.split import held_out

SINGLE = (
    "{c} is a city in {s}.",
    "{c} is in {s}.",
    "The state containing {c} is {s}.",
    "The city of {c} lies in {s}.",
    "The state of {c} is {s}.",
    "Where is {c}? In {s}.",
)
CAPITAL = (
    "The capital of {s} is {k}.",
    "{k} is the capital of {s}.",
    "{s} has the capital {k}.",
    "The capital of the state of {s} is {k}.",
)
DOUBLE = (
    "The capital of the state containing {c} is {k}.",
    "Fact: the capital of the state containing {c} is {k}.",
    "The capital of the state with the city of {c} is {k}.",
    "{c} is in a state whose capital is {k}.",
    "The capital of the state in which {c} lies is {k}.",
    "The state with {c} in it has the capital {k}.",
    "What is the capital of the state with {c}? {k}.",
)
STEPS = ("{c} is in {s}, and the capital of {s} is {k}.", "{c} is in {s}, so the capital of its state is {k}.")
ABROAD = (
    "The capital of the country containing {c} is {k}.",
    "Fact: the capital of the country containing {c} is {k}.",
    "{c} is in a country whose capital is {k}.",
    "What is the capital of the country with {c}? {k}.",
)


def kept(city: str) -> bool:
    """Whether training never sees this city in two hops (its single facts it does see)."""
    return held_out("two hops", city, one_in=4)


def _slots(city: str) -> dict[str, str]:
    state = states.STATE_OF[city]
    return {"c": city, "s": state, "k": states.CAPITAL_OF[state]}


def sentence(rng: random.Random) -> str:
    """One single or double fact of training."""
    if rng.random() < 0.15:
        city = rng.choice(list(countries.CITIES))
        country = countries.CITIES[city]
        forms = ("The country containing {c} is {s}.",) if kept(city) else ABROAD + ABROAD[:1]
        return rng.choice(forms).format(c=city, s=country, k=countries.CAPITALS[country])
    city = rng.choice(list(states.STATE_OF))
    forms = rng.choices((SINGLE, CAPITAL, DOUBLE, STEPS), (40, 14, 40, 6))[0]
    if kept(city) and forms in {DOUBLE, STEPS}:
        forms = SINGLE
    return rng.choice(forms).format(**_slots(city))


def document(rng: random.Random) -> Document:
    """One to four such facts."""
    return Document(" ".join(sentence(rng) for _ in range(rng.choice((1, 2, 3, 4)))), "two hops")


def case(rng: random.Random) -> Case:
    """Two hops from a city that training saw in single facts only."""
    while True:
        city = rng.choice(list(states.STATE_OF))
        if kept(city):
            slots = _slots(city)
            prompt = rng.choice(DOUBLE).partition("{k}")[0].rstrip(" ").format(**slots)
            return Case(prompt, " " + slots["k"], info={"city": city, "state": slots["s"]})
