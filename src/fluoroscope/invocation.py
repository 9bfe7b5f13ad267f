"""How an analysis is asked for again: as a command line, and in Python."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from fluoroscope.signature import Parameter, Spec

DTYPES = ("float32", "bfloat16", "float16", "float64")
"""Precisions that a model can be asked for by name."""

_LINE = 120


def command(spec: Spec, arguments: Mapping[str, Any], *, model: str | None = None, dtype: str | None = None) -> str:
    """The command line, quoted for a POSIX shell; what is given as by default is left out.

    Args:
        model: name or path of the model; the command's own choice if not given.
        dtype: left out where no model can be asked for it by name, as with quantised weights.
    """
    given = list(_given(spec, arguments))
    options = [word for item, value in given if not positional(item) for word in _option(item, value)]
    options += [] if model is None else ["--model", model]
    options += ["--dtype", dtype] if dtype in DTYPES else []
    texts = [str(each) for item, value in given if positional(item) for each in _several(value)]
    words = [*options, "--", *texts] if any(text.startswith("-") for text in texts) else [*texts, *options]
    return " ".join(["fluoro", spec.command, *map(_quoted, words)])


def call(spec: Spec, arguments: Mapping[str, Any], *, line: int = _LINE) -> str:
    """The call, with a model of that name, on one line if it is short enough."""
    given = ["model", *(f"{item.name}={_literal(value)}" for item, value in _given(spec, arguments))]
    short = f"{spec.name}({', '.join(given)})"
    return short if len(short) <= line else "\n".join([f"{spec.name}(", *(f"    {part}," for part in given), ")"])


def script(spec: Spec, arguments: Mapping[str, Any], *, model: str, dtype: str) -> str:
    """All lines of Python that it takes, with the model loaded."""
    asked = f", dtype={_literal(dtype)}" if dtype in DTYPES else ""
    return "\n".join(
        [
            "import fluoroscope",
            f"from {spec.module} import {spec.name}",
            "",
            f"model = fluoroscope.load({_literal(model)}{asked})",
            f"result = {call(spec, arguments, line=_LINE - len('result = '))}",
        ]
    )


def positional(item: Parameter) -> bool:
    """Whether a command takes it by its place; the others are options."""
    return item.required and item.type != "bool"


def _given(spec: Spec, arguments: Mapping[str, Any]) -> Iterator[tuple[Parameter, Any]]:
    """What has to be said, required first."""
    for item in sorted(spec.parameters, key=lambda item: not item.required):
        value = arguments.get(item.name, item.default)
        if item.required or value != item.default:
            yield item, value


def _option(item: Parameter, value: Any) -> list[str]:
    name = item.name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [word for each in _several(value) for word in (f"--{name}", str(each))]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _quoted(word: str) -> str:
    """A word of a command line; what cannot be seen in it is written as bash and zsh read it in $'…'."""
    if word.isprintable():
        return shlex.quote(word)
    named = {"\n": "\\n", "\t": "\\t", "'": "\\'", "\\": "\\\\"}
    shown = (char if char.isprintable() else "".join(f"\\x{byte:02x}" for byte in char.encode()) for char in word)
    return f"$'{''.join(named.get(char, seen) for char, seen in zip(word, shown, strict=True))}'"


def _literal(value: Any) -> str:
    """A value as the formatter writes it: double quotes, unless it holds some; all of it can be seen."""
    if isinstance(value, str):
        return f'"{value}"' if value.isprintable() and not {'"', "\\"} & set(value) else repr(value)
    return f"[{', '.join(map(_literal, value))}]" if isinstance(value, list | tuple) else repr(value)
