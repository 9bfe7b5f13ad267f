"""The specification of an analysis, read from its source through `ast`: nothing is imported, nothing is run."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

from fluoroscope.errors import ArgumentError

Kind = Literal["analysis", "workflow", "plugin"]

BASE_TYPES = ("str", "int", "float", "bool", "list[str]", "list[int]")
"""Annotations of parameters; each may have `| None`, and a `Literal` of strings is a `str` with choices."""

InputFile = Annotated[str, "the name of a file that is read"]
OutputFile = Annotated[str, "the name of a file that is written, and read first where a run goes on with it"]
ModelName = Annotated[str, "a folder or hub id of a model that is loaded, or the name of an embedded one"]
JsonText = Annotated[str, "JSON; a command line takes it from a .json file as well, an analysis opens none"]
JinjaText = Annotated[str, "a Jinja template; from a .jinja file in the same way"]

FileRole = Literal["input", "output", "model", ".json", ".jinja"]
FILES: dict[str, FileRole] = {
    "InputFile": "input", "OutputFile": "output", "ModelName": "model", "JsonText": ".json", "JinjaText": ".jinja"
}  # fmt: skip
"""Annotations of strings that have to do with files -> how; a suffix: the contents of such a file. A surface that takes
text from strangers has to refuse every "input", "output" and "model", or to map them to its own; no other string opens
a file."""

MetricName = Literal[
    "logit", "logit_diff", "probability", "probability_diff", "log_probability", "cross_entropy", "rank",
    "kl", "js", "l2", "cosine", "mse",
]  # fmt: skip
"""What `metrics.make` makes."""
Direction = Literal["denoise", "noise"]
"""Which way values are patched: clean ones into the corrupted prompt, or the reverse."""
Precision = Literal["float32", "bfloat16"]
"""What a sweep computes in."""

CHOICES: dict[str, tuple[str, ...]] = {
    "MetricName": get_args(MetricName), "Direction": get_args(Direction), "Precision": get_args(Precision),
    "AnyMetric": get_args(MetricName),
}  # fmt: skip
"""Literals that several analyses share, by their names."""

AnyPrompt = Annotated[Any, "text; in Python also token ids, Tokens or a chat"]
AnyToken = str | int | Sequence[int]
"""A token or a set of them as text; in Python also by id."""
AnyMetric = MetricName | Callable[[Any], Any]
"""A metric's name; in Python also a function from logits [row, d_vocab] to scores [row]."""

Form = Literal["prompt", "token", "metric"]
FORMS: dict[str, Form] = {"AnyPrompt": "prompt", "AnyToken": "token", "AnyMetric": "metric"}
"""Annotations of what is text on every surface but has other forms in Python -> which."""

THEMES = (
    "Predictions and lenses", "Attribution", "Attention and heads", "Causes", "States and weights",
    "Steering and probes", "Reasoning and chats",
)  # fmt: skip
"""What analyses are about, as catalogues group them: the constant THEME of an analysis is one of these."""

RESERVED = frozenset({"model", "json", "html", "out", "quiet", "dtype", "device", "help"})
"""Names that every command has already."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an analysis.

    Args:
        type: one of `BASE_TYPES`.
        optional: whether None is accepted as well.
        choices: the only strings accepted; empty for any.
        help: the description in the docstring.
        file: how it has to do with a file, see `FILES`; None where it does not.
        form: which other forms Python takes, see `FORMS`; None for none.
    """

    name: str
    type: str
    default: Any = None
    required: bool = False
    help: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False
    file: FileRole | None = None
    form: Form | None = None


@dataclass(frozen=True)
class Spec:
    """An analysis as its surfaces see it.

    Args:
        doc: the docstring of its file; the first line says what it answers.
        result: name of the class that it returns.
        module: where to import it from.
        theme: one of `THEMES`; empty for a workflow, and for a plugin that names none.
    """

    name: str
    doc: str
    parameters: tuple[Parameter, ...]
    result: str
    kind: Kind
    module: str
    theme: str = ""

    @property
    def command(self) -> str:
        return self.name.replace("_", "-")

    @property
    def headline(self) -> str:
        """The first line of the documentation."""
        return self.doc.partition("\n")[0]


def read(path: Path, module: str, kind: Kind) -> Spec:
    """The specification of the analysis in a file.

    Raises:
        ArgumentError: the file breaks the contract; the message names it and the place.
    """
    tree = ast.parse(path.read_text(encoding="utf8"), filename=str(path))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == path.stem]
    doc = ast.get_docstring(tree)
    if not functions or not doc:
        missing = "module docstring" if functions else f"function {path.stem!r}"
        raise _broken(path, 1, f"has no {missing}", "One file is one analysis is one function of its name.")
    function = functions[0]
    if function.returns is None:
        raise _broken(path, function.lineno, "does not say which Result it returns", "Annotate it: -> SomeResult.")
    parameters = tuple(_parameters(path, function))
    result = ast.unparse(function.returns).strip("\"'").rpartition(".")[2]
    return Spec(path.stem, doc, parameters, result, kind, module, _theme(path, tree, kind))


def _theme(path: Path, tree: ast.Module, kind: Kind) -> str:
    """The constant THEME, which an analysis must have and a plugin may have."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "THEME":
            if isinstance(node.value, ast.Constant) and node.value.value in THEMES:
                return node.value.value
            raise _broken(path, node.lineno, f"has {ast.unparse(node)}", f"Themes: {', '.join(THEMES)}.")
    if kind == "analysis":
        raise _broken(path, 1, "has no constant THEME", f"Its value is one of {', '.join(THEMES)}.")
    return ""


def _parameters(path: Path, function: ast.FunctionDef) -> Iterator[Parameter]:
    names = function.args
    if names.vararg or names.kwarg or names.posonlyargs:
        raise _broken(path, function.lineno, "has *args, **kwargs or positional-only parameters", "Name each of them.")
    if not names.args or names.args[0].arg != "model":
        raise _broken(path, function.lineno, "does not take the model first", "Its first parameter is called model.")
    documented = _descriptions(ast.get_docstring(function) or "")
    padding = [None] * (len(names.args) - len(names.defaults))
    pairs = [*zip(names.args, [*padding, *names.defaults], strict=True)]
    for argument, default in [*pairs[1:], *zip(names.kwonlyargs, names.kw_defaults, strict=True)]:
        yield _parameter(path, argument, default, documented.get(argument.arg, ""))


def _parameter(path: Path, argument: ast.arg, default: ast.expr | None, description: str) -> Parameter:
    name, line = argument.arg, argument.lineno
    if name in RESERVED:
        raise _broken(path, line, f"calls a parameter {name!r}, as every command does already", "Rename it.")
    text = "" if argument.annotation is None else ast.unparse(argument.annotation)
    kind = _annotation(argument.annotation)
    if kind is None:
        known = ", ".join(dict.fromkeys((*BASE_TYPES, *FILES, *FORMS, *CHOICES)))
        allowed = f"Use one of {known}, a Literal of strings, or one of them | None."
        raise _broken(path, line, f"annotates {name!r} with {text or 'nothing'}", allowed)
    try:
        value = None if default is None else ast.literal_eval(default)
    except ValueError as error:
        raise _broken(path, line, f"gives {name!r} a default that is no literal", "Write the value itself.") from error
    if default is not None and not _fits(value, kind):
        raise _broken(path, line, f"gives {name!r}: {text} the default {value!r}", "Default and annotation must agree.")
    return Parameter(
        name, kind.base, value, default is None, description, kind.choices, kind.optional, kind.file, kind.form
    )


class _Kind(NamedTuple):
    """What an annotation says, in the words of `Parameter`."""

    base: str
    optional: bool = False
    choices: tuple[str, ...] = ()
    file: FileRole | None = None
    form: Form | None = None


def _annotation(node: ast.expr | None) -> _Kind | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and ast.unparse(node.right) == "None":
        inner = _annotation(node.left)
        return None if inner is None or inner.optional else inner._replace(optional=True)
    if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("Literal", "typing.Literal"):
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        choices = tuple(item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str))
        return _Kind("str", choices=choices) if len(choices) == len(items) else None
    text = "" if node is None else ast.unparse(node)
    if text in CHOICES or text in FORMS:
        return _Kind("str", choices=CHOICES.get(text, ()), form=FORMS.get(text))
    if text in FILES:
        return _Kind("str", file=FILES[text])
    return _Kind(text) if text in BASE_TYPES else None


def _fits(value: Any, kind: _Kind) -> bool:
    base, choices = kind.base, kind.choices
    if value is None:
        return kind.optional
    if isinstance(value, bool) or base == "bool":
        return isinstance(value, bool) and base == "bool"
    if base.startswith("list"):
        return isinstance(value, list) and all(type(item).__name__ == base[5:-1] for item in value)
    if base == "float":
        return isinstance(value, int | float)
    return type(value).__name__ == base and (not choices or value in choices)


def _descriptions(docstring: str) -> dict[str, str]:
    """Name -> text of the entries of a Google-style `Args:` section."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(docstring) + "\n", re.MULTILINE)
    if section is None:
        return {}
    entries: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(section.group(1)).splitlines():
        start = re.match(r"(\w+)(?: \([^)]*\))?:\s*(.*)", line)
        if start:
            name = start.group(1)
            entries[name] = start.group(2)
        elif name and line.strip():
            entries[name] = f"{entries[name]} {line.strip()}".strip()
    return entries


def _broken(path: Path, line: int, what: str, hint: str) -> ArgumentError:
    return ArgumentError(f"{path.parent.name}/{path.name}, line {line}: {what}", hint)
