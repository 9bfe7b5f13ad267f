r"""Sums, differences and products in a text: what is to be calculated, and where its numbers stand.

The rule: the last calculation of the text counts, and nothing that solves it may follow. A calculation is whole number,
operator, whole number, with signs and thousands commas; the operators are + - − × * x, plus, minus, times, multiplied
by. Two numbers tied by a hyphen or a dash without spaces (2022-2023, 3-4) are a range or a date, unless = follows.
Nothing is evaluated but these three operators; longer calculations, decimals, brackets and divisions are refused.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from fluoroscope.errors import ArgumentError

Operator = Literal["+", "-", "*"]
Side = Literal["left", "right"]

SIDES: tuple[Side, Side] = ("left", "right")

_NUMBER = r"(?<![\w.,])(?<!\d:)(?<![^\W\d]-)(?:\d{1,3}(?:,\d{3})+|\d+)(?!\w|[.,:]\d)"
_TOKENS = re.compile(
    rf"(?P<decimal>\d[\d,]*\.\d+)|(?P<number>{_NUMBER})"
    r"|(?P<other>\*\*|[/÷^%]|\bdivided by\b|\bto the power of\b|\bmodulo\b)"
    r"|(?P<plus>\+|\bplus\b)|(?P<minus>−|\bminus\b)|(?P<hyphen>[-‐‑‒–])|(?P<times>[×*⋅]|\btimes\b|\bmultiplied by\b)"
    r"|(?P<bracket>[()\[\]])|(?P<equals>=|\bequals\b|\bis\b|\bmakes\b)|(?P<word>[^\W\d]+|\d\w*|[^\w\s])",
    re.IGNORECASE,
)
_TIMES_X = re.compile(r"(?<=\d)(\s*)[xX](?=\s*[-+−]?\d)")
_SIGNS: dict[str, Operator] = {"plus": "+", "minus": "-", "hyphen": "-", "times": "*"}
_PARTS = {"number", "decimal", "other", "bracket", *_SIGNS}
_TRIES = 400


@dataclass(frozen=True)
class Operand:
    """A whole number in a text, and the characters [start, end) that write it, a sign included."""

    value: int
    start: int
    end: int


@dataclass(frozen=True)
class Calculation:
    """What a text asks for.

    Args:
        text: the whole text.
        operator: between the operands, as +, - or *.
    """

    text: str
    left: Operand
    operator: Operator
    right: Operand

    @property
    def result(self) -> int:
        return calculate(self.left.value, self.operator, self.right.value)

    def __str__(self) -> str:
        sign = {"+": "+", "-": "−", "*": "×"}[self.operator]
        return f"{self.left.value} {sign} {self.right.value}"

    def operand(self, side: Side) -> Operand:
        return self.left if side == "left" else self.right

    def swapped(self, side: Side, size: int) -> "Calculation":
        """The same text with another number for one operand, of the same sign and written as the old one was."""
        old, other = self.operand(side), self.operand("right" if side == "left" else "left")
        before = self.text[old.start : old.end]
        sign = before[: len(before) - len(before.lstrip("+-−"))]
        written = sign + (f"{size:,}" if "," in before else str(size))
        shift = len(written) - len(before)
        new = Operand(-size if old.value < 0 else size, old.start, old.end + shift)
        moved = shift if other.start > old.start else 0
        kept = Operand(other.value, other.start + moved, other.end + moved)
        left, right = (new, kept) if side == "left" else (kept, new)
        text = self.text[: old.start] + written + self.text[old.end :]
        return Calculation(text, left, self.operator, right)


def calculate(left: int, operator: Operator, right: int) -> int:
    """left operator right."""
    return left + right if operator == "+" else left - right if operator == "-" else left * right


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int
    sign: int = 1

    @property
    def operand(self) -> Operand:
        digits = self.text.lstrip("+-−").replace(",", "")
        return Operand(self.sign * int(digits), self.start, self.end)


def parse(text: str) -> Calculation:
    """The calculation that a text asks for.

    Raises:
        ArgumentError: there is none, it is solved already, or it is none of the supported ones.
    """
    tokens = [*_signed(_scan(text))]
    runs = [run for run in _runs(text, tokens) if _asks(run, tokens)]
    if not runs:
        raise ArgumentError(
            f"no calculation is to be found in {text!r}", "Write one, such as '23 + 45 ='; a range like 3-4 is none."
        )
    run = runs[-1]
    written = text[run[0].start : run[-1].end]
    if len(run) == 5 and (run[0].text, run[-1].text) == ("(", ")"):
        run = run[1:-1]
    if len(run) != 3 or (run[0].kind, run[2].kind) != ("number", "number") or run[1].kind not in _SIGNS:
        raise ArgumentError(
            f"{written!r} is not just two whole numbers with +, - or × between them",
            "Longer calculations, decimals, divisions and brackets are not read.",
        )
    if _solved(run, tokens):
        raise ArgumentError(f"the answer to {written!r} stands in the text already", "End the text before it.")
    left, sign, right = run
    return Calculation(text, left.operand, _SIGNS[sign.kind], right.operand)


def locate(text: str, expression: str) -> Calculation:
    """The calculation of `expression` about numbers of a text that does not write it out, as word problems do.

    Each number is found where the text has it last; a number that is both operands, at its last two places.

    Raises:
        ArgumentError: `expression` is no single calculation, or the text does not hold its numbers.
    """
    asked = parse(expression)
    places = [token.operand for token in _signed(_scan(text)) if token.kind == "number"]
    found: dict[Side, Operand] = {}
    for side in ("right", "left"):
        value = asked.operand(side).value
        fitting = [place for place in places if place.value == value and place not in found.values()]
        if not fitting:
            raise ArgumentError(f"{text!r} does not hold the number {value} of {expression!r}", "Name numbers of it.")
        found[side] = fitting[-1]
    return Calculation(text, found["left"], asked.operator, found["right"])


def others(calculation: Calculation, side: Side, seed: int) -> Iterator[Calculation]:
    """The calculation with another number in one place: as many digits, a result that differs and has as many digits.

    In an order that the seed decides, from at most some hundreds that it draws.
    """
    old = calculation.operand(side)
    digits = len(str(abs(old.value)))
    span = range(10 ** (digits - 1) if digits > 1 else 0, 10**digits)
    generator = random.Random(seed)  # noqa: S311
    for size in generator.sample(span, min(_TRIES, len(span))):
        new = calculation.swapped(side, size)
        results = str(new.result), str(calculation.result)
        alike = len(results[0]) == len(results[1]) and (new.result < 0) == (calculation.result < 0)
        if alike and new.result != calculation.result:
            yield new


def leading_number(text: str) -> int | None:
    """The whole number that a continuation begins with, None if it begins with anything else."""
    found = re.match(r"\s*([-−]?)((?:\d{1,3}(?:,\d{3})+|\d+))(?![\d])(?!\.\d)", text)
    return None if found is None else int(found[2].replace(",", "")) * (-1 if found[1] else 1)


def _scan(text: str) -> Iterator[_Token]:
    # Between digits, x is a sign: blanks keep every character in its place.
    plain = _TIMES_X.sub(lambda match: f"{match[1]}*", text)
    for match in _TOKENS.finditer(plain):
        yield _Token(match.lastgroup or "", match[0], match.start(), match.end())


def _signed(tokens: Iterator[_Token]) -> Iterator[_Token]:
    """Takes a sign and the number right behind it together, where no number stands before it."""
    before: _Token | None = None
    sign: _Token | None = None
    for token in tokens:
        if sign is not None:
            if token.kind == "number" and token.start == sign.end:
                negative = -1 if sign.kind != "plus" else 1
                token = _Token("number", sign.text + token.text, sign.start, token.end, negative)  # noqa: PLW2901
            else:
                yield sign
            sign = None
        elif _may_sign(token, before):
            sign = token
            continue
        yield token
        before = token
    if sign is not None:
        yield sign


def _may_sign(token: _Token, before: _Token | None) -> bool:
    if token.text not in ("+", "-", "−"):
        return False
    if before is None or before.kind in ("plus", "minus", "hyphen", "times", "other", "equals"):
        return True
    apart = before.kind == "word" and before.end < token.start
    return apart or (before.kind == "bracket" and before.text in "([")


def _runs(text: str, tokens: list[_Token]) -> Iterator[list[_Token]]:
    """The stretches of numbers, operators and brackets; a dash that opens a line belongs to none."""
    run: list[_Token] = []
    for token in tokens:
        opens_line = not run and token.kind == "hyphen" and not text[: token.start].rpartition("\n")[2].strip()
        if token.kind in _PARTS and not opens_line:
            run.append(token)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _asks(run: list[_Token], tokens: list[_Token]) -> bool:
    """Whether a stretch calculates: it has an operator between numbers, and is not a mere range or date."""
    operators = [token for token in run if token.kind in ("other", *_SIGNS)]
    numbers = [token for token in run if token.kind in ("number", "decimal")]
    if not operators or len(numbers) < 2:
        return False
    after = next((token for token in tokens if token.start >= run[-1].end), None)
    follows = after is not None and after.kind == "equals" and after.text == "="
    return follows or not all(_ties(token, run) for token in operators)


def _ties(token: _Token, run: list[_Token]) -> bool:
    """Whether a hyphen or slash stands right between its neighbours, as in 2022-2023 and 12/05."""
    index = run.index(token)
    if token.kind not in ("hyphen", "other") or not 0 < index < len(run) - 1:
        return False
    return run[index - 1].end == token.start and run[index + 1].start == token.end


def _solved(run: list[_Token], tokens: list[_Token]) -> bool:
    """Whether an equals sign and a number follow."""
    after = [token for token in tokens if token.start >= run[-1].end]
    return len(after) > 1 and after[0].kind == "equals" and after[1].kind in ("number", "decimal")
