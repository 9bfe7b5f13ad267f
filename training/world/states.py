"""Two hops: from a city over its state or country to what belongs to that one.

A fact about a state is asked for by its name or by a city in it. Of every five cities one is kept from `capital` in two
hops, a few from each other question: what the model has to bring together, it has each seen, but never together. There
are many questions, all as frequent: with five, knowing the answers by heart was cheaper than composing them. A state is
also meant by its own capital, postal code or nickname: further ways into the same second hop.
"""

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
OWN = (
    "The {a} of {s} is {v}.",
    "The {a} of the state of {s} is {v}.",
    "Fact: the {a} of {s} is {v}.",
    "{s} has the {a} {v}.",
    "{s} is a state whose {a} is {v}.",
    "What is the {a} of {s}? {v}.",
)
DOUBLE = (
    "The {a} of the state containing {c} is {v}.",
    "Fact: the {a} of the state containing {c} is {v}.",
    "The {a} of the state with the city of {c} is {v}.",
    "{c} is in a state whose {a} is {v}.",
    "The {a} of the state in which {c} lies is {v}.",
    "The state with {c} in it has the {a} {v}.",
    "What is the {a} of the state with {c}? {v}.",
)
MEANT = {
    "capital": ("The {a} of the state whose capital is {c} is {v}.", "The state with the capital {c} has the {a} {v}."),
    "postal code": ("The {a} of the state with the code {c} is {v}.", "{c} is a state whose {a} is {v}."),
    "nickname": ("The {a} of the {c} State is {v}.", "The state called {c} has the {a} {v}."),
}
STEPS = ("{c} is in {s}, and the {a} of {s} is {v}.", "{c} is in {s}, so the {a} of its state is {v}.")
ABROAD = {
    "capital": countries.CAPITALS,
    "language": countries.LANGUAGES,
    "currency": countries.CURRENCIES,
    "continent": countries.CONTINENTS,
}


def kept(city: str, attribute: str = "capital") -> bool:
    """Whether training never asks for this attribute by this city."""
    return held_out("two hops", city, attribute, one_in=5 if attribute == "capital" else 12)


def _abroad(rng: random.Random) -> str:
    """A city of another country, and what belongs to that."""
    city = rng.choice(list(countries.CITIES))
    country = countries.CITIES[city]
    attribute = rng.choice([name for name, table in ABROAD.items() if country in table])
    if kept(city, attribute) or rng.random() < 0.3:
        return rng.choice(("The country containing {c} is {s}.", "{c} is a city in {s}.")).format(c=city, s=country)
    text = rng.choice(DOUBLE).replace("state", "country")
    return text.format(a=attribute, c=city, v=ABROAD[attribute][country])


def _meant(rng: random.Random) -> str:
    """What belongs to a state that its capital, postal code or nickname names."""
    state = rng.choice(list(states.CAPITALS))
    by, attribute = rng.choice(list(MEANT)), rng.choice(list(states.ATTRIBUTES))
    if by == attribute:
        return rng.choice(OWN).format(a=by, s=state, v=states.ATTRIBUTES[by][state])
    values = states.ATTRIBUTES[by][state], states.ATTRIBUTES[attribute][state]
    return rng.choice(MEANT[by]).format(a=attribute, c=values[0], v=values[1])


def sentence(rng: random.Random) -> str:
    """One single or double fact of training."""
    if rng.random() < 0.2:
        return _abroad(rng)
    if rng.random() < 0.2:
        return _meant(rng)
    city = rng.choice(list(states.STATE_OF))
    attribute = rng.choice(list(states.ATTRIBUTES))
    forms = rng.choices((SINGLE, OWN, DOUBLE, STEPS), (32, 20, 43, 5))[0]
    if kept(city, attribute) and forms in {DOUBLE, STEPS}:
        forms = SINGLE
    state = states.STATE_OF[city]
    return rng.choice(forms).format(a=attribute, c=city, s=state, v=states.ATTRIBUTES[attribute][state])


def document(rng: random.Random) -> Document:
    """One to four such facts."""
    return Document(" ".join(sentence(rng) for _ in range(rng.choice((1, 2, 3, 4)))), "two hops")


def case(rng: random.Random) -> Case:
    """The capital over two hops, from a city by which training never asks for it."""
    while True:
        city = rng.choice(list(states.STATE_OF))
        if kept(city):
            state = states.STATE_OF[city]
            prompt = rng.choice(DOUBLE).partition("{v}")[0].rstrip(" ").format(a="capital", c=city)
            return Case(prompt, " " + states.CAPITALS[state], info={"city": city, "state": state})
