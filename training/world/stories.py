"""Small stories: who, where, a wish, a trouble, a help and an end, in many words."""

import random

from training.world import english
from training.world.banks import names, words
from training.world.document import Document

OPENINGS = (
    "Once upon a time there was a {j} {w} named {n}.",
    "Once upon a time, {n} lived in a {j} house near the {p}.",
    "Once there lived a {j} {w} in the {p}.",
    "One {j} morning {n} woke up very early.",
    "{n} was a {j} {w} who lived by the {p}.",
    "Long ago a {w} called {n} lived near a {j} {p}.",
    "{n} and {f} were good friends.",
    "There was a {j} {p} where {n} liked to play.",
    "It was a {j} day, and {n} went out to the {p}.",
)
WISHES = (
    "{n} wanted to {v} the {o}.",
    "{S} dreamed of a {k} {o}.",
    "Every day {s} looked for a {o}.",
    "{n} had a plan to find the {k} {o}.",
    "{S} wished for a {j} {a} more than anything.",
    "{S} loved to {u} in the {p} with {f}.",
    "One day {n} asked {f} for a {o}.",
    "{S} had never seen the {q}, but {s} wanted to go there.",
    "In the evening {s} told {f} about a {k} {o}.",
)
TROUBLES = (
    "But the {o} was lost in the {q}.",
    "Suddenly a {k} {a} ran out of the {q}.",
    "Then the {j} wind took the {o} away.",
    "But a {a} sat on the path and would not move.",
    "On the way {s} fell into the mud.",
    "But the gate of the {q} was closed.",
    "It began to rain, and the road became dark.",
    "{n} could not find the way home.",
    "But {f} did not want to share.",
    "A {k} storm came over the {p}.",
    "The old bridge was broken.",
)
FEELINGS = (
    "{n} was afraid.",
    "{S} sat down and cried.",
    "{n} did not know what to do.",
    "{S} was sad, but {s} did not give up.",
    "{n} was angry at first.",
    "{S} took a deep breath.",
    "{n} thought about it for a long time.",
    '"What shall I do?" said {n}.',
)
HELPS = (
    "Then {f} came with a {m} and helped.",
    'A {j} {a} saw this and said, "I can help you."',
    "{n} remembered the {m} in the bag.",
    "With a {m} in hand, {s} tried again.",
    "{f} had a {k} idea.",
    "An old woman gave {h} a {m}.",
    "{n} asked the {a} for help, and the {a} agreed.",
    "They worked together until the sun went down.",
    "{S} walked all night and found a {m} under a tree.",
    '"Take my {m}," said {f}.',
)
RESULTS = (
    "At last {s} found the {o}.",
    "Soon the {o} was safe again.",
    "The {a} smiled and went back to the {q}.",
    "Finally they reached the {q}.",
    "The storm went away, and the sky was blue.",
    "The gate opened, and there was the {o}.",
    "{n} laughed and jumped for joy.",
    "{f} said sorry, and they shared the {o}.",
)
ENDS = (
    "{n} thanked {f} and went home.",
    "From that day on they were friends.",
    "That night {s} slept very well.",
    "They ate bread and honey and were happy.",
    "{n} never forgot the {j} {a}.",
    "And so they lived happily ever after.",
    "When {s} came home, the whole town was glad.",
    "{S} gave the {m} back and said goodbye.",
    "It had been a good day.",
)
PHASES = (
    (OPENINGS, 1.0),
    (WISHES, 0.95),
    (TROUBLES, 0.9),
    (FEELINGS, 0.5),
    (HELPS, 0.85),
    (RESULTS, 0.85),
    (ENDS, 0.9),
)
ACTIONS = tuple("find paint fix hide open carry keep buy bring hold see sell".split())
GAMES = tuple("play sing dance swim run climb read draw rest walk".split())
LIVES = tuple("boy girl child".split())


def document(rng: random.Random) -> Document:
    """One story of three to ten sentences, each said once."""
    name, friend = names.pair(rng)
    woman = name in names.WOMEN
    j, k = rng.sample(words.ADJECTIVES, 2)
    p, q = rng.sample(words.PLACES, 2)
    o, m = rng.sample(words.OBJECTS, 2)
    life = rng.choice(("girl", "woman", "queen") if woman else ("boy", "man", "king", "farmer"))
    slots = {"n": name, "f": friend, "j": j, "k": k, "p": p, "q": q, "o": o, "m": m, "w": life}
    slots |= {"S": "She" if woman else "He", "s": "she" if woman else "he", "h": "her" if woman else "him"}
    slots |= {"a": rng.choice(words.ANIMALS), "v": rng.choice(ACTIONS), "u": rng.choice(GAMES)}
    lines = list[str]()
    for bank, chance in PHASES:
        if rng.random() < chance:
            lines += rng.sample(bank, 2 if rng.random() < 0.2 and bank is not OPENINGS else 1)
    text = " ".join(lines).format(**slots)
    if "There was a" in text[:11] or "Once there" in text[:10]:
        text = text.replace(f"a {life} in", f"a {life} named {name} in", 1)
    return Document(english.articles(text), "stories")
