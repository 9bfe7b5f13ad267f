"""Writes docs/circuits.md: the circuits of the specimen, each with the command that finds it again.

python docs/circuits.py
"""

from pathlib import Path

import fluoroscope
from fluoroscope.analyses.circuit import Circuit, circuit
from fluoroscope.render.text import number, percent, share

PAGE = Path(__file__).with_name("circuits.md")
TASKS = ("ioi", "induction", "facts", "duplicate_token", "greater_than", "gender_pronoun")
HEADER = (
    "task", "edges", "of all", "faithful, 95 % interval", "left without it", "random circuits", "at 1 %", "at 5 %",
    "at 10 %", "CPR", "CMD", "strongest edges",
)  # fmt: skip


def found(task: str) -> Circuit:
    """The circuit of a task on the specimen, as the command finds it."""
    return circuit(fluoroscope.load(), task=task)


def row(made: Circuit) -> list[str]:
    """What the page says of a circuit."""
    strongest = sorted(made.edges, key=lambda wire: -abs(wire.value))[:4]
    return [
        f"`{made.task}`",
        f"{len(made.edges)}",
        percent(len(made.edges) / made.total),
        made.faithfulness.told(),
        share(made.rest.mean),
        f"{share(min(made.random))} to {share(max(made.random))}",
        *(share(size.faithfulness.mean) for size in made.curve if size.share in (0.01, 0.05, 0.1)),
        number(made.cpr),
        number(made.cmd),
        ", ".join(f"{wire.sender} → {wire.receiver}" for wire in strongest),
    ]


def page(rows: list[list[str]]) -> str:
    """The whole page."""
    lines = [list(HEADER), ["---"] * len(HEADER), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return TEXT.format(table=table)


TEXT = """# Circuits of the specimen

A circuit is a set of edges, each from what writes into the residual stream (embeddings, heads, MLPs) to what reads it
(a head's query, key or value, an MLP, the logits). To run it, every reader gets the stream of the run, and in it, for
each edge that is not in the circuit, what the corrupted prompt has the writer say. With all edges that is the clean
run, with none the corrupted one; faithfulness is the share of the way between the two.

Each row is what `fluoro circuit --task TASK` finds, such as

```bash
fluoro circuit --task facts
```

Edges are ranked by attribution patching with integrated gradients on 8 pairs of prompts. The circuit is the smallest
of a few sizes that does 95 % on them, and is judged on 8 other pairs of the same task, so it may do less there. What is
left without it is what the model does with the circuit's edges cut and all others in place; random circuits are five of
the same size that are connected to the logits. Beside it the circuits of the best 1, 5 and 10 % of the edges, and the
areas of MIB under the curve of faithfulness over all sizes (CPR) and between it and 1 (CMD). `python docs/circuits.py`
writes this page.

{table}

`--method exact` ranks by patching every edge in a run of its own, `--method acdc` cuts edges one by one; `--size`
chooses the size, `--ablation` what cut edges carry, `--leave-out` says what the circuit loses without each node.
`fluoro edges CLEAN CORRUPTED` shows single edges. `--out circuit.graphml` and `--out circuit.dot` save the graph.

What is known of these methods: every edge of nine compiled programs and of four planted circuits is found by exact
patching and by ACDC, and no other (`tests/exact/test_known_circuits.py`). Integrated gradients find those of three of
the planted ones; of the backup head they also name two idle edges, since their way leads through undecided looks.
"""


if __name__ == "__main__":
    PAGE.write_text(page([row(found(task)) for task in TASKS]), encoding="utf8")
    print(f"wrote {PAGE}")
