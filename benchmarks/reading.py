"""What reading a pass costs: the lens of all depths and positions, as multiples of Hugging Face's own forward.

Both ways of the lens give the same tokens, which is checked before they are measured, in alternation in one process.
Writes results/reading.md and results/reading.json.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import report
import torch
from plain import bare
from shapes import N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, Row, alternate, machine, rows
from torch import Tensor

import fluoroscope
from fluoroscope import Model
from fluoroscope.methods.top_tokens import top_tokens
from fluoroscope.methods.translators import depth_sites

HERE = Path(__file__).parent
BARE = "bare SDPA forward"
TOP = 5


def streams(model: Model, ids: Tensor) -> Tensor:
    """The residual stream of every depth and position, one a row."""
    sites = depth_sites(model.n_layers)
    trace = model.trace(ids, sites)
    return torch.cat([trace[site][0] for site in sites])


@torch.no_grad()
def in_full(model: Model, ids: Tensor) -> Tensor:
    """The likeliest tokens from all logits."""
    return model.unembed(streams(model, ids)).topk(TOP, dim=-1).indices


def certified(model: Model, ids: Tensor) -> Tensor:
    """The same by candidates in bfloat16 and a proof."""
    return top_tokens(model, streams(model, ids), TOP).ids


def measure(shape: Shape, length: int, rounds: int) -> list[Row]:
    """Times of one shape.

    Raises:
        SystemExit: the two ways differ.
    """
    module = shape.build()
    model = fluoroscope.load(twin(module))
    ids = prompt(length)
    if not torch.equal(in_full(model, ids), certified(model, ids)):
        raise SystemExit("the lens finds other tokens by candidates than in full")
    named: Contestants = {
        BARE: partial(bare, module, ids),
        "lens, top 5 of all logits": partial(in_full, model, ids),
        "lens, top 5 by certified candidates": partial(certified, model, ids),
    }
    print(f"{shape.name}, {length} tokens", file=sys.stderr)
    return rows(alternate(named, rounds), dict.fromkeys(named, BARE), shape=shape.name, length=length)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often each contestant is measured")
    parser.add_argument("--length", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--dry", action="store_true", help="print the tables, write no files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/reading.py", *sys.argv[1:]]),
        "threads": given.threads,
        "rounds": given.rounds,
        "layers": N_LAYERS,
        "machine": machine("fluoroscope", "torch", "transformers"),
        "times": [row for shape in SHAPES for row in measure(shape, given.length, given.rounds)],
    }
    report.show(found)
    if not given.dry:
        report.write(found, HERE / "results" / "reading")


if __name__ == "__main__":
    main()
