"""Every analysis and workflow as data, read from the source files without importing them.

One file is one analysis is one function of the same name, whose first parameter is `model`. Its command, route, form
and documentation are derived from the specification read here; torch is imported when an analysis really runs.
Packages add analyses through the entry point group `fluoroscope.analyses`: name = module path.
"""

import importlib
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluoroscope import artifact, invocation
from fluoroscope.arguments import check, schema
from fluoroscope.errors import ArgumentError, ArtifactError, nearest
from fluoroscope.progress import telling
from fluoroscope.signature import THEMES, Kind, Spec, read

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.result import Result

GROUP = "fluoroscope.analyses"
"""Entry point group of analyses in other packages."""

_ROOT = Path(__file__).parent
_FIRST, _LAST = "Start here", "From plugins"
_VERY_FIRST = "explain"
_FOLDERS: tuple[tuple[str, Kind], ...] = (("workflows", "workflow"), ("analyses", "analysis"))


@cache
def specs() -> dict[str, Spec]:
    """Name -> specification of every analysis and workflow, built-in ones first.

    Raises:
        ArgumentError: a file breaks the contract, or two have the same name; the message names the file.
    """
    found: dict[str, Spec] = {}
    for spec in _all():
        if spec.name in found:
            raise ArgumentError(
                f"two analyses are called {spec.name!r}: {found[spec.name].module} and {spec.module}", "Rename one."
            )
        found[spec.name] = spec
    return found


def themes() -> dict[str, list[Spec]]:
    """The catalogue as people read it: title -> specifications, what to start with first; empty groups are left out."""
    groups: dict[str, list[Spec]] = {title: [] for title in (_FIRST, *THEMES, _LAST)}
    for spec in specs().values():
        groups[_FIRST if spec.kind == "workflow" else spec.theme or _LAST].append(spec)
    groups[_FIRST].sort(key=lambda spec: spec.name != _VERY_FIRST)
    return {title: group for title, group in groups.items() if group}


def find(name: str) -> Spec | None:
    """The specification of an analysis, by its Python name or its command; one that is built in is read alone."""
    name = name.replace("-", "_")
    for folder, kind in _FOLDERS:
        path = _ROOT / folder / f"{name}.py"
        if name.isidentifier() and not name.startswith("_") and path.is_file():
            return _built_in(path, folder, kind)
    return specs().get(name)


def get(name: str) -> Spec:
    """The specification of an analysis, by its Python name or its command.

    Raises:
        ArgumentError: there is none of that name.
    """
    spec = find(name)
    if spec is None:
        raise ArgumentError(f"unknown analysis {name!r}", nearest(name.replace("-", "_"), specs()))
    return spec


def run(name: str, model: "Model", /, **keywords: Any) -> "Result":
    """Runs an analysis by name, after checking its keywords against the specification; the result says how.

    Raises:
        ArgumentError: unknown analysis, unknown or missing keyword, a value of the wrong type.
        Cancelled: with the result of what was done before, where the analysis tells one.
    """
    spec = get(name)
    arguments = check(spec, keywords)
    function = getattr(importlib.import_module(spec.module), spec.name)
    with telling(lambda found: _called(spec, arguments, found) if type(found).__name__ == spec.result else None):
        return _called(spec, arguments, function(model, **arguments))


def _called(spec: Spec, arguments: dict[str, Any], result: object) -> "Result":
    """The result with how it was asked for."""
    from fluoroscope.result import Call, Result

    if not isinstance(result, Result):
        raise ArgumentError(f"{spec.module} returned {type(result).__name__}, not a Result", "Derive it from Result.")
    about = {"model": result.recipe.model, "dtype": result.recipe.dtype}
    call = Call(
        analysis=spec.name,
        arguments=arguments,
        command=invocation.command(spec, arguments, **about),
        script=invocation.script(spec, arguments, **about),
    )
    return result.model_copy(update={"call": call})


_SKIN = "fluoroscope.interpretable"
OTHERS = {
    "PatchingResult": f"{_SKIN}.patching_results",
    "PathEffect": f"{_SKIN}.patching_results",
    "AttributionResult": f"{_SKIN}.results",
    "DLAResult": f"{_SKIN}.results",
    "GenerationResult": f"{_SKIN}.results",
    "ConversationResult": f"{_SKIN}.results",
    "CircuitResult": f"{_SKIN}.causal.circuits",
    "BehaviorLocalization": f"{_SKIN}.workflows",
    "CircuitDiscovery": f"{_SKIN}.workflows",
}
"""Results of functions that are no analyses of the catalogue, and the modules that hold them."""


def open_result(path: str | Path) -> "Result":
    """The result in a JSON file, whichever analysis made it.

    Raises:
        ArtifactError: no file, no JSON of a result, damaged, of a version or of an analysis that is not here.
    """
    return revived(artifact.read_json(path), repr(str(path)))


def revived(data: Any, where: str) -> "Result":
    """The result whose JSON was read, whichever analysis made it.

    Args:
        where: it comes from, as errors name it.

    Raises:
        ArtifactError: as `open_result`.
    """
    kind = data.get("result") if isinstance(data, dict) else None
    if not isinstance(kind, str):
        raise ArtifactError(f"{where} holds no result of an analysis", "fluoro ANALYSIS ... --out FILE.json saves one.")
    kinds = {spec.result: spec.module for spec in specs().values()} | OTHERS
    if kind not in kinds:
        raise ArtifactError(
            f"{where} holds a result of the kind {kind!r}, which nothing here makes",
            f"{nearest(kind, kinds)} It may be of another version, or of a plugin that is not installed.",
        )
    shape: type[Result] = getattr(importlib.import_module(kinds[kind]), kind)
    try:
        return shape.from_data(data)
    except ArtifactError as error:
        raise ArtifactError(f"{where}: {error.message}", error.hint) from error


def json_schema(name: str) -> dict[str, Any]:
    """JSON schema of the parameters of an analysis, without the model."""
    return schema(get(name))


def _all() -> Iterator[Spec]:
    for folder, kind in _FOLDERS:
        for path in sorted((_ROOT / folder).glob("[!_]*.py")):
            yield _built_in(path, folder, kind)
    for entry in sorted(entry_points(group=GROUP)):
        yield read(_locate(entry), entry.value, "plugin")


@cache
def _built_in(path: Path, folder: str, kind: Kind) -> Spec:
    return read(path, f"fluoroscope.{folder}.{path.stem}", kind)


def _locate(entry: EntryPoint) -> Path:
    search = None
    spec = None
    parts = entry.value.split(".")
    for index in range(len(parts)):
        spec = PathFinder.find_spec(".".join(parts[: index + 1]), search)
        search = None if spec is None else spec.submodule_search_locations
    if spec is None or not spec.origin or parts[-1] != entry.name:
        raise ArgumentError(
            f"entry point {entry.name} = {entry.value!r} of group {GROUP!r} does not name a module of that name",
            f"Write {entry.name} = 'package.{entry.name}'.",
        )
    return Path(spec.origin)
