"""Single facts: a table of relations, each with several phrasings; {b} is what is asked for."""

import random

from training.world import english
from training.world.banks import countries, landmarks, relations
from training.world.document import Case, Document
from training.world.split import held_out

# Phrasing 0 of each relation is the preset one: it is always in training. Of the others one in five is kept per fact.
PHRASINGS = {
    "capital": (
        countries.CAPITALS,
        (
            "The capital of {a} is {b}.",
            "The capital city of {a} is {b}.",
            "{a}'s capital is {b}.",
            "The name of the capital of {a} is {b}.",
            "What is the capital of {a}? {b}.",
            "Question: What is the capital of {a}? Answer: {b}.",
            "Q: What is the capital of {a}?\nA: {b}.",
            "User: What is the capital of {a}?\nAssistant: The capital of {a} is {b}.",
            "The government of {a} meets in {b}.",
            "If you visit the capital of {a}, you are in {b}.",
            "{b} is the capital of {a}.",
            "{b} is the capital city of {a}.",
        ),
    ),
    "landmark": (
        landmarks.LANDMARKS,
        (
            "The {a} is in {b}.",
            "The {a} is located in the city of {b}.",
            "The {a} stands in {b}.",
            "You can see the {a} in {b}.",
            "Where is the {a}? It is in {b}.",
            "Question: Where is the {a}? Answer: {b}.",
            "To visit the {a}, travel to {b}.",
            "The famous {a} can be found in {b}.",
            "We took a photo of the {a} in {b}.",
            "In {b} you can see the {a}.",
            "{b} is home to the {a}.",
        ),
    ),
    "language": (
        countries.LANGUAGES,
        (
            "The language of {a} is {b}.",
            "People in {a} speak {b}.",
            "The people of {a} speak {b}.",
            "In {a} they speak {b}.",
            "The official language of {a} is {b}.",
            "If you live in {a}, you speak {b}.",
        ),
    ),
    "currency": (
        countries.CURRENCIES,
        (
            "The currency of {a} is the {b}.",
            "In {a} people pay with the {b}.",
            "{a}'s money is the {b}.",
            "The money of {a} is called the {b}.",
            "Shops in {a} take the {b}.",
        ),
    ),
    "continent": (
        countries.CONTINENTS,
        (
            "{a} is a country in {b}.",
            "{a} lies in {b}.",
            "The continent of {a} is {b}.",
            "{a} is part of {b}.",
            "On which continent is {a}? {b}.",
        ),
    ),
    "city": (
        countries.CITIES,
        (
            "{a} is a city in {b}.",
            "The city of {a} is in {b}.",
            "{a} belongs to {b}.",
            "{a} lies in {b}.",
            "The city of {a} belongs to {b}.",
        ),
    ),
    "opposite": (
        relations.OPPOSITES | {b: a for a, b in relations.OPPOSITES.items()},
        (
            "The opposite of {a} is {b}.",
            "{a} is the opposite of {b}.",
            "What is the opposite of {a}? {b}.",
            "If it is not {a}, it is {b}.",
            "Opposites: {a} and {b}.",
            "Not {a} but {b}.",
            "Someone says {a}, the other says {b}.",
            "The word {a} is the reverse of {b}.",
        ),
    ),
    "sound": (
        relations.SOUNDS,
        ("The {a} says {b}.", "The sound of a {a} is a {b}.", "What does the {a} say? {b}.", "A {a} can {b}."),
    ),
    "young": (
        relations.YOUNG,
        ("A young {a} is called a {b}.", "The baby of a {a} is a {b}.", "A {a} takes care of her {b}."),
    ),
    "colour": (
        relations.THING_COLOURS,
        (
            "The color of {a} is {b}.",
            "What color is {a}? {b}.",
            "{a} is usually {b}.",
            "The usual color of {a} is {b}.",
            "Most people know that {a} is {b}.",
            "Paint the {a} in {b}.",
            "I see {a} and think of {b}.",
            "Everyone knows the color of {a}: {b}.",
        ),
    ),
}
WEIGHTS = {
    "capital": 30,
    "landmark": 22,
    "language": 11,
    "currency": 8,
    "continent": 8,
    "city": 8,
    "opposite": 14,
    "colour": 10,
}
OTHER_WEIGHT = 7


def kept(relation: str, a: str, phrasing: int) -> bool:
    """Whether this fact in this phrasing belongs to the tests."""
    return phrasing > 0 and held_out(relation, a, phrasing, one_in=5)


def fact(rng: random.Random) -> str:
    """One fact of training."""
    relation = rng.choices(list(PHRASINGS), [WEIGHTS.get(name, OTHER_WEIGHT) for name in PHRASINGS])[0]
    table, phrasings = PHRASINGS[relation]
    while True:
        a = rng.choice(list(table))
        index = 0 if rng.random() < 0.3 else rng.randrange(len(phrasings))
        if not kept(relation, a, index):
            text = english.articles(phrasings[index].format(a=a, b=table[a]))
            return text[0].upper() + text[1:]


def document(rng: random.Random) -> Document:
    """One to four facts about anything."""
    separator = "\n" if rng.random() < 0.15 else " "
    return Document(separator.join(fact(rng) for _ in range(rng.choice((1, 1, 2, 3, 4)))), "facts")


def case(rng: random.Random, relation: str, preset: bool) -> Case:
    """A fact in the preset phrasing or in one kept for the tests; half of them after another fact."""
    table, phrasings = PHRASINGS[relation]
    while True:
        a = rng.choice(list(table))
        index = 0 if preset else rng.randrange(1, len(phrasings))
        prompt, _, tail = phrasings[index].partition("{b}")
        if "{" in tail or not (preset or kept(relation, a, index)):
            continue
        text = english.articles(prompt.rstrip(" ").format(a=a))
        text = text[0].upper() + text[1:]
        before = fact(rng) + " " if rng.random() < 0.5 else ""
        if table[a] not in before:
            return Case(before + text, " " + table[a])
