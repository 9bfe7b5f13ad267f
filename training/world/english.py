"""The little grammar that templates cannot know."""

import re

_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeiou]\w)")


def articles(text: str) -> str:
    """`an` where `a` stands before a vowel."""
    return _BEFORE_VOWEL.sub(r"\1n ", text)
