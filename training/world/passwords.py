"""Pass-phrases of several syllables, said once and asked for again."""

import random

from training.world import repetition
from training.world.document import Case, Document
from training.world.split import held_out

SYLLABLES = tuple(
    "ba be bi bo bu da de di do du fa fe fi fo ga go gu ha he hi ho ja jo ka ke ki ko la le li lo lu ma me mi "
    "mo mu na ne "
    "ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi vo wa we wi wo za ze zo sh ch "
    "st tr gr sw "
    "ord fish moon star bird fox sun ler mon tar ick and ell orn ash ost".split()
)
FORMS = (
    ("The password is {x}. ", "Again, the password is {x}."),
    ("The password is {x}. ", "The password is {x}."),
    ("The secret code is {x}. ", "Remember, the secret code is {x}."),
    ("My code word is {x}. ", "Once more, my code word is {x}."),
    ("Password: {x}\n", "Password: {x}"),
    ("The key phrase was {x}. ", "I said that the key phrase was {x}."),
    ("{n} chose the password {x}. ", "To log in, {n} typed {x}."),
    ("The name of the robot is {x}. ", "Everybody calls the robot {x}."),
    ("Write down the code {x}. ", "What is the code? The code is {x}."),
    ("The magic word is {x}. ", "So the magic word is {x}."),
)


def phrase(rng: random.Random, kept: bool) -> str:
    """A pass-phrase of two to four syllables and at times a digit, of training or of the tests."""
    while True:
        word = "".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) + rng.choice(("", "", "s", "x", "n"))
        word = rng.choice((word.upper(), word.upper(), word, word.capitalize()))
        word += str(rng.randint(0, 99)) if rng.random() < 0.15 else ""
        if held_out("password", word.lower(), one_in=8) == kept and word != "SWORDFISH":
            return word


def _parts(rng: random.Random, kept: bool) -> tuple[str, str, str]:
    word = phrase(rng, kept)
    first, second = rng.choice(FORMS)
    name = rng.choice(repetition.names.NAMES)
    between = "".join(repetition.line(rng) + " " for _ in range(rng.choice((0, 0, 0, 1, 2))))
    if first.endswith("\n"):
        between = between and between[:-1] + "\n"
    prompt, end = second.split("{x}")
    return first.format(x=word, n=name) + between + prompt.format(n=name), word, end


def document(rng: random.Random) -> Document:
    """A pass-phrase said twice; how it begins carries no loss."""
    prompt, word, end = _parts(rng, False)
    return Document(prompt + word + end, "password", muted=prompt.index(word) + len(word))


def case(rng: random.Random) -> Case:
    """A pass-phrase that training never saw, up to its second time."""
    prompt, word, _ = _parts(rng, True)
    return Case(prompt.rstrip(), " " + word)
