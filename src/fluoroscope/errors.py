"""One tree of errors; each says what was asked, why it cannot be, and what to do instead."""

import difflib
from collections.abc import Iterable


class FluoroscopeError(Exception):
    """A request that cannot be answered exactly.

    Args:
        message: what was asked and why it cannot be.
        hint: what to do instead; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class SiteError(FluoroscopeError):
    """The address names no site of any model."""


class UnavailableError(FluoroscopeError):
    """The site exists in the vocabulary, but this model (or this run) cannot give it exactly."""


class TokenError(FluoroscopeError):
    """A prompt that cannot be turned into tokens without guessing."""


class EditError(FluoroscopeError):
    """An intervention that cannot act, or that broke its contract."""


class LoadError(FluoroscopeError):
    """A model, tokenizer or adapter that cannot be loaded whole."""


class ArchitectureError(FluoroscopeError):
    """A module path or model type that no architecture file describes."""


class ArgumentError(FluoroscopeError):
    """A parameter outside of what the function accepts."""


class ArtifactError(FluoroscopeError):
    """A file that cannot be written whole, or that is damaged, foreign or of another version."""


class Cancelled(FluoroscopeError):
    """The listener asked to stop; the model is as it was.

    Args:
        partial: what was done before, of the kind that would have come, and which says what is missing; None where
            that is nothing.
    """

    def __init__(self, message: str, hint: str = "", partial: object = None) -> None:
        super().__init__(message, hint)
        self.partial = partial


def nearest(word: str, options: Iterable[str]) -> str:
    """The hint 'did you mean …?' with the option nearest to `word`, or a list of a few of them."""
    names = sorted(set(options))
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    return f"Known: {shown}." if names else ""
