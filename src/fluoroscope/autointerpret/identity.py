"""When two experiments are the same: by what their code does and is given, not by their name, comments or layout."""

import ast
import types
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from fluoroscope import strict_json
from fluoroscope.errors import ArgumentError

TOLD = ("NAME", "HYPOTHESIS", "propose")
"""Names of an experiment's file that say which experiment is made, not what it does."""


def digest(*parts: Any) -> str:
    """The checksum of what JSON says of the parts."""
    text = strict_json.dump([_sorted(part) for part in parts])
    return sha256(text.encode("utf8")).hexdigest()


def of_source(text: str, name: str) -> str:
    """The checksum of a Python file without comments, layout, docstrings and `TOLD`.

    Raises:
        ArgumentError: it is no Python.
    """
    try:
        tree = ast.parse(text, filename=name)
    except (SyntaxError, ValueError) as error:
        raise ArgumentError(f"{name} cannot be read as Python: {error}", "Correct it, and run again.") from error
    tree.body = [node for node in tree.body if not _named(node) & {*TOLD}]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return digest(ast.dump(tree))


def of_function(function: Callable[..., Any]) -> str:
    """The checksum of a function: its code, what it closes over and the globals that it names.

    Objects that cannot be compared by value count as themselves, so that in doubt two experiments are different.
    """
    return digest(_value(function, function.__module__ if hasattr(function, "__module__") else None, ()))


def of_value(value: Any) -> str:
    """The checksum of a value, as `of_function` compares them."""
    return digest(_value(value, None, ()))


def _named(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list | tuple) else value


def _value(value: Any, home: str | None, inside: tuple[int, ...]) -> Any:
    """What JSON says of a value, the same for equal values."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if id(value) in inside or isinstance(value, types.ModuleType | type | types.BuiltinFunctionType):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
    deeper = partial(_value, home=home, inside=(*inside, id(value)))
    if isinstance(value, float | complex | bytes | Path | range):
        return [type(value).__name__, repr(value)]
    if isinstance(value, Mapping):
        pairs = [[deeper(key), deeper(item)] for key, item in value.items()]
        return ["mapping", sorted(pairs, key=str)]
    if isinstance(value, AbstractSet):
        return ["set", sorted(map(str, map(deeper, value)))]
    if isinstance(value, Sequence):
        return [type(value).__name__, [deeper(item) for item in value]]
    if isinstance(value, types.FunctionType):
        return _function(value, home, deeper)
    if isinstance(value, types.MethodType):
        return ["method", deeper(value.__func__), deeper(value.__self__)]
    if isinstance(value, partial):
        return ["partial", deeper(value.func), deeper(value.args), deeper(value.keywords)]
    return _object(value, deeper)


def _function(function: types.FunctionType, home: str | None, deeper: Callable[[Any], Any]) -> Any:
    """A function of the experimenter's by what it does, one of a library by its name."""
    if function.__module__ != home:
        return f"{function.__module__}.{function.__qualname__}"
    names = _names(function.__code__)
    closed = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return [
        "function",
        _code(function.__code__, deeper),
        deeper(function.__defaults__),
        deeper(function.__kwdefaults__),
        [[name, deeper(_cell(cell))] for name, cell in closed],
        [[name, deeper(function.__globals__[name])] for name in names if name in function.__globals__],
    ]


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet assigned
        return None


def _code(code: types.CodeType, deeper: Callable[[Any], Any]) -> Any:
    held = [_code(one, deeper) if isinstance(one, types.CodeType) else deeper(one) for one in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), held]


def _names(code: types.CodeType) -> list[str]:
    """Globals that a function or one inside it may name."""
    inner = [name for one in code.co_consts if isinstance(one, types.CodeType) for name in _names(one)]
    return sorted({*code.co_names, *inner})


def _object(value: Any, deeper: Callable[[Any], Any]) -> Any:
    """A model by its weights, a tensor by its numbers, else by the text that it says of itself, or as itself."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    for model in (value, getattr(value, "model", None)):
        recipe: Any = getattr(model, "recipe", None)
        if callable(recipe):
            made: Any = recipe()
            return [kind, made.weights]
    if kind == "torch.Tensor":
        import torch

        plain = value.detach().cpu().contiguous()
        data = plain.flatten().view(torch.uint8).numpy().tobytes()
        return [kind, str(plain.dtype), list(plain.shape), sha256(data).hexdigest()]
    if hasattr(type(value), "__dataclass_fields__"):
        return [kind, deeper(vars(value) if hasattr(value, "__dict__") else repr(value))]
    told = repr(value) if type(value).__repr__ is not object.__repr__ else f"object {id(value)}"
    return [kind, told]
