"""Prompt pairs whose answers are known, made for the tokenizer of a model or read from the field's files.

One file is one task: `VARIANTS`, the first of them the default, and a function `pairs(vocabulary, variant)` that yields
candidates, of which those that fit the tokenizer are kept.
"""

import ast
import importlib
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.tasks.files import read
from fluoroscope.tasks.pairs import Dataset, Pair
from fluoroscope.tasks.vocabulary import INSTEAD, Unfit, Vocabulary

if TYPE_CHECKING:
    from fluoroscope.model import Model

__all__ = ["Dataset", "Pair", "check_count", "make", "names", "read", "variants"]

_TRIES = 60
_MOST = 2048  # pairs whose runs are held at once; the intervals over so many are narrow


@cache
def _variants() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else None
            if isinstance(node, ast.Assign) and isinstance(target, ast.Name) and target.id == "VARIANTS":
                found[path.stem] = ast.literal_eval(node.value)
    return found


def names() -> tuple[str, ...]:
    """Every task, read from the folder without importing it."""
    return tuple(_variants())


def variants(name: str) -> tuple[str, ...]:
    """The variants of a task, the default one first.

    Raises:
        ArgumentError: there is no such task.
    """
    ours = name.replace("-", "_")
    if ours not in _variants():
        raise ArgumentError(f"unknown task {name!r}", nearest(ours, names()))
    return _variants()[ours]


def check_count(pairs: int) -> None:
    """Whether so many pairs can be analysed at once.

    Raises:
        ArgumentError: none, or so many that memory goes to runs which tell next to nothing more.
    """
    if not 1 <= pairs <= _MOST:
        raise ArgumentError(
            f"{pairs:,} pairs cannot be analysed at once", f"Ask for 1 to {_MOST:,}; ten give an interval."
        )


def make(name: str, model: "Model", n: int, seed: int = 0, variant: str | None = None) -> Dataset:
    """`n` different pairs of a task for the tokenizer of a model; fewer of the same seed are the first of them.

    Args:
        name: one of `names()`.
        model: prompts of a pair have as many tokens as one another, answers are single tokens of it.
        n: how many.
        seed: the pairs follow from it, the task, its variant and the tokenizer.
        variant: one of `variants(name)`; None takes the first.

    Raises:
        ArgumentError: unknown task or variant, or a tokenizer that has not the words for so many; it says which.
        TokenError: the model has no tokenizer.
    """
    known = variants(name)
    name = name.replace("-", "_")
    variant = known[0] if variant is None else variant
    if variant not in known:
        raise ArgumentError(f"{name} has no variant {variant!r}", nearest(variant, known))
    if n < 1:
        raise ArgumentError(f"{n} pairs were asked for", "Ask for one or more.")
    vocabulary = Vocabulary(model, f"{name} {variant} {seed}")
    module = importlib.import_module(f"{__name__}.{name}")
    found: dict[tuple[str, str, str], Pair] = {}
    reasons: list[str] = []
    for candidate in islice(module.pairs(vocabulary, variant), 200 + _TRIES * n):
        try:
            pair = vocabulary.fit(candidate)
        except Unfit as unfit:
            if unfit.whole:
                reasons = [unfit.reason]
            else:
                vocabulary.dropped[unfit.word] = unfit.reason
            continue
        found.setdefault((pair.clean, pair.corrupted, pair.answer), pair)
        if len(found) == n:
            return Dataset(name, tuple(found.values()), vocabulary.dropped)
    reasons += [vocabulary.why()] if vocabulary.dropped else []
    raise ArgumentError(
        f"{name} ({variant}) has {len(found)} different pairs for this tokenizer, {n} were asked for: "
        f"{'; '.join(reasons) or 'there are no more'}",
        f"Ask for at most {len(found)}." if found else INSTEAD,
    )
