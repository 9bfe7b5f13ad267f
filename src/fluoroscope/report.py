"""Several results as one: a folder with files of each and a page that shows them all, or one file that carries all."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fluoroscope import __version__, artifact
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.render import document, markdown
from fluoroscope.render.section import File, Section
from fluoroscope.result import Recipe, Result, check_suffix

PAGE = "index.html"

SUFFIXES = (".html", ".md")
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

    def to_html(self) -> str:
        """One page that needs no network, runs no script, and carries the JSON of every result."""
        return self._html([self._section(name, [_carried(name, each.result)]) for name, each in self.chapters.items()])

    def to_markdown(self) -> str:
        """The same as GitHub-flavoured Markdown, without the JSON."""
        sections = [self._section(name, ()) for name in self.chapters]
        return markdown.report(self.title, [*self.lead, *self.warnings()], self.about(), sections)

    def save_page(self, path: str | Path) -> Path:
        """Writes the whole report as one .html or .md file.

        Raises:
            ArgumentError: another suffix.
        """
        text = {".html": self.to_html, ".md": self.to_markdown}[check_page(path)]()
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
        try:
            where.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtifactError(f"cannot make the folder {str(where)!r}: {error.strerror or error}") from error
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
        """The models with their fingerprints, the prompts that are known, and the versions that made the numbers."""
        recipes = [chapter.result.recipe for chapter in self.chapters.values()]
        calls = [chapter.result.call for chapter in self.chapters.values()]
        given = [call.arguments.get(name) for call in calls if call is not None for name in _PROMPTS]
        told = {
            "models": _distinct(map(_model, recipes)),
            "prompts": _distinct(_cited(prompt) for prompt in given if isinstance(prompt, str)),
            "versions": _distinct(", ".join(f"{name} {it}" for name, it in each.versions.items()) for each in recipes),
        }
        return {name: texts for name, texts in told.items() if texts}

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
        return document.report(self.title, [*self.lead, *self.warnings()], self.about(), sections)

    def _section(self, name: str, files: Sequence[File]) -> Section:
        chapter = self.chapters[name]
        return chapter.result.section(name, chapter.title, files)


def check_page(path: str | Path) -> str:
    """The lower-case suffix of a path, if a report can be saved as such a file.

    Raises:
        ArgumentError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"cannot save a report as {str(path)!r}", f"Known suffixes: {', '.join(SUFFIXES)}.")
    return suffix


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
