"""JSON that says what was meant: finite numbers, no key twice, nothing changed in silence, or an error."""

import json
import math
from typing import Any, NoReturn, cast

from fluoroscope.errors import ArtifactError


class NotJson(ValueError):
    """Why something is not the JSON that we read."""


def dump(value: Any, indent: int | None = None, what: str = "value") -> str:
    """A value as JSON that `load` gives back; `what` it is called in errors.

    Raises:
        ArtifactError: NaN or infinity, keys that are no strings, other types, or nesting without end.
    """
    try:
        _check_json(value, what)
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent)
        text.encode("utf8")
    except RecursionError as error:
        raise ArtifactError("the value is nested too deeply for JSON, or holds itself") from error
    except ValueError as error:  # lone surrogates, or an integer of thousands of digits
        raise ArtifactError(f"the value cannot be written as JSON: {error}") from error
    return text


def _check_json(value: Any, where: str) -> None:
    """Refuses what json.dumps would change in silence, and says where it is."""
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            if not isinstance(key, str):
                raise ArtifactError(f"{where} has the key {key!r}, and JSON has only strings", "Make it a string.")
            _check_json(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("list[Any]", value)):
            _check_json(item, f"{where}[{index}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ArtifactError(
                f"{where} is {value!r}, which JSON does not have", "Write None where there is no number."
            )
    elif value is not None and not isinstance(value, str | int):
        raise ArtifactError(f"{where} is a {type(value).__name__}, which JSON does not have", "Convert it first.")


def load(data: bytes | str) -> Any:
    """The value of JSON, as text or in UTF-8.

    Raises:
        NotJson: it is anything else, holds a key twice, or a number that is not finite.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise NotJson("it is nested too deeply") from error
    except ValueError as error:  # of UTF-8, of JSON, of our own hooks, or an integer of thousands of digits
        raise NotJson(str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise NotJson(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _refuse_constant(text: str) -> NoReturn:
    raise NotJson(f"it holds {text}")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise NotJson(f"the number {text} is out of range")
    return value
