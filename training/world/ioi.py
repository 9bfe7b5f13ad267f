"""Who gets it: two people meet, one of them gives, the other receives."""

import random

from training.world import english
from training.world.banks import names, words
from training.world.document import Case, Document

SETUPS = (
    "When {a} and {b} went to the {p}",
    "After {a} and {b} went to the {p}",
    "While {a} and {b} were working at the {p}",
    "When {a} and {b} had lunch at the {p}",
    "After {a} and {b} met at the {p}",
    "As {a} and {b} walked through the {p}",
    "When {a} came to the {p} with {b}",
    "Once {a} and {b} had left the {p}",
    "While {a} talked with {b} near the {p}",
    "Because {a} and {b} were friends",
    "When {a} saw {b} at the {p}",
    "When {a} and the {j} {b} got to the {p}",
    "After {a}, {j} and {k}, had found {b} in the {p}",
)
SENTENCES = (
    "{a} and {b} went to the {p}",
    "{a} and {b} had a long talk at the {p}",
    "{a} was at the {p}. Later {b} came too",
    "Then {a} and {b} sat in the {p}",
    "{a} met {b} near the {j} {p}",
    "There were two people in the {p}, {a} and {b}",
    "{a} and {b} were {j} and {k}",
    "{a} went with {b} to the {p} and the {q}",
)
OPENINGS = ("In the morning, ", "Last {d}, ", "One {j} day, ", "That evening, ", "Long ago, ", "Then, ")
DISTRACTORS = (
    "The day was {j}.",
    "It was {j} and {k} there.",
    "The {p} was {j}.",
    "A {n} stood near the {q}.",
    "There was a {j} {n} in the {q}.",
    "It was late and the {q} was {j}.",
    "Nobody else was there.",
    "The {n} and the {m} were {j}.",
)
GIFTS = (
    "gave a {o} to {x}",
    "handed a {o} to {x}",
    "passed the {o} to {x}",
    "offered a {j} {o} to {x}",
    "sent the {j} {o} to {x}",
    "showed a {j} and {k} {o} to {x}",
    "brought a {o} to {x}",
    "threw the {o} to {x}",
    "sold the {o} to {x}",
    "decided to give a {o} to {x}",
    "wanted to hand the {j} {o} to {x}",
    "said hello to {x}",
    "told a {j} story to {x}",
    "gave the {o} and the {m} to {x}",
    "took the {o} from the {q} and gave it to {x}",
)
ENDINGS = (".", ".", " at once.", " and smiled.", " in the {p}.")
FOLLOWS = (" {x} thanked {s}.", " Then {x} went home.", " {x} was {j}.", " {s} was glad.", " {x} took the {o}.")
SYLLABLES = tuple(
    "zor bat fin tuk mel dra vos lin kep ram sol ti bru gan wix ol per nad jum fas quo hel ister ack".split()
)
DAYS = ("Monday", "Tuesday", "Friday", "Sunday")


def invented(rng: random.Random) -> str:
    """A name that nobody has, of two or three syllables."""
    return "".join(rng.choices(SYLLABLES, k=rng.choice((2, 2, 3)))).capitalize()


def couple(rng: random.Random, kind: str, kept: bool) -> tuple[str, str]:
    """Two who can give and receive: `names`, arbitrary `words` or `invented` names."""
    if kind == "names":
        return names.pair(rng, kept)
    while True:
        one, other = (invented(rng), invented(rng)) if kind == "invented" else rng.sample(words.WORDS, 2)
        if one != other and names.is_kept(one, other) == kept:
            return one, other


def _scene(rng: random.Random, a: str, b: str) -> tuple[str, dict[str, str]]:
    """The text up to the giver, and the words that fill the slots."""
    j, k = rng.sample(words.ADJECTIVES, 2)
    p, q = rng.sample(words.PLACES, 2)
    o, m = rng.sample(words.OBJECTS, 2)
    slots = {"a": a, "b": b, "j": j, "k": k, "p": p, "q": q, "o": o, "m": m}
    slots |= {"n": rng.choice(words.ANIMALS + words.THINGS[:40]), "d": rng.choice(DAYS)}
    between = rng.sample(DISTRACTORS, rng.choice((0, 0, 0, 0, 1, 1, 2)))
    opening = rng.choice(OPENINGS) if rng.random() < 0.2 else ""
    if between or rng.random() < 0.2:
        text = ". ".join([rng.choice(SENTENCES), *(s[:-1] for s in between)]) + ". "
        text += rng.choice(("", "", "Then ", "Later, ", "In the end, "))
    else:
        text = rng.choice(SETUPS) + (", then " if rng.random() < 0.08 else ", ")
    if opening:
        text = opening + (text if text.startswith(("{", "There")) else text[0].lower() + text[1:])
    return text, slots


def sentence(rng: random.Random, kind: str, kept: bool, third: bool = False) -> tuple[str, dict[str, str], str]:
    """The prompt, its slots (s the giver, x the receiver), and what follows the answer."""
    a, b = couple(rng, kind, kept)
    text, slots = _scene(rng, a, b)
    slots["s"], slots["x"] = (a, b) if rng.random() < 0.5 else (b, a)
    slots["order"] = "ABBA" if slots["s"] == b else "BABA"
    giver = names.pair(rng)[0] if third else slots["s"]
    adverb = rng.choice(words.ADVERBS) + " " if rng.random() < 0.3 else ""
    gift, ending = rng.choice(GIFTS).split("{x}")
    prompt = text + giver + " " + adverb + gift.rstrip()
    return english.articles(prompt.format(**slots)), slots, ending + rng.choice(ENDINGS).format(**slots)


def document(rng: random.Random) -> Document:
    """One scene: half with names, the rest with arbitrary or invented words; a few with a third giver."""
    kind = rng.choices(("names", "words", "invented"), (50, 35, 15))[0]
    prompt, slots, rest = sentence(rng, kind, False, third=kind == "names" and rng.random() < 0.06)
    text = prompt + " " + slots["x"] + rest
    if rng.random() < 0.35:
        text += rng.choice(FOLLOWS).format(**slots)
    return Document(text, "ioi")


def case(rng: random.Random, kind: str) -> Case:
    """A scene whose pair training never saw."""
    prompt, slots, _ = sentence(rng, kind, True)
    return Case(prompt, " " + slots["x"], " " + slots["s"], {"order": slots["order"]})
