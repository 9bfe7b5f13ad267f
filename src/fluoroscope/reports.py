"""Several results as one: a folder with files of each and a page that shows them all, or one file that carries all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, cast

from fluoroscope import __version__, artifact
from fluoroscope.errors import ArgumentError, ArtifactError, nearest
from fluoroscope.render import document, markdown
from fluoroscope.render.section import File, Section
from fluoroscope.result import Recipe, Result, check_suffix

PAGE = "index.html"

Format = Literal["markdown", "html"]
_FORMATS: dict[str, Format] = {".html": "html", ".md": "markdown"}
SUFFIXES = tuple(_FORMATS)
"""Kinds of files that carry a whole report."""

LARGEST = 8 * artifact.MEBIBYTE
"""Bytes of the largest JSON that a page carries; a larger one is named with its size."""

_PROMPTS = ("prompt", "other", "chat")
_ROUGH = ("bfloat16", "float16")
_LONGEST = 500


@dataclass(frozen=True)
class Chapter:
    """A result under a title of its own, and the suffixes of the files that it is written to beside the page."""

    title: str
    result: Result
    suffixes: tuple[str, ...] = (".png", ".json")


@dataclass(frozen=True)
class Report:
    """Results by name; the name is that of their files.

    Args:
        lead: what was asked, one paragraph each.
    """

    title: str
    lead: Sequence[str]
    chapters: Mapping[str, Chapter]

    @classmethod
    def of(cls, results: Iterable[Result], *, title: str = "Report", lead: Sequence[str] = ()) -> Self:
        """Results under their own titles, numbered where there are several of a kind."""
        every = list(results)
        if not every:
            raise ArgumentError("there is no result to report", "Give at least one.")
        kinds = Counter(result.title() for result in every)
        seen = Counter[str]()
        chapters: dict[str, Chapter] = {}
        for result in every:
            own = result.title()
            seen[own] += 1
            shown = f"{own} {seen[own]}" if kinds[own] > 1 else own
            chapters[artifact.safe_name(shown.lower().replace(" ", "_"))] = Chapter(shown, result)
        return cls(title, lead, chapters)

    def to_html(self, *, plots: bool = True, carried: bool = True) -> str:
        """One page that needs no network and runs no script.

        Args:
            plots: whether pictures are in it.
            carried: whether the JSON of every result is in it, as files to be saved.
        """
        sections = [
            self._section(name, [_carried(name, each.result)] if carried else (), plots=plots)
            for name, each in self.chapters.items()
        ]
        return self._html(sections)

    def to_markdown(self, *, plots: bool = True, carried: bool = False) -> str:
        """The same as GitHub-flavoured Markdown; its pictures are tables, its JSON is an appendix."""
        sections = [self._section(name, (), plots=plots) for name in self.chapters]
        files = [_carried(name, each.result) for name, each in self.chapters.items()] if carried else []
        lead = [*self.lead, *self.warnings()]
        return markdown.report(self.title, lead, self.about(), sections, self.made(), files)

    def save_page(self, path: str | Path, *, plots: bool = True, carried: bool | None = None) -> Path:
        """Writes the whole report as one .html or .md file.

        Args:
            carried: as for `to_html` and `to_markdown`, whose defaults count if it is not given.

        Raises:
            ArgumentError: another suffix.
        """
        write = {"html": self.to_html, "markdown": self.to_markdown}[check_page(path)]
        text = write(plots=plots) if carried is None else write(plots=plots, carried=carried)
        return artifact.write(path, text.encode("utf8"))

    def save(self, folder: str | Path) -> list[Path]:
        """Writes every chapter's files and the page, which is last, so that it names nothing that is not there.

        Raises:
            ArgumentError: a name that is no name of a file, or a suffix of no kind of file.
            ArtifactError: the folder cannot be made or written.
        """
        where = check_folder(folder)
        for name, chapter in self.chapters.items():
            if artifact.safe_name(name) != name:
                raise ArgumentError(f"{name!r} cannot name a file", f"Name it {artifact.safe_name(name)!r}.")
            for suffix in chapter.suffixes:
                check_suffix(f"{name}{suffix}")
        _make(where)
        files = [
            chapter.result.save(where / f"{name}{suffix}")
            for name, chapter in self.chapters.items()
            for suffix in chapter.suffixes
        ]
        sections = [
            self._section(name, [File(f"{name}{suffix}") for suffix in each.suffixes])
            for name, each in self.chapters.items()
        ]
        return [*files, artifact.write(where / PAGE, self._html(sections).encode("utf8"))]

    def about(self) -> dict[str, object]:
        """The models with their fingerprints, and the prompts that are known."""
        calls = [chapter.result.call for chapter in self.chapters.values()]
        given = [call.arguments.get(name) for call in calls if call is not None for name in _PROMPTS]
        told = {
            "models": _distinct(map(_model, self._recipes())),
            "prompts": _distinct(_cited(prompt) for prompt in given if isinstance(prompt, str)),
        }
        return {name: texts for name, texts in told.items() if texts}

    def made(self) -> dict[str, object]:
        """For the foot of the page: with what the numbers were made, and this text."""
        recipes = self._recipes()
        told = {
            "tokenizers": _distinct(each.tokenizer for each in recipes if each.tokenizer is not None),
            "attention": _distinct(each.attention for each in recipes),
            "seeds": _distinct(str(each.seed) for each in recipes if each.seed is not None),
            "edits": _distinct(edit for each in recipes for edit in each.edits),
            "versions": _distinct(", ".join(f"{name} {it}" for name, it in each.versions.items()) for each in recipes),
            "report by": (f"Fluoroscope {__version__}",),
        }
        return {name: texts for name, texts in told.items() if texts}

    def _recipes(self) -> list[Recipe]:
        return [chapter.result.recipe for chapter in self.chapters.values()]

    def warnings(self) -> list[str]:
        """What makes numbers of one chapter differ from those of another, or from a plain run."""
        recipes = {chapter.title: chapter.result.recipe for chapter in self.chapters.values()}
        rough = [title for title, recipe in recipes.items() if recipe.dtype in _ROUGH]
        edited = [title for title, recipe in recipes.items() if recipe.edits]
        old = {recipe.versions.get("fluoroscope", __version__) for recipe in recipes.values()} - {__version__}
        told = {
            "The results are of different models.": len({each.weights for each in recipes.values()}) > 1,
            f"Computed with two or three digits, in {' or '.join(_ROUGH)}: {', '.join(rough)}.": rough,
            f"Of a model under edits, which the recipe names: {', '.join(edited)}.": edited,
            f"Made with version {', '.join(sorted(old))} of fluoroscope and shown by {__version__}.": old,
        }
        return [text for text, holds in told.items() if holds]

    def _html(self, sections: Sequence[Section]) -> str:
        return document.report(self.title, [*self.lead, *self.warnings()], self.about(), sections, self.made())

    def _section(self, name: str, files: Sequence[File], *, plots: bool = True) -> Section:
        chapter = self.chapters[name]
        section = chapter.result.section(name, chapter.title, files)
        return section if plots else replace(section, views=())


def generate_report(
    results: Result | Iterable[Result],
    title: str = "Interpretability Report",
    description: str = "",
    format: Format = "markdown",
    include_plots: bool = True,
    include_json: bool = False,
) -> str:
    """One text that shows one or many results: the sentence of each, its pictures, how to ask again, and its recipe.

    HTML is one page that needs no network and runs no script, its pictures drawn in it; in Markdown they are tables.

    Args:
        description: what was asked; an empty line begins a paragraph.
        include_json: in HTML as files to be saved from the page, in Markdown as an appendix.

    Raises:
        ArgumentError: another format, nothing to report, or something that is no result.
    """
    if format not in _FORMATS.values():
        raise ArgumentError(f"cannot make a report in the format {format!r}", nearest(str(format), _FORMATS.values()))
    report = _report(results, title, description)
    write = report.to_html if format == "html" else report.to_markdown
    return write(plots=include_plots, carried=include_json)


def save_report(
    results: Result | Iterable[Result],
    path: str | Path,
    title: str = "Interpretability Report",
    description: str = "",
    include_plots: bool = True,
    include_json: bool = False,
) -> Path:
    """Writes `generate_report` as the file that the suffix names, .md or .html; folders that miss are made.

    Raises:
        ArgumentError: another suffix, or as `generate_report`.
        ArtifactError: the file or its folder cannot be written.
    """
    check_page(path)
    report = _report(results, title, description)
    _make(Path(path).parent)
    return report.save_page(path, plots=include_plots, carried=include_json)


def _report(results: Result | Iterable[Result], title: str, description: str) -> Report:
    several = not isinstance(results, Result) and hasattr(results, "__iter__")
    every = list(cast("Iterable[Result]", results) if several else (cast("Result", results),))
    for each in cast("list[object]", every):
        if not isinstance(each, Result):
            raise ArgumentError(f"a {type(each).__name__} is no result to report", "Give what analyses return.")
    lead = [part.strip() for part in description.split("\n\n") if part.strip()]
    return Report.of(every, title=title, lead=lead)


def check_page(path: str | Path) -> Format:
    """The format that the suffix of a path names, if a report can be saved as such a file.

    Raises:
        ArgumentError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"cannot save a report as {str(path)!r}", f"Known suffixes: {', '.join(SUFFIXES)}.")
    return _FORMATS[suffix]


def check_folder(folder: str | Path) -> Path:
    """The folder, if it is one or may become one.

    Raises:
        ArgumentError: a file is in its place, or it has no name.
    """
    where = Path(folder)
    taken = next((path for path in (where, *where.parents) if path.exists()), where)
    if not str(folder) or not taken.is_dir():
        raise ArgumentError(f"cannot write a report to {str(folder)!r}: {str(taken)!r} is no folder", "Name a folder.")
    return where


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make the folder {str(folder)!r}: {error.strerror or error}") from error


def _carried(name: str, result: Result) -> File:
    text = result.to_json()
    size = len(text.encode("utf8"))
    return File(f"{artifact.safe_name(name)}.json", size, text if size <= LARGEST else None)


def _model(recipe: Recipe) -> str:
    return f"{recipe.model} (weights {recipe.weights}, {recipe.dtype} on {recipe.device})"


def _cited(prompt: str) -> str:
    return f"“{prompt}”" if len(prompt) <= _LONGEST else f"“{prompt[:_LONGEST]}…” ({len(prompt)} characters)"


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
