"""docs/coming.md: every cell that says what something is here runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from fluoroscope.cli.main import cli, outcome

PAGE = Path(__file__).resolve().parents[2] / "docs" / "coming.md"
TEXT = PAGE.read_text(encoding="utf8")
ROWS = [row.strip("| ").split(" | ") for row in re.findall(r"^\| .+ \|$", TEXT, re.MULTILINE)]
CELLS = [match[1] for row in ROWS if (match := re.match(r"`([^`]+)`", row[-1])) and row[0] != "there"]
EXPRESSIONS = [cell for cell in CELLS if not cell.startswith("fluoro ")]
COMMANDS = [cell for cell in CELLS if cell.startswith("fluoro ")]


def test_every_row_says_what_to_write() -> None:
    rows = [row for row in ROWS if row[0] not in ("there", "---")]
    assert len(CELLS) == len(rows)
    assert len(EXPRESSIONS) > 25
    assert len(COMMANDS) > 8


def test_expressions_run_with_the_names_of_the_page() -> None:
    names: dict[str, object] = {}
    (block,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), names)
    for cell in dict.fromkeys(EXPRESSIONS):
        assert eval(cell, names) is not None, cell


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_commands_run(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    assert outcome(shlex.split(command)[1:], cli) == 0
    told = capfd.readouterr()
    assert told.out + told.err
