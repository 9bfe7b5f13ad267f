"""Who gets it: people meet, all but one of them give, the one left receives.

Mostly two meet. Some scenes have three or four, told in one list or apart, and some hand a thing back: the receiver is
the one not named as giver, and no fixed place in the text ever says who that is.
"""

import random
from itertools import combinations

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
CROWDS = (
    "When {l} went to the {p}, ",
    "After {l} had met at the {p}, ",
    "While {l} were at the {p}, ",
    "{l} had lunch in the {j} {p}. ",
    "There were {n} people in the {p}, {l}. ",
    "{h} went to the {p}. Later {c} came too. ",
    "When {c} met {h} near the {p}, ",
    "{c} was at the {j} {p}. {h} were there too. Then ",
    "{c} talked with {h} in the {p}. Later, ",
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
RETURNS = (
    " Later {x} gave the {m} to {s}.",
    " Then {x} {adverb}gave a {j} {m} to {s}.",
    " After that, {x} handed the {o} to {s} and {s} handed the {m} to {x}.",
    " In the evening {x} sent a {m} to {s}.",
)
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


def _listed(words: list[str]) -> str:
    """A, B and C."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _members(rng: random.Random, kind: str, count: int) -> list[str]:
    """So many of a kind, no two of whom are kept for the tests."""
    while True:
        found = [couple(rng, kind, False)[0] for _ in range(count)]
        if not any(one == other or names.is_kept(one, other) for one, other in combinations(found, 2)):
            return found


def crowd(rng: random.Random, kind: str) -> tuple[str, dict[str, str]]:
    """The prompt of a scene with three or four, and its slots: all but x give, s is one of those."""
    members = _members(rng, kind, rng.choice((3, 3, 3, 4)))
    j, o, p = rng.choice(words.ADJECTIVES), rng.choice(words.OBJECTS), rng.choice(words.PLACES)
    slots = {"l": _listed(members), "h": _listed(members[:-1]), "c": members[-1], "p": p, "j": j, "o": o}
    slots["n"] = {3: "three", 4: "four"}[len(members)]
    rng.shuffle(members)
    receiver, *givers = members
    text = rng.choice(CROWDS) + _listed(givers) + " " + rng.choice(GIFTS[:10]).partition("{x}")[0].rstrip()
    slots |= {"x": receiver, "s": givers[-1], "k": rng.choice(words.ADJECTIVES), "m": rng.choice(words.OBJECTS)}
    return english.articles(text.format(**slots)), slots


def document(rng: random.Random) -> Document:
    """One scene: half with names, the rest with arbitrary or invented words; a few with a third giver."""
    kind = rng.choices(("names", "words", "invented"), (50, 35, 15))[0]
    if rng.random() < 0.35:
        prompt, slots = crowd(rng, kind)
        return Document(f"{prompt} {slots['x']}{rng.choice(ENDINGS).format(**slots)}", "ioi")
    prompt, slots, rest = sentence(rng, kind, False, third=kind == "names" and rng.random() < 0.06)
    text = prompt + " " + slots["x"] + rest
    if (follows := rng.random()) < 0.45:
        adverb = rng.choice((rng.choice(words.ADVERBS) + " ", ""))
        text += english.articles(rng.choice(RETURNS if follows < 0.2 else FOLLOWS).format(adverb=adverb, **slots))
    return Document(text, "ioi")


def case(rng: random.Random, kind: str) -> Case:
    """A scene whose pair training never saw."""
    prompt, slots, _ = sentence(rng, kind, True)
    return Case(prompt, " " + slots["x"], " " + slots["s"], {"order": slots["order"]})


def crowd_case(rng: random.Random) -> Case:
    """A scene with three or four names."""
    prompt, slots = crowd(rng, "names")
    return Case(prompt, " " + slots["x"], " " + slots["s"])
