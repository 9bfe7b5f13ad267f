"""Several results as one folder: each in files of its own, and one page that shows them all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluoroscope import artifact
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.render import document
from fluoroscope.result import Result, check_suffix

PAGE = "index.html"


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

    def to_html(self) -> str:
        """One page that needs no network, runs no script, and names the files beside it."""
        sections = [
            document.Section(
                name=name,
                title=chapter.title,
                summary=chapter.result.summary(),
                views=chapter.result.views(),
                recipe=chapter.result.recipe.model_dump(),
                files=tuple(name + suffix for suffix in chapter.suffixes),
            )
            for name, chapter in self.chapters.items()
        ]
        return document.report(self.title, self.lead, sections)

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
        return [*files, artifact.write(where / PAGE, self.to_html().encode("utf8"))]


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
