"""Word problems of one to three steps, reasoned aloud to an answer."""

import random
from dataclasses import dataclass

from training.world import arithmetic
from training.world.banks import names
from training.world.document import Case, Document
from training.world.split import held_out

THINGS = tuple(
    "apples pears books coins cookies stones eggs cards balls shells pencils flowers stamps keys stars cups marbles "
    "oranges lemons toys".split()
)
GAINS = ("buys {b} more", "gets {b} more", "finds {b} more", "picks {b} more", "wins {b} more")
LOSSES = ("gives away {b}", "loses {b}", "sells {b}", "breaks {b}", "throws away {b}")
SHARES = ("{o} gives {h} {b} more", "{o} takes {b} of them")
STARTS = (
    "{n} has {a} {t}. ",
    "{n} has {a} {t}. ",
    "If {n} has {a} {t} and ",
    "There are {a} {t} on the table of {n}. ",
)
ORDINALS = ("First", "Then", "Finally")


@dataclass(frozen=True)
class Problem:
    """A beginning and its changes, each a sign, a number and a clause."""

    name: str
    thing: str
    start: int
    changes: tuple[tuple[str, int, str], ...]
    form: str

    @property
    def kept(self) -> bool:
        """Whether it belongs to the tests."""
        numbers = [number for _, number, _ in self.changes]
        return held_out("problem", self.thing, self.start, *numbers, one_in=6)

    @property
    def prompt(self) -> str:
        """The question."""
        clauses = [clause for _, _, clause in self.changes]
        pronoun = names.pronoun(self.name)
        text = self.form.format(n=self.name, a=self.start, t=self.thing)
        if text.startswith("If"):
            text += " and ".join(clauses)
            return f"{text}, how many {self.thing} does {pronoun.lower()} have?"
        subjects = [c if c.startswith(names.NAMES) else f"{pronoun} {c}" for c in clauses]
        return f"{text}{'. '.join(subjects)}. How many {self.thing} does {self.name} have now?"

    @property
    def answer(self) -> str:
        """The steps and the result."""
        value, steps = self.start, list[str]()
        for index, (sign, number, _) in enumerate(self.changes):
            result = arithmetic.value(sign, value, number)
            head = f"{ORDINALS[index]}, " if len(self.changes) > 1 else ""
            steps.append(f"{head}{value} {sign} {number} = {result}.")
            value = result
        return f" {' '.join(steps)} The answer is {value}."


def draw(rng: random.Random, kept: bool, length: int | None = None) -> Problem:
    """A problem of training or of the tests, made of calculations that training knows."""
    while True:
        name, other = names.pair(rng)
        form = rng.choice(STARTS)
        value = start = rng.randint(1, 40)
        changes = list[tuple[str, int, str]]()
        for _ in range(length or rng.choice((1, 2, 2, 3))):
            sign = rng.choice("+-") if value else "+"
            number = rng.randint(1, min(20, value) if sign == "-" else min(20, 99 - value))
            if arithmetic.kept(sign, value, number):
                break
            clause = rng.choice(GAINS if sign == "+" else LOSSES)
            if not form.startswith("If") and rng.random() < 0.25:
                clause = SHARES[sign == "-"]
            him = "her" if name in names.WOMEN else "him"
            changes.append((sign, number, clause.format(b=number, o=other, h=him)))
            value = arithmetic.value(sign, value, number)
        else:
            problem = Problem(name, rng.choice(THINGS), start, tuple(changes), form)
            if problem.kept == kept:
                return problem


def document(rng: random.Random) -> Document:
    """A problem with its solution."""
    problem = draw(rng, False)
    wrapped = rng.random()
    if wrapped < 0.1:
        return Document(f"Question: {problem.prompt} Answer:{problem.answer}", "problems")
    if wrapped < 0.2:
        return Document(f"User: {problem.prompt}\nAssistant:{problem.answer}", "problems")
    return Document(problem.prompt + problem.answer, "problems")


def case(rng: random.Random, length: int) -> Case:
    """A problem whose numbers and things training never saw together; the whole solution is the answer."""
    problem = draw(rng, True, length)
    return Case(problem.prompt, problem.answer, info={"steps": length})
