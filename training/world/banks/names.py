"""One hundred first names, and the pairs of them that training may use."""

import random

from training.world.split import held_out

WOMEN = tuple(
    "Mary Anna Emma Alice Sarah Laura Julia Lucy Grace Clara Rose Jane Kate Lily Ella Nora Ruth Helen Susan Linda "
    "Karen Lisa Nancy Betty Sandra Donna Carol Sharon Maria Diana Rachel Amy Megan Hannah Olivia Sophia Chloe Zoe "
    "Eva Irene Martha Judy Rita Tina Paula Wendy Vera Claire Emily Amanda".split()
)
MEN = tuple(
    "John Tom James Peter Paul Mark David Robert Michael William Richard Thomas Charles Daniel Matthew Anthony "
    "Steven Andrew Kevin Brian George Edward Henry Jack Simon Adam Eric Frank Scott Larry Justin Patrick Alex Jerry "
    "Tyler Aaron Nathan Carl Roger Keith Bruce Ralph Victor Martin Oscar Felix Hugo Max Leo Sam".split()
)
NAMES = WOMEN + MEN


def is_kept(one: str, other: str) -> bool:
    """Whether this pair of names belongs to the tests."""
    return held_out("names", *sorted((one, other)), one_in=8)


def pair(rng: random.Random, kept: bool = False) -> tuple[str, str]:
    """Two names, of training or of the tests."""
    while True:
        one, other = rng.sample(NAMES, 2)
        if is_kept(one, other) == kept:
            return one, other


def pronoun(name: str) -> str:
    """The pronoun of a subject of this name."""
    return "She" if name in WOMEN else "He"
