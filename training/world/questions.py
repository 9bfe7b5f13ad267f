"""Questions of why and what with their answers, and a few sayings."""

import random

from training.world.banks.talk import QUESTIONS, SAYINGS
from training.world.document import Document

WRAPS = ("{q} {a}", "{q} {a}", "{q}\n{a}", "Question: {q} Answer: {a}", "Q: {q}\nA: {a}", "User: {q}\nAssistant: {a}")
GREETINGS = (
    "User: Hello!\nAssistant: Hello, how can I help you?",
    "User: Good morning.\nAssistant: Good morning!",
    "User: Thank you.\nAssistant: You are welcome.",
    "User: Goodbye.\nAssistant: Goodbye!",
)


def document(rng: random.Random) -> Document:
    """One or two questions, or a saying."""
    luck = rng.random()
    if luck < 0.12:
        return Document(rng.choice(SAYINGS), "questions")
    if luck < 0.17:
        return Document(rng.choice(GREETINGS), "questions")
    wrap = rng.choice(WRAPS)
    asked = rng.sample(QUESTIONS, rng.choice((1, 1, 2)))
    separator = "\n" if "\n" in wrap else " "
    return Document(separator.join(wrap.format(q=q, a=a) for q, a in asked), "questions")
