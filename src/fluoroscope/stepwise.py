"""Workflows as steps, each a full result of its analysis, kept in a folder so that a run that was stopped goes on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError, ArtifactError, FluoroscopeError, UnavailableError, nearest
from fluoroscope.progress import telling, track
from fluoroscope.result import Result

if TYPE_CHECKING:
    from fluoroscope.result import Recipe

_ABOUT = "about.json"
R = TypeVar("R", bound=Result)

Asks = Mapping[str, tuple[type[Result], Callable[[], Result]]]
"""Steps that are yet to be made, in order: name -> (what it gives, how)."""


class Steps(Result):
    """A result made of steps: each is a field of its own, and a result of its own."""

    @property
    def steps(self) -> list[tuple[str, Result]]:
        """Name and result of every step that was made, in order."""
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return [(name, value) for name, value in fields if isinstance(value, Result)]

    def get_step(self, name: str) -> Result:
        """The result of a step.

        Raises:
            ArgumentError: there is none of that name.
        """
        found = dict(self.steps)
        if name not in found:
            raise ArgumentError(f"there is no step {name!r}", f"{nearest(name, found)}{self.why_missing()}")
        return found[name]

    def why_missing(self) -> str:
        """What an error about a missing step says besides."""
        return ""


class Stepwise(Steps):
    """Steps with what was found.

    Args:
        narrative: what was found, one sentence a step, each with its numbers.
        refused: why a step is missing, one sentence each.
    """

    narrative: tuple[str, ...]
    refused: tuple[str, ...]

    def why_missing(self) -> str:
        return f" {' '.join(self.refused)}" if self.refused else ""


class Journal:
    """The finished steps of one run of a workflow.

    Args:
        folder: where they are kept, one JSON file each; None keeps nothing.
        about: all that the steps depend on, as JSON says it; a folder of another run is refused.

    Raises:
        ArtifactError: the folder holds something else, or cannot be made.
    """

    def __init__(self, folder: str | None, about: dict[str, Any]) -> None:
        self._folder = None if folder is None else Path(folder)
        if self._folder is None:
            return
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ArtifactError(
                f"cannot make the folder {folder!r}: {error.strerror}", "Name a folder in one that is there."
            ) from error
        path = self._folder / _ABOUT
        if path.exists():
            _check(self._folder, artifact.read_json(path), about)
        elif any(not artifact.is_leftover(path) for path in self._folder.iterdir()):
            raise ArtifactError(
                f"the folder {folder!r} holds other things than the steps of a run", "Name an empty or a new one."
            )
        else:
            artifact.write_json(path, about)

    def step(self, name: str, kind: type[R], ask: Callable[[], R]) -> R:
        """The result of a step: the one that is kept, or what `ask` gives, which is kept before it is returned.

        Raises:
            ArtifactError: the file of the step is damaged, or cannot be written.
        """
        if self._folder is None:
            return ask()
        path, seal = self._folder / f"{name}.json", self._folder / f"{name}.sha256"
        if path.exists():
            return _kept(path, seal, kind)
        found = ask()
        data = found.to_json().encode("utf8")
        artifact.write(seal, sha256(data).hexdigest().encode("ascii"))  # first, so that a step never lies there without
        artifact.write(path, data)
        return found


@dataclass(frozen=True)
class Made:
    """Steps of a workflow.

    Args:
        found: name -> result; None for steps that were refused or not come to.
        refused: why each of these is missing, one sentence each.
        missing: how many were not come to.
    """

    found: dict[str, Any]
    refused: tuple[str, ...] = ()
    missing: int = 0


Causes = Mapping[str, tuple[type[FluoroscopeError], ...]]


def make(journal: Journal, asks: Asks, label: str, causes: Causes | None = None) -> Made:
    """Every step, or the reason why it cannot be; what there is so far is told while they are made.

    Args:
        journal: keeps them.
        asks: the steps.
        label: what the work reports itself as.
        causes: which errors of a step leave it out instead of ending the work; without an entry, that this model has
            not what it needs.

    Raises:
        FluoroscopeError: any other error of a step.
        Cancelled: with what there was, if that is anything.
    """
    found: dict[str, Any] = dict.fromkeys(asks)
    refused: list[str] = []
    left = list(asks)

    def so_far(_: object) -> Made | None:
        stopped = f"Not made, as the run was cancelled: {', '.join(left)}."
        return Made(dict(found), (*refused, stopped), len(left)) if any(found.values()) else None

    with telling(so_far):
        for name in track(asks, label):
            try:
                found[name] = journal.step(name, *asks[name])
            except (causes or {}).get(name, (UnavailableError,)) as error:
                refused.append(f"There is no step {name!r} here: {error.message}.")
            left.remove(name)
    return Made(found, tuple(refused))


def _kept(path: Path, seal: Path, kind: type[R]) -> R:
    """A step that was finished before, if it is as it was written."""
    again = "Delete that file, and the step is made again."
    try:
        data = artifact.read_json(path)
        if not seal.exists() or seal.read_bytes() != sha256(path.read_bytes()).hexdigest().encode("ascii"):
            raise ArtifactError(f"{str(path)!r} is not as it was written")
        return kind.from_data(data)
    except ArtifactError as error:
        raise ArtifactError(error.message, again) from error


def about(recipe: "Recipe", workflow: str, **parameters: Any) -> dict[str, Any]:
    """All that the steps of a workflow depend on; the model counts by its weights, wherever it lies."""
    made = recipe.model_dump(mode="json", exclude={"model", "edits", "seed"})
    return {"workflow": workflow, **made, "parameters": parameters}


def _check(folder: Path, found: Any, about: dict[str, Any]) -> None:
    if found == about:
        return
    old: dict[str, Any] = found if isinstance(found, dict) else {}
    other = [name for name in about if old.get(name) != about[name]]
    if other == ["parameters"]:
        mine, theirs = about["parameters"], old["parameters"]
        other = [name for name in mine if not isinstance(theirs, dict) or theirs.get(name) != mine[name]]
    raise ArtifactError(
        f"the folder {str(folder)!r} holds the steps of another run: {', '.join(other) or 'something'} differs",
        "Ask as that run did, or name another folder.",
    )
