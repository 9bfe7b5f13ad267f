"""What an analysis returns: numbers that carry their recipe, and every form in which people read them."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from fluoroscope import strict_json
from fluoroscope.errors import ArgumentError, ArtifactError, UnavailableError
from fluoroscope.render.section import File, Section
from fluoroscope.render.text import prose
from fluoroscope.strict_json import NotJson
from fluoroscope.views import Graph, View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.notebook import Widget

SCHEMA = 1
"""Version of the JSON form; a file of another version is refused."""

SUFFIXES = (".json", ".md", ".html", ".png", ".svg", ".dot", ".graphml")
"""Kinds of files that `Result.save` writes."""


class Record(BaseModel):
    """A frozen part of a result: no unknown fields, no NaN, no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Recipe(Record):
    """All that is needed to make the same numbers again.

    Args:
        model: name or path from which the model was loaded.
        weights: fingerprint of its weights.
        tokenizer: name or fingerprint of the tokenizer; None where ids were given directly.
        versions: package -> version.
        edits: the interventions, in words.
        tokens: the ids of every prompt.
    """

    model: str
    weights: str
    tokenizer: str | None
    dtype: str
    device: str
    attention: str
    versions: dict[str, str]
    seed: int | None = None
    edits: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()


class Call(Record):
    """How a result was asked for through the registry, by `fluoro` say, and how to ask again.

    Args:
        analysis: its Python name.
        arguments: all of them, those as by default too.
        command: the line for a shell.
        script: the same in Python.
    """

    analysis: str
    arguments: dict[str, bool | int | float | str | list[str] | list[int] | None]
    command: str
    script: str


class Result(Record):
    """Base of all results; a subclass adds its numbers as fields, and defines `summary` and `views`.

    Args:
        call: None where its function was called directly.
    """

    recipe: Recipe
    call: Call | None = None

    def summary(self) -> str:
        """The answer in one sentence, with its number and unit."""
        raise NotImplementedError(f"{type(self).__name__} does not define summary()")

    def views(self) -> list[View]:
        """The pictures that show the answer, the most important one first."""
        raise NotImplementedError(f"{type(self).__name__} does not define views()")

    @property
    def result_type(self) -> str:
        """The kind of result for programs: `logit_lens`."""
        return type(self).title().lower().replace(" ", "_")

    @property
    def data(self) -> dict[str, Any]:
        """Its own numbers by name, without the recipe."""
        return {name: getattr(self, name) for name in type(self).model_fields if name not in Result.model_fields}

    @property
    def metadata(self) -> dict[str, Any]:
        """How they were made: the recipe, and the arguments where the registry was asked."""
        asked = {} if self.call is None else {"analysis": self.call.analysis, "arguments": self.call.arguments}
        return {**self.recipe.model_dump(), **asked}

    @classmethod
    def title(cls) -> str:
        """The name of this kind of result for people: `Logit lens`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", cls.__name__).capitalize()

    def __repr__(self) -> str:
        """One line, whatever it holds: `LogitLens: …`; `model_dump` or `to_json` give all numbers."""
        return f"{type(self).__name__}: {prose(self.summary())}"

    def __str__(self) -> str:
        return repr(self)

    def to_json(self) -> str:
        """Strict JSON of the schema version, the kind of result, the sentence, the recipe and all numbers."""
        head = {"schema": SCHEMA, "result": type(self).__name__, "summary": self.summary()}
        return json.dumps(head | self.model_dump(mode="json"), allow_nan=False, ensure_ascii=False, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The result that `to_json` wrote.

        Raises:
            ArtifactError: damaged, of another kind of result, or of another version.
        """
        try:
            data: Any = strict_json.load(text)
        except NotJson as error:
            raise ArtifactError(f"this is no JSON of a result: {error}", "Was the file cut off or changed?") from error
        return cls.from_data(data)

    @classmethod
    def from_data(cls, data: Any) -> Self:
        """The same from JSON that is read already.

        Raises:
            ArtifactError: as `from_json`.
        """
        if not isinstance(data, dict) or data.get("result") != cls.__name__:
            found = data.get("result") if isinstance(data, dict) else type(data).__name__
            raise ArtifactError(f"expected the JSON of {cls.__name__}, found {found!r}", "Read it with its own class.")
        if data.get("schema") != SCHEMA:
            raise ArtifactError(
                f"JSON schema version {data.get('schema')!r} cannot be read, only {SCHEMA}",
                "Read it with the version of fluoroscope that wrote it.",
            )
        try:
            return cls.model_validate({key: data[key] for key in data if key not in ("schema", "result", "summary")})
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
            raise ArtifactError(f"the JSON of {cls.__name__} is damaged: {wrong}", "Make it again.") from error

    def to_markdown(self) -> str:
        """The result as GitHub-flavoured Markdown."""
        from fluoroscope.render import markdown

        return markdown.page(self.section())

    def to_html(self) -> str:
        """The result as one page that needs no network and runs no script."""
        from fluoroscope.render import document

        return document.page(self.section())

    def show(self) -> "Widget":
        """Live pictures for a notebook: the last line of a cell, or `display(result.show())`.

        Those of one model share their selection, which Python reads and sets as `selection`. Where widgets cannot be
        shown, on GitHub or in a page that nbconvert makes, the pictures stand as they would without this.

        Raises:
            UnavailableError: without the extra `notebook`, or in an installation without the lab's page.
        """
        try:
            from fluoroscope.notebook import Widget
        except ImportError as error:
            raise UnavailableError(f"show() needs {error.name}", "pip install 'fluoroscope[notebook]'") from error
        return Widget.of(self.section(), self._repr_mimebundle_(), self.recipe.weights)

    def section(self, name: str = "result", title: str | None = None, files: Sequence[File] = ()) -> Section:
        """What pages show of it, under its own title or another."""
        again = {} if self.call is None else {"Command": self.call.command, "Python": self.call.script}
        recipe = self.recipe.model_dump()
        return Section(name, title or self.title(), self.summary(), self.views(), recipe, again, files)

    def plot(self) -> "Figure":
        """The result as a matplotlib figure that belongs to the caller; pyplot and rcParams stay untouched."""
        from fluoroscope.render import figure

        return figure.page(self.title(), self.summary(), self.views())

    def save(self, path: str | Path) -> Path:
        """Writes the form that the suffix names: .json, .md, .html, .png, .svg; .dot or .graphml for its graph.

        An .html file needs no network; its pictures are live where scripts run, and stand still where they do not.

        Raises:
            ArgumentError: another suffix, or one of a graph for a result that has none.
        """
        from fluoroscope import artifact

        return artifact.write(path, self._bytes(check_suffix(path)))

    def _bytes(self, suffix: str) -> bytes:
        if suffix in (".png", ".svg"):
            from fluoroscope.render import figure

            return figure.image(self.plot(), suffix[1:])
        if suffix in (".dot", ".graphml"):
            return self._graph_source(suffix).encode("utf8")
        text = {".json": self.to_json, ".md": self.to_markdown, ".html": self._to_live_html}[suffix]()
        return text.encode("utf8")

    def _to_live_html(self) -> str:
        from fluoroscope.render import document

        return document.live(self.section())

    def network(self) -> Graph | None:
        """The graph that .dot and .graphml files hold: the first one that it draws, unless a subclass has a larger."""
        return next((view for view in self.views() if isinstance(view, Graph)), None)

    def _graph_source(self, suffix: str) -> str:
        from fluoroscope.render import dot, graphml

        graph = self.network()
        if graph is None:
            raise ArgumentError(
                f"{self.title()} draws no graph, so there is none to write as {suffix}", "Use another suffix."
            )
        return dot.source(graph) if suffix == ".dot" else graphml.source(graph)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook may show; a program that shows text alone gets the sentence, not all numbers."""
        plain = f"{self.title()}: {prose(self.summary())}"
        return {"text/plain": plain, "text/html": self._repr_html_(), "text/markdown": self.to_markdown()}

    def _repr_html_(self) -> str:
        from fluoroscope.render import document

        return document.fragment(self.section())


def check_suffix(path: str | Path) -> str:
    """The lower-case suffix of a path, if a result can be saved as such a file.

    Raises:
        ArgumentError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"cannot save a result as {str(path)!r}", f"Known suffixes: {', '.join(SUFFIXES)}.")
    return suffix


def number(value: float) -> float | None:
    """The value as a result carries it: None where it is not finite (the log-probability of a masked token, say)."""
    return float(value) if math.isfinite(value) else None
