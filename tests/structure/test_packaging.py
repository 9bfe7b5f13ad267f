"""The package holds the lab's page; what is made of it is made again only when it has to be, and never half."""

import gzip
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = {"index.html", "lab.js", "lab.css", "widget.js", "file.js", "run.html", "stamp.txt"}
STATIC = "fluoroscope/server/static/"


@pytest.fixture
def tree(tmp_path):
    """The sources of a page, and a page that is theirs by its stamp."""
    shutil.copytree(ROOT / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    return tmp_path


def stamped(hatch_build, tree):
    stamp = hatch_build.stamp(tree)
    stamp.parent.mkdir(parents=True)
    stamp.write_text(hatch_build.digest(tree / "web"), encoding="utf8")


def hook(hatch_build, tree):
    return hatch_build.WebBundle(str(tree), {}, None, None, str(tree / "dist"), "wheel")


@pytest.fixture
def npm(hatch_build, monkeypatch):
    """What npm is asked to do; nothing is done."""
    asked = []
    monkeypatch.setattr(hatch_build, "npm", lambda *words, **_: asked.append(words))
    return asked


def test_node_is_asked_for_only_where_the_page_is_stale(hatch_build, tree, npm, monkeypatch):
    monkeypatch.delenv("FLUOROSCOPE_WEB", raising=False)
    assert hook(hatch_build, tree).dependencies() == [hatch_build.NODE]
    stamped(hatch_build, tree)
    assert hook(hatch_build, tree).dependencies() == []
    hook(hatch_build, tree).initialize("standard", {})
    assert npm == []


@pytest.mark.parametrize("change", ["edited", "added", "removed", "renamed"])
def test_any_change_of_the_sources_makes_the_page_stale(hatch_build, tree, npm, monkeypatch, change):
    monkeypatch.delenv("FLUOROSCOPE_WEB", raising=False)
    stamped(hatch_build, tree)
    main = tree / "web" / "src" / "main.tsx"
    if change == "edited":
        main.write_text(main.read_text(encoding="utf8") + "\n", encoding="utf8")
    elif change == "added":
        main.with_name("more.ts").touch()
    elif change == "removed":
        main.unlink()
    else:
        main.rename(main.with_name("other.tsx"))
    assert hook(hatch_build, tree).dependencies() == [hatch_build.NODE]
    hook(hatch_build, tree).initialize("standard", {})
    assert npm == [("run", "build")]
    assert not hatch_build.stale(tree)


def test_what_others_leave_there_does_not(hatch_build, tree):
    stamped(hatch_build, tree)
    for folder in ("node_modules/preact", "__pycache__"):
        (tree / "web" / folder).mkdir(parents=True)
        (tree / "web" / folder / "file").touch()
    assert not hatch_build.stale(tree)


def test_the_page_may_be_left_out(hatch_build, tree, npm, monkeypatch):
    monkeypatch.setenv("FLUOROSCOPE_WEB", "skip")
    assert hook(hatch_build, tree).dependencies() == []
    hook(hatch_build, tree).initialize("standard", {})
    assert npm == []
    assert not hatch_build.stamp(tree).exists()


def test_a_tree_without_sources_keeps_its_page(hatch_build, tree):
    stamped(hatch_build, tree)
    shutil.rmtree(tree / "web")
    assert not hatch_build.stale(tree)


def test_a_build_that_fails_leaves_no_stamp(hatch_build, tree, monkeypatch):
    monkeypatch.setattr(hatch_build, "node", lambda: (dict(os.environ), [sys.executable, "-c", "raise SystemExit(1)"]))
    with pytest.raises(SystemExit, match="FLUOROSCOPE_WEB=skip"):
        hatch_build.bundle(tree)
    assert not hatch_build.stamp(tree).exists()


def build(source: Path, out: Path, *targets: str, **environment: str) -> Path:
    """Builds without isolation; the newest file that came of it."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    wanted = [word for target in targets for word in ("-t", target)]
    done = subprocess.run(
        [*command, *wanted], cwd=source, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return max(out.iterdir(), key=lambda path: path.stat().st_mtime_ns)


def held(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return {name.removeprefix(STATIC) for name in opened.namelist() if name.startswith(STATIC)}


def test_wheel_and_sdist_hold_the_page_and_the_sdist_builds_without_node(bundle, tmp_path):
    whole = PAGE | {f"parts/{path.name}" for path in (bundle / "parts").iterdir()}
    assert len(whole) > len(PAGE) + 4  # the panels that are fetched late
    assert held(build(ROOT, tmp_path / "one", "wheel")) >= whole
    sdist = build(ROOT, tmp_path / "two", "sdist")
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
        opened.extractall(tmp_path / "unpacked", filter="data")
    assert {f"src/{STATIC}{name}" for name in whole} <= names
    assert {"web/package-lock.json", "hatch_build.py"} <= names
    assert not [name for name in names if "node_modules" in name]
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    wheel = build(unpacked, tmp_path / "three", "wheel", PATH=str(bare))
    assert held(wheel) >= whole


def served(site: Path, path: Path, *names: str) -> list[bytes]:
    """What a lab of the package in a folder answers, without any other program in reach."""
    told = {**os.environ, "PYTHONPATH": str(site), "PATH": str(path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "fluoroscope", "lab", "--port", "0"]
    with subprocess.Popen(
        command, cwd=site, env=told, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as lab:
        try:
            address = re.search(r"http://\S+", lab.stdout.readline())[0]
            return [urlopen(address + name, timeout=20).read() for name in names]
        finally:
            lab.terminate()


def test_a_fresh_clone_makes_and_serves_the_page_without_node_on_the_path(hatch_build, bundle, tmp_path):
    hatch_build.npm("--version", web=ROOT / "web", whole=False)  # what the page is made with is there; no network later
    clone, bare, site = (tmp_path / name for name in ("clone", "bare", "site"))
    for name in ("src", "web"):
        shutil.copytree(
            ROOT / name, clone / name, ignore=shutil.ignore_patterns("static", "__pycache__"), symlinks=True
        )
    for name in ("hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, clone / name)
    bare.mkdir()
    (bare / "sh").symlink_to(shutil.which("sh"))  # by which npm runs a script
    with zipfile.ZipFile(build(clone, tmp_path / "out", "wheel", PATH=str(bare))) as wheel:
        wheel.extractall(site)
    page, script = served(site, bare, "", "lab.js")
    assert b'<div id="lab">' in page
    assert script == (bundle / "lab.js").read_bytes()


def test_the_types_of_the_page_are_the_servers():
    spec = importlib.util.spec_from_file_location("generate_types", ROOT / "web" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.fresh(), "run python web/generate.py"


def test_the_page_is_light(bundle):
    first = {"index.html", "lab.js", "lab.css", *at_once(bundle, "lab.js")}
    assert sum(len(gzip.compress((bundle / name).read_bytes())) for name in first) < 60_000
    late = {f"parts/{path.name}" for path in (bundle / "parts").glob("*.js")} - first
    assert len(late) >= 5


def at_once(bundle, name):
    """The files that a program needs before it begins, and what these need."""
    found = set()
    for path in re.findall(r'(?:from|import)"(\.[^"]+\.js)"', (bundle / name).read_text(encoding="utf8")):
        needed = (bundle / name).parent.joinpath(path).resolve().relative_to(bundle.resolve()).as_posix()
        found |= {needed, *at_once(bundle, needed)}
    return found
