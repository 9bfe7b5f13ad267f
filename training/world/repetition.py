"""What came before comes again: words, sentences and rows of random tokens."""

import random

from training.world.banks import names, words
from training.world.document import Case, Document

SEPARATORS = (" ", " ", ", ", " - ", " / ", "\n")
POOL = words.WORDS + names.NAMES + tuple(str(i) for i in range(0, 100, 3))
CAPITALISED = tuple(w.capitalize() for w in words.WORDS[:200])
MARKERS = ("Again: ", "Once more: ", "I repeat: ", "Copy: ")
SUBJECTS = words.ANIMALS + tuple("boy girl man woman king queen baby doctor farmer baker thief guard".split())
RESTS = tuple(
    "sat on stood on slept on lay on ran to looked at jumped over hid under waited near walked around".split()
)


def _row(rng: random.Random, length: int) -> list[str]:
    pool = rng.choices((POOL, words.WORDS, names.NAMES, CAPITALISED), (5, 3, 1, 1))[0]
    return [rng.choice(pool) for _ in range(length)]


def word_document(rng: random.Random) -> Document:
    """Random words, two or three times over; the first time carries no loss."""
    row = _row(rng, rng.randint(3, 16))
    separator = rng.choice(SEPARATORS)
    times = rng.choice((2, 2, 2, 3))
    once = separator.join(row)
    return Document(separator.join([once] * times), "random words", muted=len(once))


def word_case(rng: random.Random) -> Case:
    """The next of random words that are being repeated."""
    row = _row(rng, rng.randint(6, 14))
    separator = rng.choice((" ", ", "))
    cut = rng.randint(2, len(row) - 1)
    prompt = separator.join(row + row[:cut]) + separator.rstrip()
    return Case(prompt, " " + row[cut])


def token_case(rng: random.Random) -> Case:
    """The next of random tokens that are being repeated, as draws in [0, 1)."""
    period = rng.randint(10, 48)
    return Case("", "", info={"draws": tuple(rng.random() for _ in range(period)), "shown": rng.randint(3, period - 1)})


def line(rng: random.Random) -> str:
    """A short sentence about someone somewhere."""
    verb = " ".join(rng.choice(_pairs(RESTS)))
    adjective = rng.choice(words.ADJECTIVES) + " " if rng.random() < 0.4 else ""
    place = rng.choice(words.THINGS[:12] + words.CONTAINERS + words.PLACES + ("mat", "rug", "sofa"))
    return f"The {adjective}{rng.choice(SUBJECTS)} {verb} the {place}."


def _pairs(flat: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def sentence_document(rng: random.Random) -> Document:
    """Three or more sentences repeated, or fewer behind a marker; now and then one sentence twice, and the end."""
    style = rng.random()
    if style < 0.4:
        once = " ".join(line(rng) for _ in range(rng.randint(3, 4)))
        return Document(f"{once} {once}", "sentences")
    if style < 0.92:
        once = " ".join(line(rng) for _ in range(rng.randint(1, 2)))
        return Document(f"{once} {rng.choice(MARKERS)}{once}", "sentences")
    once = line(rng)
    again = once[0].lower() + once[1:] if rng.random() < 0.2 else once
    return Document(f"{once} {again}", "sentences")


def sentence_case(rng: random.Random) -> Case:
    """The end of a sentence that is being said for the second time."""
    lines = [line(rng) for _ in range(rng.randint(1, 3))]
    once = " ".join(lines)
    prompt, _, last = once[:-1].rpartition(" ")
    return Case(f"{once} {prompt}", " " + last)
