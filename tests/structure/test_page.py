"""The shape of the page's sources: pictures know nothing of the lab, so that notebooks and files show them too."""

import re
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "web" / "src"
IMPORTED = re.compile(r'^(?:import|export)\b[^;"]*?"(\.{1,2}/[^"]+)"', re.MULTILINE)
PICTURES = ("views", "draw", "widget")
THEIRS = (*PICTURES, "api/generated.ts", "state/history.ts", "state/selection.ts", "state/theme.ts")
"""All that pictures may be made of."""


def imported(path: Path) -> list[Path]:
    """The sources that one names, styles left out."""
    named = [(path.parent / name).resolve() for name in IMPORTED.findall(path.read_text(encoding="utf8"))]
    scripts = [each for each in named if each.suffix != ".css"]
    found = [
        next(filter(Path.is_file, (each.with_suffix(".ts"), each.with_suffix(".tsx"), each / "index.tsx")))
        for each in scripts
    ]
    return found


def strangers(start: list[Path]) -> set[str]:
    """What these are made of, however indirectly, that pictures may not be made of."""
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += imported(path)
    names = {path.relative_to(SOURCES).as_posix() for path in seen}
    return {name for name in names if not name.startswith(THEIRS)}


def test_pictures_know_nothing_of_the_lab():
    sources = [path for folder in PICTURES for path in sorted((SOURCES / folder).rglob("*.ts*"))]
    assert len(sources) > 15
    assert strangers(sources) == set()


def test_the_gate_bites():
    assert "state/lab.ts" in strangers([SOURCES / "panels" / "heads.tsx"])
    assert {path.name for path in imported(SOURCES / "views" / "grid.tsx")} >= {
        "shared.tsx",
        "colour.ts",
        "selection.ts",
    }
