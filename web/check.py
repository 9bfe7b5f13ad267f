"""Holds the page to its types: those of the server are fresh, and its own agree."""

import sys
from pathlib import Path

WEB = Path(__file__).resolve().parent
sys.path.insert(0, str(WEB.parent))

import generate  # noqa: E402
import hatch_build  # noqa: E402


def main() -> int:
    """0 where all is well."""
    if not generate.fresh():
        print("generated.ts is stale: run python web/generate.py")
        return 1
    hatch_build.npm("run", "check", web=WEB, whole=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
