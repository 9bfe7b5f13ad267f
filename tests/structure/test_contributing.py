"""The worked examples of CONTRIBUTING.md, carried out as a newcomer would, on a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TITLED = re.compile(r'^```python title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
ZOO = "tests/architectures/zoo.py"
END_OF_ZOO = '\n}\n"""Case -> keywords of its config."""'


@pytest.fixture(scope="module")
def written():
    """Path -> text of the files that the page shows."""
    return dict(TITLED.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")))


@pytest.fixture(scope="module")
def family(written):
    """The file of the page's family."""
    return next(path for path in written if path.startswith("src/fluoroscope/architectures/"))


@pytest.fixture(scope="module")
def analysis(written):
    """The file of the page's analysis."""
    return next(path for path in written if path.startswith("src/fluoroscope/analyses/"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory, written):
    """A copy of the repository in which a newcomer has written what the page shows."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    for folder in ("src", "tests", "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile", ".importlinter"):
        shutil.copy(ROOT / file, copy)
    for path, text in written.items():
        if path == ZOO:
            zoo = (copy / path).read_text(encoding="utf8")
            assert zoo.count(END_OF_ZOO) == 1
            text = zoo.replace(END_OF_ZOO, "\n" + text.rstrip() + END_OF_ZOO)
        else:
            assert not (copy / path).exists(), f"{path} exists by now: choose another example for CONTRIBUTING.md"
        (copy / path).write_text(text, encoding="utf8")
    return copy


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


@pytest.fixture(scope="module")
def passed(copy, written, family, analysis):
    """The tests of both that pass there, where none may fail; in one run, for starting takes longer than they do."""
    about = f"{Path(family).stem} or {Path(analysis).stem} or test_source.py and (zoo or architectures)"
    test = next(path for path in written if path.startswith("tests/analyses/"))
    places = ("tests/architectures", test, "tests/surfaces/test_cli.py", "tests/test_registry.py")
    quiet = ("-p", "no:cacheprovider", "-p", "no:randomly", "-o", "addopts=")
    told = python(copy, "-m", "pytest", "-v", *quiet, *places, "tests/structure/test_source.py", "-k", about)
    assert "failed" not in told
    return re.findall(r"^(\S+::.*) PASSED", told, re.MULTILINE)


def test_the_page_shows_a_family_its_case_an_analysis_and_its_test(written):
    assert len(written) == 4
    assert [path.rpartition("/")[0] for path in written] == [
        "src/fluoroscope/architectures", "tests/architectures", "src/fluoroscope/analyses", "tests/analyses",
    ]  # fmt: skip


def test_a_family_is_one_short_file_and_one_line(written, family, passed):
    assert len(written[family].splitlines()) <= 20
    assert len(written[ZOO].splitlines()) == 1
    about = [test for test in passed if Path(family).stem in test]
    assert len([test for test in about if test.startswith("tests/architectures/")]) >= 25
    assert any(test.startswith("tests/structure/test_source.py::") for test in about)


def test_an_analysis_is_one_file_and_its_test(copy, written, analysis, passed):
    name = Path(analysis).stem
    places = {test.partition("::")[0] for test in passed if name in test}
    assert places >= {f"tests/analyses/test_{name}.py", "tests/test_registry.py", "tests/structure/test_source.py"}
    assert f"tests/surfaces/test_cli.py::test_the_command_line_gives_the_same_json_as_python[{name}]" in passed
    headline = written[analysis].partition('"""')[2].partition("\n")[0]
    helped = python(copy, "-m", "fluoroscope", name.replace("_", "-"), "--help")
    assert headline in " ".join(helped.split())
    assert "--position" in helped
    assert headline in " ".join(python(copy, "-m", "fluoroscope", "--help").split())


PAGES = """
import sys
sys.path.insert(0, "docs")
import generate
from architectures import zoo
from fluoroscope.loading import load

family = sys.argv[1]
zoo.CASES = {family: zoo.CASES[family]}  # the others take their time
generate.main(["docs/analyses.md", "docs/families.md"])
print(generate.tree())
print(load(zoo.build(family)).unavailable)
"""


def test_the_pages_have_both_and_a_wrong_path_in_a_family_is_named(copy, written, family, analysis):
    wrong = written[family].replace("gate=None", 'gate=None, down="mlp.no_such_projection"')
    assert wrong != written[family]
    (copy / family).write_text(wrong, encoding="utf8")
    told = python(copy, "-c", PAGES, Path(family).stem)
    (copy / family).write_text(written[family], encoding="utf8")
    assert re.search(r"'neurons', 0\): [^,]*no_such_projection", told)
    assert f"{Path(analysis).name} " in told
    assert f"`{Path(family).stem}`" in (copy / "docs/families.md").read_text(encoding="utf8")
    command = Path(analysis).stem.replace("_", "-")
    entry = (copy / "docs/analyses.md").read_text(encoding="utf8").partition(f"## {command}\n")[2]
    assert written[analysis].partition('"""')[2].partition("\n")[0] in entry
    assert f"fluoro {command} " in entry
