"""The embedded models: small, trained by the project itself (`training/`), each with a card of what was measured."""

from pathlib import Path

from fluoroscope.errors import ArgumentError, nearest

NAMES = ("specimen", "specimen-llama")
"""The first is what `fluoroscope.load()` and every command use when no model is named."""


def folder(name: str = NAMES[0]) -> Path:
    """Where the weights, the tokenizer and the card of an embedded model lie."""
    if name not in NAMES:
        raise ArgumentError(f"no embedded model is called {name!r}", nearest(name, NAMES))
    return Path(__file__).parent / name


def card(name: str = NAMES[0]) -> str:
    """The card of an embedded model, as Markdown: data, recipe, accuracies, circuits, limits."""
    return (folder(name) / "card.md").read_text(encoding="utf8")
