"""The documentation is true: a stale page is told (`make check` asks), links lead somewhere, and what is shown runs."""

import contextlib
import functools
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fluoroscope import loading, registry
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


def pages() -> list[object]:
    """Those with such blocks; without the shared folder not those that read it."""
    texts = {page: "".join(text for _, _, text, _ in blocks(page)) for page in PAGES}
    return [pytest.param(page, marks=needs_shared if "shared/" in text else ()) for page, text in texts.items() if text]


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


@pytest.fixture
def once(monkeypatch):
    """Analyses that are asked twice for the same, as a command and in Python, compute it once; a model loads once."""
    monkeypatch.setattr(loading, "load", functools.cache(loading.load))
    for name, spec in registry.specs().items():
        module = importlib.import_module(spec.module)
        monkeypatch.setattr(module, name, remembered(getattr(module, name), spec))


def remembered(function, spec):
    known: dict[str, object] = {}

    @functools.wraps(function)
    def answer(model, *arguments, **keywords):
        given = dict(zip((item.name for item in spec.parameters), arguments, strict=False)) | keywords
        key = repr((model.name, model.dtype, sorted(registry.check(spec, given).items())))
        if key not in known:
            known[key] = function(model, **given)
        return known[key]

    return answer


@pytest.mark.parametrize("page", pages())
@pytest.mark.usefixtures("checkout", "once")
def test_what_is_shown_runs(page, capfdbinary):
    """Blocks of Python share their names, but for those marked `notest` or `title=…`, which are no examples.

    `fluoro …` and `hexray …` are run, `make …` must be a target; nothing else is left unread.
    """
    names: dict[str, object] = {}
    for language, rest, text, line in blocks(page):
        if language == "bash":
            for number, command in enumerate(text.splitlines(), line + 1):
                run(command, f"{page}:{number}: {command}")
        elif not rest:
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile("\n" * line + text, str(ROOT / page), "exec"), names)
    capfdbinary.readouterr()


def run(command, where):
    known = {each.name: each for each in (cli, hexray)}
    words = shlex.split(command, comments=True)
    if words and words[0] in known:
        assert outcome(words[1:], known[words[0]]) == 0, where
    elif words[:1] == ["make"]:
        targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf8"), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word} <= targets, where
    else:
        assert words == [], f"neither fluoro nor hexray nor make: {where}"
