"""One feeling runs through a text: diaries and reviews."""

import random

from training.world.banks.feelings import AFTERTHOUGHTS, EVENTS, FEELINGS, JUDGEMENTS, REVIEWED
from training.world.document import Case, Document
from training.world.split import held_out

SAYINGS = (
    "Today I feel {f}.",
    "Today I feel {f}.",
    "I am {f}.",
    "I feel {f} today.",
    "I am so {f}.",
    "Now I feel {f}.",
)
GENERAL = ("This is {g}.", "Today is {g}.", "What a {g} day.", "The day was {g}.", "My day was {g}.", "Life is {g}.")


def kept(one: str, other: str) -> bool:
    """Whether these two events together belong to the tests."""
    return held_out("events", *sorted((one, other)), one_in=5)


def _events(rng: random.Random, side: int, count: int, which: bool = False) -> list[str]:
    while True:
        events: list[str] = rng.sample(EVENTS[side], count)
        if any(kept(a, b) for i, a in enumerate(events) for b in events[:i]) == which:
            return events


def _diary(rng: random.Random) -> str:
    side = rng.randint(0, 1)
    lines = _events(rng, side, rng.randint(1, 3))
    for form, bank, slot in ((SAYINGS, FEELINGS, "f"), (GENERAL, JUDGEMENTS, "g"), (SAYINGS, FEELINGS, "f")):
        if rng.random() < (0.9 if slot == "f" else 0.4):
            lines.insert(rng.randint(0, len(lines)), rng.choice(form).format(**{slot: rng.choice(bank[side])}))
    return " ".join(lines)


def _review(rng: random.Random) -> str:
    side = rng.randint(0, 1)
    one, other = rng.sample(JUDGEMENTS[side], 2)
    thing = rng.choice(REVIEWED)
    lines = [f"The {thing} was {one}.", f"It was {other}.", *rng.sample(AFTERTHOUGHTS[side], 2)]
    if rng.random() < 0.4:
        lines.append(f"I feel {rng.choice(FEELINGS[side])}.")
    lead, rest = lines[0], lines[1:]
    rng.shuffle(rest)
    return " ".join([lead, *rest[: rng.randint(1, len(rest))]])


def document(rng: random.Random) -> Document:
    """A diary or a review."""
    return Document(_diary(rng) if rng.random() < 0.7 else _review(rng), "feelings")


def case(rng: random.Random) -> Case:
    """Events that training never saw together, and how that feels; any feeling of the right side counts."""
    side = rng.randint(0, 1)
    events = _events(rng, side, rng.randint(2, 3), True)
    prompt = " ".join(events) + rng.choice((" Today I feel", " I feel", " Now I feel"))
    right, wrong = FEELINGS[side], FEELINGS[1 - side]
    accepted = tuple(" " + word for word in right)
    return Case(prompt, accepted[0], " " + wrong[0], {"accepted": accepted, "side": side})
