"""What a tokenizer makes of words, and whether a pair of prompts fits it; what does not is kept with the reason."""

import random
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from fluoroscope import pieces
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.pieces import short
from fluoroscope.tasks.pairs import Pair

if TYPE_CHECKING:
    from fluoroscope.model import Model

INSTEAD = "Take a model whose tokenizer has these as whole words, or read pairs of your own (tasks.read)."

_WORD, _CHARACTER = re.compile(r" [A-Za-z]{2,}"), re.compile(r"[A-Za-z]")


class Unfit(Exception):
    """A word or a pair that the tokenizer does not have.

    Args:
        word: what does not fit.
        reason: why not.
        whole: whether it is the pair, and no word of it.
    """

    def __init__(self, word: str, reason: str, whole: bool = False) -> None:
        super().__init__(reason)
        self.word = word
        self.reason = reason
        self.whole = whole


class Vocabulary:
    """The words of a model for one set of pairs, drawn by one seed.

    Args:
        model: its tokenizer and the length of its context count.
        seed: the draws follow from it alone.

    Raises:
        TokenError: the model has no tokenizer.
    """

    def __init__(self, model: "Model", seed: str) -> None:
        if model.tokenizer is None:
            raise TokenError("prompts are texts, and this model has no tokenizer", "Load the model with one.")
        self.tokenizer = model.tokenizer
        self.n_ctx = model.n_ctx
        self.d_vocab = model.d_vocab
        self.rng = random.Random(seed)  # noqa: S311 — drawing prompts needs no secret
        self.dropped: dict[str, str] = {}
        self.ids = lru_cache(maxsize=4096)(self._ids)
        self._found = lru_cache(maxsize=4096)(self._id)

    def _ids(self, text: str) -> tuple[int, ...]:
        """The ids of a text, without what the tokenizer puts around it."""
        return tuple(pieces.ids_of(text, self.tokenizer, special=False))

    def id(self, text: str) -> int:
        """The id of a text of one token.

        Raises:
            Unfit: it is none, or one that the model has no logit for.
        """
        found = self._found(text)
        if isinstance(found, str):
            raise Unfit(text, found)
        return found

    def _id(self, text: str) -> int | str:
        try:
            number = pieces.single_token(text, self.tokenizer)
        except TokenError as error:
            return error.message
        return number if number < self.d_vocab else f"{text!r} is token {number}, which this model has no logit for"

    def has(self, text: str) -> bool:
        """Whether a text is one token."""
        return isinstance(self._found(text), int)

    def single(self, words: Iterable[str], what: str, least: int = 2, before: str = " ") -> list[str]:
        """Those of the words that are one token inside of a sentence; the others are dropped.

        Raises:
            ArgumentError: fewer than `least` of them are.
        """
        kept: list[str] = []
        for word in dict.fromkeys(words):
            try:
                self.id(before + word)
                kept.append(word)
            except Unfit as unfit:
                self.dropped[before + word] = unfit.reason
        if len(kept) < least:
            raise ArgumentError(
                f"{least} {what} of one token each are needed, and this tokenizer has {len(kept)}: {self.why()}",
                INSTEAD,
            )
        return kept

    def alike(self, groups: Iterable[tuple[str, ...]], what: str, least: int = 1) -> list[tuple[str, ...]]:
        """Those groups of words that are as many tokens each inside of a sentence; the others are dropped.

        Raises:
            ArgumentError: fewer than `least` of them are.
        """
        kept: list[tuple[str, ...]] = []
        for group in groups:
            counts = [len(self.ids(f"a {word}")) for word in group]
            if len(set(counts)) == 1:
                kept.append(group)
            else:
                shown = " and ".join(repr(f" {word}") for word in group)
                self.dropped[f" {group[0]}"] = f"{shown} are {' and '.join(map(str, counts))} tokens behind 'a'"
        if len(kept) < least:
            raise ArgumentError(f"{least} {what} of equal length are needed: {self.why()}", INSTEAD)
        return kept

    def why(self, most: int = 5) -> str:
        """What was dropped last, with the reasons, for a message."""
        shown = list(self.dropped.values())[-most:]
        more = len(self.dropped) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "") if shown else "nothing was dropped"

    def random_tokens(self, count: int) -> list[str]:
        """Different tokens drawn from the whole vocabulary: words with a space before, or letters where there are none.

        Raises:
            ArgumentError: it has not as many of either.
        """
        ids = self.rng.sample(range(min(len(self.tokenizer), self.d_vocab)), min(len(self.tokenizer), self.d_vocab))
        for kind in (_WORD, _CHARACTER):
            found: dict[str, None] = {}
            for number in ids[:20_000]:
                if (raw := pieces.raw_piece(number, self.tokenizer)) is None or not any(map(str.isalpha, raw)):
                    continue
                text = pieces.label(number, self.tokenizer)
                if kind.fullmatch(text) and self.ids("a" + text)[-1:] == (number,):
                    found[text] = None
                if len(found) == count:
                    return list(found)
        raise ArgumentError(f"this tokenizer has no {count} words and no {count} letters of one token", INSTEAD)

    # ── pairs

    def fit(self, pair: Pair) -> Pair:
        """The pair if it fits; where a tokenizer sets the space before an answer apart, it moves into the prompts.

        Raises:
            Unfit: prompts of different token counts or beyond the context, or an answer that is no single token there.
        """
        try:
            self._check(pair)
        except Unfit:
            if not (pair.answer[:1] == pair.foil[:1] == " ") or "|" in pair.answer + pair.foil:
                raise
            clean, corrupted = pair.clean + " ", pair.corrupted + " "
            apart = replace(pair, clean=clean, corrupted=corrupted, answer=pair.answer[1:], foil=pair.foil[1:])
            if self._fits(apart):
                return apart
            raise
        return pair

    def _fits(self, pair: Pair) -> bool:
        try:
            self._check(pair)
        except Unfit:
            return False
        return True

    def _check(self, pair: Pair) -> None:
        if self.answers(pair.clean, pair.answer) & self.answers(pair.clean, pair.foil):
            raise Unfit(pair.answer, f"answer {pair.answer!r} and foil {pair.foil!r} share a token")
        for prompt in (pair.clean, pair.corrupted):
            if (lost := self.lost(prompt)) is not None:
                raise Unfit(prompt, f"{short(prompt)} reads {short(lost)} to this tokenizer", True)
        one, other = len(self.ids(pair.clean)), len(self.ids(pair.corrupted))
        if one != other:
            raise Unfit(
                pair.clean, f"{short(pair.clean)} and {short(pair.corrupted)} are {one} and {other} tokens", True
            )
        if self.ids(pair.clean) == self.ids(pair.corrupted):
            raise Unfit(pair.clean, f"both prompts are {short(pair.clean)}", True)
        if self.n_ctx is not None and one >= self.n_ctx:
            raise Unfit(pair.clean, f"{short(pair.clean)} is {one} tokens, the context holds {self.n_ctx}", True)

    def lost(self, text: str) -> str | None:
        """What the tokenizer makes of a text that holds something unknown to it; case and spaces do not count."""
        read = pieces.decode(self.ids(text), self.tokenizer)
        return None if _letters(read) == _letters(text) else read

    def answers(self, prompt: str, text: str) -> set[int]:
        """The ids of an answer or of a set; one alone has to be the token with which the tokenizer would go on.

        Raises:
            Unfit: one of them is no single token, or another one there.
        """
        found = {self.id(part) for part in text.split("|")}
        if "|" not in text and self.ids(prompt + text) != (*self.ids(prompt), *found):
            raise Unfit(text, f"{text!r} is no token of its own behind {short(prompt)}")
        return found


def _letters(text: str) -> str:
    return "".join(text.casefold().split())
