"""Measurements as tables: in the terminal, as Markdown, as JSON."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """A table of texts: a title, the head of each column, the cells."""

    title: str
    head: list[str]
    cells: list[list[str]]


def grids(found: dict[str, Any]) -> list[Grid]:
    """One table a unit for times, by CPU time and by wall time, and one for memory."""
    tables: list[Grid] = []
    peers = found.get("peers", {}).get("rows", [])
    for row in found["times"]:
        unit = row["unit"]
        if any(unit in table.title for table in tables):
            continue
        of_unit = [each for each in [*found["times"], *peers] if each["unit"] == unit != each["contestant"]]
        tables.append(_grid(f"CPU time in units of: {unit}", of_unit, "cpu"))
        tables.append(_grid(f"Wall time in units of: {unit}", of_unit, "wall"))
    if found.get("errors"):
        tables.append(
            _grid("Largest error of bfloat16, as a share of the spread of the effects", found["errors"], "error")
        )
    memory = [{**row, "ratio": row["bytes"] / row["floor"]} for row in found.get("memory", [])]
    if memory:
        tables.append(
            _grid("Memory that a trace holds, in units of: bytes of the distinct values kept", memory, "ratio")
        )
    for unit in dict.fromkeys(row["unit"] for row in found.get("peaks", [])):
        above = [{**row, "ratio": row["bytes"] / row["floor"]} for row in found["peaks"] if row["unit"] == unit]
        mb = [{**row, "ratio": row["bytes"] / 1e6} for row in above]
        tables.append(_grid(f"Peak memory beyond the model, in units of: {unit}", above, "ratio"))
        tables.append(_grid(f"Peak memory beyond the model, MB ({unit})", mb, "ratio"))
    return tables


def _grid(title: str, rows: list[Row], key: str) -> Grid:
    columns = list(dict.fromkeys((row["shape"], row["length"]) for row in rows))
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    cell = {(row["contestant"], row["shape"], row["length"]): f"{row[key]:.3f}" for row in rows}
    cells = [[name, *(cell.get((name, *column), "") for column in columns)] for name in names]
    head = ["", *(f"{shape}, {length}" for shape, length in columns)]
    limits = {row["contestant"]: f"{row['limit']:.1f}" for row in rows if "limit" in row}
    if limits and key == "cpu":
        head.append("must reach")
        cells = [[*line, limits.get(line[0], "")] for line in cells]
    return Grid(title, head, cells)


def show(found: dict[str, Any]) -> None:
    """Prints the tables."""
    console = Console()
    for grid in grids(found):
        table = Table(*grid.head, title=grid.title, title_justify="left")
        for cells in grid.cells:
            table.add_row(*cells)
        console.print(table)
    console.print(_about(found), highlight=False)


def write(found: dict[str, Any], path: Path) -> None:
    """Writes path.md and path.json."""
    path.parent.mkdir(exist_ok=True)
    tables = [_markdown(grid) for grid in grids(found)]
    parts = [f"# {path.name}: what it costs", _about(found), *found.get("notes", []), *tables]
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n", encoding="utf8")
    path.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


def _about(found: dict[str, Any]) -> str:
    versions = found["machine"]["versions"] | found.get("peers", {}).get("machine", {}).get("versions", {})
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"`{found['command']}`: medians of {found['rounds']} rounds, {found['threads']} thread(s) of torch, float32, "
        f"batch 1, on {found['machine']['cpu']} with {found['machine']['cores']} cores; {listed}."
    )


def _markdown(grid: Grid) -> str:
    lines = [grid.head, ["---", *("---:" for _ in grid.head[1:])], *grid.cells]
    return "\n".join([f"**{grid.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])
