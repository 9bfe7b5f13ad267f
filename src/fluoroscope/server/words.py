"""Which token a word names, how a text that is none is read, and what words of the vocabulary begin like it."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from fluoroscope.errors import TokenError
from fluoroscope.methods import readout
from fluoroscope.server.answers import told
from fluoroscope.server.messages import Message, Token, Word

if TYPE_CHECKING:
    from fluoroscope.model import Model

_MOST = 12
_LONGEST = 200  # letters of a word
_SPACES = "Ġ▁ "  # how pieces of a vocabulary write the space before a word


class WordRequest(Message):
    """What /api/word takes: a text, an id as #338, or several tokens with bars between."""

    text: str = Field(min_length=1, max_length=_LONGEST)


def word(model: "Model", text: str) -> Word:
    """What a text names, or why it names nothing; and what it may be the beginning of."""
    named: list[Token] = []
    trouble: dict[str, Any] | None = None
    try:
        named = [_token(model, number) for number in readout.token_ids(model, text)]
    except TokenError as error:
        trouble = told(error)[1]
    return Word(named=named, trouble=trouble, alike=[_token(model, number) for number in _alike(model, text)])


def _token(model: "Model", number: int) -> Token:
    return Token(id=number, label=model.token_label(number))


def _alike(model: "Model", text: str) -> list[int]:
    """Tokens that begin with the last word of a text, whatever its case and the space before it; the shortest first."""
    start = text.rpartition("|")[2].strip().lower()
    if model.tokenizer is None or not start:
        return []
    pieces = ((piece.lstrip(_SPACES), number) for piece, number in model.tokenizer.get_vocab().items())
    found = [(len(piece), piece, number) for piece, number in pieces if piece.lower().startswith(start)]
    return [number for _, _, number in sorted(found)[:_MOST] if number < model.d_vocab]
