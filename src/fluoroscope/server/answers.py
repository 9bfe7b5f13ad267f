"""Errors as clients read them: a word for programs, what happened, and what to do instead."""

import json

from starlette.responses import JSONResponse

from fluoroscope.errors import (
    ArgumentError,
    Cancelled,
    EditError,
    FluoroscopeError,
    LoadError,
    SiteError,
    TokenError,
    UnavailableError,
)

_KINDS: tuple[tuple[type[FluoroscopeError], str, int], ...] = (
    (Cancelled, "cancelled", 409), (TokenError, "tokens", 422), (SiteError, "site", 422), (EditError, "edit", 422),
    (UnavailableError, "unavailable", 422), (ArgumentError, "argument", 422), (LoadError, "model", 422),
)  # fmt: skip

_LONGEST = 1000  # letters


def body(error: str, message: str, hint: str = "") -> bytes:
    """The JSON of an error."""
    return json.dumps({"error": error, "message": message, "hint": hint}).encode()


def told(error: FluoroscopeError) -> tuple[int, dict[str, str]]:
    """HTTP status of an error, and what is said of it."""
    name, status = next(((name, status) for kind, name, status in _KINDS if isinstance(error, kind)), ("error", 422))
    if isinstance(error, Refused):
        name, status = error.name, error.status
    return status, {"error": name, "message": _brief(error.message), "hint": _brief(error.hint)}


def _brief(text: str) -> str:
    """What quotes a megabyte says no more by it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def response(error: FluoroscopeError) -> JSONResponse:
    """The HTTP answer to a request that cannot be answered."""
    status, content = told(error)
    return JSONResponse(content, status_code=status, headers={"retry-after": "1"} if status in (429, 503) else None)


class Refused(FluoroscopeError):
    """A request that this server does not take.

    Args:
        status: of HTTP.
        name: the word for programs.
    """

    def __init__(self, status: int, name: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status, self.name = status, name


def unforeseen(error: BaseException) -> Refused:
    """What is said of an exception that is no answer: out of memory, or a defect."""
    if isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error):
        return Refused(503, "memory", "there is not enough memory for this", "Ask for less at once.")
    return Refused(
        500, "defect", f"{type(error).__name__}: {error}", "This is a defect of Fluoroscope; please report it."
    )
