"""The documentation is true: what is generated is fresh, and what is shown runs."""

import contextlib
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fluoroscope.cli.hexray import hexray
from fluoroscope.cli.main import cli, outcome
from shared import SHARED, needs_shared

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: str) -> Iterator[tuple[str, str, str, int]]:
    """(language, rest of the opening line, text, line) of every bash and python block of a page."""
    text = (ROOT / page).read_text(encoding="utf8")
    for found in BLOCK.finditer(text):
        yield found[1], found[2].strip(), found[3], text.count("\n", 0, found.start()) + 1


def pages(language: str) -> list[object]:
    """Those with such blocks; without the shared folder not those that read it."""
    texts = {page: "".join(text for kind, _, text, _ in blocks(page) if kind == language) for page in PAGES}
    return [pytest.param(page, marks=needs_shared if "shared/" in text else ()) for page, text in texts.items() if text]


def test_what_is_generated_is_what_the_code_says():
    assert generator().stale() == [], "run python docs/generate.py"


def test_a_stale_page_is_told(tmp_path, monkeypatch, capsys):
    generate = generator()
    (tmp_path / "page.md").write_text("a\n<!-- generated:family_count -->\nold\n<!-- end -->\nb\n", encoding="utf8")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PAGES", ["page.md"])
    assert generate.main(["--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().out
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    first, *_, last = (tmp_path / "page.md").read_text(encoding="utf8").splitlines()
    assert (first, last) == ("a", "b")


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("L5H5 +3.214, within 9.9e-08 of\n  23.04", True),
        ("L5H4 +3.215, within 5.1e-08 of 23.03", False),
        ("L5H5 +3.415, within 5.1e-08 of 23.03", False),
        ("L5H5 +3.215, within 0.2 of 23.03", False),
        ("L5H5 -3.215, within 5.1e-08 of 23.03", False),
    ],
)
def test_a_demo_may_differ_in_last_digits_only(other, same):
    assert generator()._measured_again("L5H5 +3.215, within 5.1e-08 of 23.03", other) is same


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with ../shared beside it, as in a checkout, where examples may write their files."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (tmp_path / "shared").symlink_to(SHARED, target_is_directory=True)
    (folder / "examples").symlink_to(ROOT / "examples", target_is_directory=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", pages("python"))
@pytest.mark.usefixtures("checkout")
def test_python_blocks_run_one_after_the_other(page):
    """All blocks of a page share their names; blocks marked `notest` or `title=…` are no examples to run here."""
    names: dict[str, object] = {}
    for language, rest, code, line in blocks(page):
        if language == "python" and not rest:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * line + code, str(ROOT / page), "exec"), names)


@pytest.mark.parametrize("page", pages("bash"))
@pytest.mark.usefixtures("checkout")
def test_commands_run(page, capfdbinary):
    """`fluoro …` and `hexray …` are run, `make …` must be a target; nothing else is left unread."""
    commands = {command.name: command for command in (cli, hexray)}
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE))
    for language, _, text, line in blocks(page):
        for number, command in enumerate(text.splitlines() if language == "bash" else [], line + 1):
            words = shlex.split(command, comments=True)
            if words and words[0] in commands:
                assert outcome(words[1:], commands[words[0]]) == 0, f"{page}:{number}: {command}"
            elif words[:1] == ["make"]:
                assert {word for word in words[1:] if "=" not in word} <= targets, f"{page}:{number}: {command}"
            else:
                assert words == [], f"{page}:{number}: neither fluoro nor hexray nor make: {command}"
    capfdbinary.readouterr()
