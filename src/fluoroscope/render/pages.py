"""What is bundled of the lab's page for files and notebooks, and data that a page carries without running it."""

from functools import cache
from pathlib import Path

STATIC = Path(__file__).parents[1] / "server" / "static"


@cache
def bundle(name: str) -> str | None:
    """A script by its name; None in an installation without the page (`FLUOROSCOPE_WEB=skip`)."""
    path = STATIC / name
    return path.read_text(encoding="utf8") if path.is_file() else None


def inert(text: str) -> str:
    """JSON as it may stand in a script element: no text in it can end the element, or open another."""
    return text.replace("<", "\\u003c")
