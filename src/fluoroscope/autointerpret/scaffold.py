"""A new folder for an investigation: a setup, an experiment and a programme that run as they are."""

import os
import re
from importlib.resources import files
from pathlib import Path

from fluoroscope import artifact, specimen
from fluoroscope.autointerpret.folder import AGENTS, EXPERIMENT, PROGRAM, SETUP
from fluoroscope.autointerpret.loop import FINDINGS, RESULTS
from fluoroscope.errors import ArgumentError, ArtifactError


def init_autointerpret(
    output_dir: str | os.PathLike[str] = "autointerpret",
    model_name: str = specimen.NAMES[0],
    research_question: str = "How does this model recall factual associations?",
    max_experiments: int = 100,
) -> str:
    """Makes a folder with `setup.py`, `experiment.py`, `program.md`, `AGENTS.md`, `results.jsonl` and `findings/`.

    Args:
        output_dir: the folder, new or empty.
        model_name: as `fluoroscope.load` takes it.
        research_question: what is to be found out.
        max_experiments: how many may be made in all.

    Returns:
        its path.

    Raises:
        ArgumentError: a folder that holds something, a question without words, or no experiments.
        ArtifactError: it cannot be written.
    """
    folder = Path(output_dir)
    if not (research_question.strip() and model_name.strip()) or max_experiments < 1:
        raise ArgumentError("an investigation needs a model, a question and at least one experiment", "Name all three.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = sorted(path.name for path in folder.iterdir())
        if held:
            raise ArgumentError(f"{str(folder)!r} is not empty: it holds {held[0]!r}", "Name a new folder.")
        (folder / FINDINGS).mkdir()
    except OSError as error:
        raise ArtifactError(f"cannot make the folder {str(folder)!r}: {error.strerror}", "Name another.") from error
    words = {
        "MODEL": repr(model_name),
        "QUESTION": repr(research_question),
        "MAX_EXPERIMENTS": str(max_experiments),
    }
    told = words | {"QUESTION": _quoted(research_question), "MODEL_TEXT": model_name.replace("`", "'")}
    _write(folder / SETUP, words)
    _write(folder / EXPERIMENT, {})
    _write(folder / PROGRAM, told)
    _write(folder / AGENTS, {})
    artifact.write(folder / RESULTS, b"")
    return str(folder.resolve())


def _write(path: Path, words: dict[str, str]) -> None:
    text = (files("fluoroscope.autointerpret") / "template" / f"{path.name}.txt").read_text(encoding="utf8")
    text = re.sub("@([A-Z_]+)@", lambda found: words[found[1]], text)  # in one pass: what is filled in stays as it is
    artifact.write(path, text.encode("utf8"))


def _quoted(text: str) -> str:
    """A text as a Markdown quotation, whatever its lines begin with."""
    return "\n".join(f"> {line}" for line in text.splitlines())
