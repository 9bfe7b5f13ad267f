"""The worked examples of CONTRIBUTING.md, carried out as a newcomer would, on a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tiny

ROOT = Path(__file__).resolve().parents[2]
TITLED = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ZOO = "tests/architectures/zoo.py"
END_OF_ZOO = '\n}\n"""Case -> keywords of its config."""'


@pytest.fixture(scope="module")
def written():
    """Path -> text of the files that the page shows."""
    return dict(TITLED.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")))


@pytest.fixture
def copy(tmp_path):
    """A copy of the repository in which a newcomer writes."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for folder in ("src", "tests", "docs"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile", ".importlinter"):
        shutil.copy(ROOT / file, tmp_path)
    return tmp_path


def python(copy: Path, *arguments: str) -> str:
    """What Python says, with the package of the copy; its failure fails the test."""
    places = os.pathsep.join([str(copy / "src"), str(copy / "tests")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": places, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passed(output: str) -> int:
    found = re.search(r"(\d+) passed", output)
    assert "failed" not in output
    return int(found[1]) if found else 0


def pytest_in(copy: Path, *arguments: str) -> int:
    """How many tests passed there."""
    return passed(
        python(copy, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", "-o", "addopts=", *arguments)
    )


def write(copy: Path, path: str, text: str) -> None:
    assert not (copy / path).exists(), f"{path} exists by now: choose another example for CONTRIBUTING.md"
    (copy / path).write_text(text, encoding="utf8")


def test_the_page_shows_a_family_its_case_an_analysis_and_its_test(written):
    assert len(written) == 4
    assert [path.rpartition("/")[0] for path in written] == [
        "src/fluoroscope/architectures", "tests/architectures", "src/fluoroscope/analyses", "tests/analyses",
    ]  # fmt: skip


def test_a_family_is_one_short_file_and_one_line(copy, written):
    family = next(path for path in written if path.startswith("src/fluoroscope/architectures/"))
    name = Path(family).stem
    assert len(written[family].splitlines()) <= 20
    assert len(written[ZOO].splitlines()) == 1
    write(copy, family, written[family])
    zoo = (copy / ZOO).read_text(encoding="utf8")
    assert zoo.count(END_OF_ZOO) == 1
    (copy / ZOO).write_text(zoo.replace(END_OF_ZOO, "\n" + written[ZOO].rstrip() + END_OF_ZOO), encoding="utf8")
    source = "test_source.py and (zoo or architectures)"
    assert pytest_in(copy, "tests/architectures", "tests/structure/test_source.py", "-k", f"{name} or {source}") >= 40
    python(copy, "docs/generate.py", "docs/families.md")
    assert f"`{name}`" in (copy / "docs/families.md").read_text(encoding="utf8")


def test_a_wrong_path_in_a_family_is_named(copy, written):
    family = next(path for path in written if path.startswith("src/fluoroscope/architectures/"))
    wrong = written[family].replace("gate=None", 'gate=None, down="mlp.no_such_projection"')
    assert wrong != written[family]
    write(copy, family, wrong)
    line = written[ZOO].strip().rstrip(",")
    code = (
        "from architectures import zoo; from fluoroscope.loading import load\n"
        f"zoo.CASES.update(eval('{{{line}}}', vars(zoo))); zoo.ATTENTION['{Path(family).stem}'] = ('eager', 'sdpa')\n"
        f"print(load(zoo.build('{Path(family).stem}')).unavailable['neurons', 0])"
    )
    assert "no_such_projection" in python(copy, "-c", code)


def test_an_analysis_is_one_file_and_its_test(copy, written, tmp_path):
    analysis = next(path for path in written if path.startswith("src/fluoroscope/analyses/"))
    test = next(path for path in written if path.startswith("tests/analyses/"))
    name = Path(analysis).stem
    command = name.replace("_", "-")
    for path in (analysis, test):
        write(copy, path, written[path])
    general = ("tests/surfaces/test_cli.py", "tests/test_registry.py", "tests/structure/test_source.py")
    assert pytest_in(copy, test, *general, "-k", name) >= 8
    helped = python(copy, "-m", "fluoroscope", command, "--help")
    headline = written[analysis].partition('"""')[2].partition("\n")[0]
    assert headline in " ".join(helped.split())
    assert "--position" in helped
    assert headline in " ".join(python(copy, "-m", "fluoroscope", "--help").split())
    folder = tiny.save(tmp_path / "model")
    result = json.loads(python(copy, "-m", "fluoroscope", command, "a b", "-m", folder, "--json"))
    assert result["result"] == "".join(part.capitalize() for part in name.split("_"))
    python(copy, "docs/generate.py", "docs/analyses.md", "README.md")
    entry = (copy / "docs/analyses.md").read_text(encoding="utf8").partition(f"## {command}\n")[2]
    assert headline in entry
    assert f"fluoro {command} " in entry
    assert name in (copy / "README.md").read_text(encoding="utf8")
