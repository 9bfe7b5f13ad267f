"""What an analysis is asked for, checked on entry against its specification: by name, and where Python calls it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral
from pathlib import Path
from reprlib import repr as short
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec, TypeVar, cast, get_args

from fluoroscope.aliases import metric_name
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.progress import telling
from fluoroscope.signature import MetricName, Parameter, Spec, read

if TYPE_CHECKING:
    from pydantic import BaseModel

P = ParamSpec("P")
R = TypeVar("R")

_WORDS = {
    "str": "text", "int": "an integer", "float": "a number", "bool": "True or False", "list[str]": "a list of texts",
    "list[int]": "a list of integers",
}  # fmt: skip
_FORMS = {"prompt": "text, token ids, Tokens or a chat", "token": "text or token ids", "metric": "text or a function"}
_LARGEST = 1 << 63


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """An analysis whose arguments are checked before it runs, as every surface checks them.

    Python may give integers and lists of other kinds (numpy, tuples, ranges), and the forms that `signature.FORMS`
    names. Gradients can be had inside, whatever mode the caller is in.

    Raises:
        ArgumentError: no model, an unknown or missing parameter, or a value that is none of its parameter.
    """
    every = inspect.signature(function).parameters.values()
    placed = [item.name for item in every if item.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]

    @wraps(function)
    def call(*args: Any, **keywords: Any) -> R:
        import torch

        from fluoroscope.model import Model

        spec = _spec(function.__module__, function.__name__, inspect.unwrap(function).__code__.co_filename)
        named = _named(spec, placed, args, keywords)
        model = named.pop("model", None)
        given = check(spec, named, python=True)
        if not isinstance(model, Model):
            raise ArgumentError(
                f"{spec.name} takes a model first, not {short(model)}", "fluoroscope.load(…) gives one."
            )
        own = telling(lambda found: found if type(found).__name__ == spec.result else None)  # no step's, no method's
        with torch.inference_mode(mode=False), torch.enable_grad(), own:
            return cast("Callable[..., R]", function)(model, **given)

    return call


def check(spec: Spec, keywords: Mapping[str, Any], *, python: bool = False) -> dict[str, Any]:
    """The keywords, completed by the defaults, once each is what the specification asks for.

    Args:
        python: whether the other forms that only Python has are taken, too.

    Raises:
        ArgumentError: an unknown or missing keyword, or a value that is none of its parameter.
    """
    from pydantic import ValidationError

    items = {parameter.name: parameter for parameter in spec.parameters}
    for keyword in keywords:
        if keyword not in items:
            raise ArgumentError(f"{spec.command} has no parameter {keyword!r}", nearest(keyword, items))
    missing = [repr(item.name) for item in spec.parameters if item.required and item.name not in keywords]
    if missing:
        raise ArgumentError(f"{spec.command} needs {', '.join(missing)}")
    plain, other = dict(keywords), dict[str, Any]()
    for name, value in keywords.items():
        if python and _is_other(items[name], value):
            other[name], plain[name] = value, next(iter(items[name].choices), "")
        else:
            plain[name] = _plain(items[name], value) if python else renamed(name, value)
    try:
        return _validator(_Key(spec)).model_validate(plain).model_dump(by_alias=True) | other
    except ValidationError as error:
        found = [(items[str(each["loc"][0])], each["msg"], each["input"]) for each in error.errors()]
        wrong = "; ".join(dict.fromkeys(f"{item.name}: {told} ({short(value)})" for item, told, value in found))
        first = next(iter({item.name: (item, keywords[item.name]) for item, _, _ in found}.values()))
        raise ArgumentError(f"{spec.command} cannot take {wrong}", _instead(*first, python=python)) from error


def schema(spec: Spec) -> dict[str, Any]:
    """JSON schema of the parameters, without the model."""
    return _validator(_Key(spec)).model_json_schema()


@cache
def _spec(module: str, name: str, file: str) -> Spec:
    """That of a function, as the registry reads it; whose folder it lies in plays no part here."""
    return read(Path(file), module, "plugin")


def _named(spec: Spec, placed: Sequence[str], args: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments by name."""
    if len(args) > len(placed):
        raise ArgumentError(
            f"{spec.name} takes {len(placed)} arguments by place ({', '.join(placed)}), not {len(args)}",
            "Name the others.",
        )
    found = dict(zip(placed, args, strict=False))
    twice = [name for name in found if name in keywords]
    if twice:
        raise ArgumentError(f"{spec.name} is given {twice[0]!r} twice, by place and by name", "Give it once.")
    return {**found, **keywords}


def _is_other(item: Parameter, value: Any) -> bool:
    """Whether it is one of the forms that only Python has; a prompt's are judged where it becomes tokens."""
    if item.form is None or isinstance(value, str) or value is None:
        return False
    if item.form == "metric":
        return callable(value)
    if item.form == "prompt":
        return not isinstance(value, bool | int | float | Mapping)
    return _is_id(value) or (isinstance(value, list | tuple) and bool(value) and all(map(_is_id, value)))


def _is_id(value: object) -> bool:
    return isinstance(value, int | Integral) and not isinstance(value, bool)


def _plain(item: Parameter, value: Any) -> Any:
    """What numpy, torch and tuples say, in the words of JSON."""
    many = item.type.startswith("list")
    if hasattr(value, "tolist") and getattr(value, "ndim", None) == many:
        value = value.tolist()
    if many and isinstance(value, tuple | range | list):
        inner = cast("Sequence[Any]", value)
        value = [each.tolist() if getattr(each, "ndim", None) == 0 else each for each in inner]
    return renamed(item.name, value)


def renamed(name: str, value: Any) -> Any:
    """The value of a parameter of this name: another tool's name of a metric as ours."""
    return metric_name(value) if name == "metric" and isinstance(value, str) else value


def _instead(item: Parameter, value: Any, *, python: bool) -> str:
    """What the parameter takes."""
    if item.form == "token" and isinstance(value, list | tuple) and value:
        return f"Write a set with bars between its tokens: {'|'.join(map(str, cast('Sequence[Any]', value)))!r}."
    if item.name == "metric" and isinstance(value, str) and metric_name(value) in get_args(MetricName):
        return "It is a metric of head_patching, activation_patching and others, not of this."
    if item.choices and isinstance(value, str):
        return nearest(value, item.choices)
    if item.name == "metric" and callable(value):
        return "head_patching, circuit and CausalTrace.metric, say, take a function; here it is a name."
    known = _FORMS.get(item.form or "") if python else None
    words = f"one of {', '.join(item.choices)}" if item.choices and known is None else known or _WORDS[item.type]
    none = " or None" if item.optional else ""
    return f"It takes {words}{none}: {item.help}" if item.help else f"It takes {words}{none}."


class _Key:
    """A specification as a key of the cache; one of a module and its file at a time."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __hash__(self) -> int:
        return hash((self.spec.module, self.spec.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.spec == self.spec


@cache
def _validator(key: _Key) -> "type[BaseModel]":
    from pydantic import BaseModel, ConfigDict, create_model

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    spec = key.spec
    fields: dict[str, Any] = {f"parameter_{index}": _field(item) for index, item in enumerate(spec.parameters)}
    title = "".join(part.capitalize() for part in spec.name.split("_"))
    return create_model(title, __base__=Strict, __doc__=spec.doc, **fields)


def _field(parameter: Parameter) -> tuple[Any, Any]:
    from pydantic import AfterValidator, Field

    integer: Any = Annotated[int, AfterValidator(_within)]
    types: dict[str, Any] = {
        "str": str, "int": integer, "float": float, "bool": bool, "list[str]": list[str], "list[int]": list[integer],
    }  # fmt: skip
    kind: Any = Literal[parameter.choices] if parameter.choices else types[parameter.type]
    default: Any = ... if parameter.required else parameter.default
    extra: dict[str, Any] | None = None if parameter.file is None else {"file": parameter.file}
    return (kind | None if parameter.optional else kind), Field(
        default=default, alias=parameter.name, title=parameter.name, description=parameter.help or None,
        json_schema_extra=extra,
    )  # fmt: skip


def _within(value: int) -> int:
    """An integer that torch can hold."""
    if -_LARGEST <= value < _LARGEST:
        return value
    from pydantic_core import PydanticCustomError

    raise PydanticCustomError("too_large", "Input should have 64 bits at most")
