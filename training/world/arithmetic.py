"""Sums, differences and products of small numbers, with and without steps."""

import random

from training.world.document import Case, Document
from training.world.split import held_out

SIGNS = {"+": "plus", "-": "minus", "x": "times"}
FORMS = (
    ("{a} {o} {b} = ", "{c}"),
    ("{a} {o} {b} = ", "{c}"),
    ("{a} {w} {b} is ", "{c}"),
    ("What is {a} {w} {b}? ", "{c}"),
    ("What is {a} {o} {b}? ", "{c}"),
    ("{a} {w} {b} equals ", "{c}"),
)


def value(sign: str, a: int, b: int) -> int:
    """a sign b."""
    return a + b if sign == "+" else a - b if sign == "-" else a * b


def kept(sign: str, a: int, b: int) -> bool:
    """Whether this calculation belongs to the tests; never one of the smallest, and no product."""
    if sign == "x" or max(a, b) < 6:
        return False
    key = sorted((a, b)) if sign == "+" else (a, b)
    return held_out(sign, *key, one_in=10)


def draw(rng: random.Random, sign: str, top: int) -> tuple[int, int]:
    """Two numbers whose result stays within 0 and `top` (products: factors 0 to 9)."""
    if sign == "x":
        return rng.randint(0, 9), rng.randint(0, 9)
    high, low = sorted((rng.randint(0, top), rng.randint(0, top)), reverse=True)
    return (high, low) if sign == "-" else rng.choice(((high - low, low), (low, high - low)))


def steps(sign: str, a: int, b: int) -> str:
    """The calculation over tens and ones."""
    c = value(sign, a, b)
    tens = b - b % 10
    half = value(sign, a, tens)
    return f"{a} {sign} {b}: {b} = {tens} + {b % 10}, {a} {sign} {tens} = {half}, {half} {sign} {b % 10} = {c}."


def _allowed(sign: str, a: int, b: int) -> bool:
    tens = b - b % 10
    parts = ((a, b), (a, tens), (value(sign, a, tens), b % 10), (tens, b % 10))
    return not any(kept(sign if i < 3 else "+", *part) for i, part in enumerate(parts))


def line(rng: random.Random) -> str:
    """One calculation of training."""
    sign = rng.choices("+-x", (45, 45, 10))[0]
    top = 40 if rng.random() < 0.3 else 99
    with_steps = sign != "x" and rng.random() < 0.12
    while True:
        a, b = draw(rng, sign, top)
        if with_steps and b > 9 and b % 10 and _allowed(sign, a, b):
            return steps(sign, a, b)
        if not with_steps and not kept(sign, a, b):
            question, answer = rng.choice(FORMS)
            return (question + answer + ".").format(a=a, b=b, o=sign, w=SIGNS[sign], c=value(sign, a, b))


def document(rng: random.Random) -> Document:
    """One to six calculations."""
    separator = "\n" if rng.random() < 0.2 else " "
    return Document(separator.join(line(rng) for _ in range(rng.randint(1, 6))), "arithmetic")


def case(rng: random.Random, sign: str, top: int) -> Case:
    """A calculation that training never saw (products are all known)."""
    while True:
        a, b = draw(rng, sign, top)
        if sign == "x" or kept(sign, a, b):
            question = rng.choice(FORMS)[0].format(a=a, b=b, o=sign, w=SIGNS[sign])
            return Case(question.rstrip(), f" {value(sign, a, b)}", info={"numbers": (a, b)})
