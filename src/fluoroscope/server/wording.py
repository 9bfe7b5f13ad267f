"""From JSON to requests, and from results to JSON, within the server's limits."""

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from fluoroscope import strict_json
from fluoroscope.server.answers import Refused

if TYPE_CHECKING:
    from fluoroscope.result import Result

B = TypeVar("B", bound=BaseModel)


def parsed(text: str | bytes | None) -> dict[str, Any]:
    """The object in a message.

    Raises:
        Refused: it is no text, no JSON or no object.
    """
    if text is None:
        raise Refused(400, "message", "a message that is no text", "Send JSON.")
    try:
        message = strict_json.load(text)
    except strict_json.NotJson as error:
        raise Refused(400, "message", f"no JSON: {error}", 'Send an object, such as {"prompt": "…"}.') from error
    if not isinstance(message, dict):
        raise Refused(400, "message", "JSON that is no object", 'Send an object, such as {"prompt": "…"}.')
    return message


def read(kind: Any, given: dict[str, Any], status: int = 422) -> Any:
    """An object as one of ours: a class of pydantic's, or a union of some.

    Raises:
        Refused: a field that is missing, unknown or of another type.
    """
    try:
        return TypeAdapter(kind).validate_python(given, strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
        raise Refused(status, "argument" if status == 422 else "message", wrong, "See /openapi.json.") from error


def shown(result: "Result") -> dict[str, Any]:
    """A result as a page shows it: sentence, views and numbers, which say how to ask again; and the whole graph where
    a view has a part of it."""
    views, network = result.views(), result.network()
    return {
        "title": result.title(),
        "summary": result.summary(),
        "views": [view.model_dump(mode="json") for view in views],
        "result": json.loads(result.to_json()),
        "network": None if network is None or network in views else network.model_dump(mode="json"),
    }


def written(message: dict[str, Any], most: int) -> str:
    """A message as JSON.

    Raises:
        Refused: it would have more bytes than `most`.
    """
    text = json.dumps(message, allow_nan=False)  # in ASCII, so that its length is its bytes
    if len(text) > most:
        raise Refused(413, "large", f"an answer of {len(text):,} bytes, {most:,} at most", "Ask for less at once.")
    return text


def token_count(result: "Result") -> int:
    """The tokens of all prompts that a result has read."""
    return sum(map(len, result.recipe.tokens))
