"""What reading a pass costs: lenses, attribution, a scan of many rows, as multiples of Hugging Face's own forward.

Every contestant's answer is compared with a slow reference first; then all are measured in alternation in one process,
and the peak of their memory one by one. `--peers` adds TransformerLens and nnsight from the environment that
`benchmarks/peers.sh` makes. Writes results/reading.md and results/reading.json.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import peers
import report
import scan
import torch
from memory import peak
from plain import Captured, bare
from shapes import N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, Row, alternate, machine, rows
from torch import Tensor

import fluoroscope
from fluoroscope import Model
from fluoroscope.methods import decomposition
from fluoroscope.methods.decomposition import Grain, Part
from fluoroscope.methods.top_tokens import top_tokens
from fluoroscope.methods.translators import depth_sites

HERE = Path(__file__).parent
BARE = "bare SDPA forward"
ROWS = "bare SDPA forward over the rows"
TOP = 5
ROUNDING = 1e-4  # of a sum of 37,000 float32 parts against one float32 logit


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


def attributed(model: Model, grain: Grain, ids: Tensor) -> list[Part]:
    """The last token's prediction as a sum of all heads and MLPs, or of all heads and neurons."""
    trace = model.trace(ids, decomposition.sites_needed(model, grain))
    weights = torch.zeros(model.d_vocab, dtype=torch.float64)
    weights[int(trace.logits[0, -1].argmax())] = 1
    return decomposition.decompose(model, trace, -1, weights, grain)


def read(model: Model, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The last token's residual and the neurons of a layer; the pass ends behind them."""
    sites = [f"resid_post.{scan.LAYER}", f"neurons.{scan.LAYER}"]
    trace = model.trace(ids, sites, logits=False)
    return trace[sites[0]][:, -1], trace[sites[1]]


def check(model: Model, plain: Captured, ids: Tensor) -> None:
    """Refuses to measure what is not right.

    Raises:
        SystemExit: with what is not.
    """
    if not torch.equal(in_full(model, ids), certified(model, ids)):
        raise SystemExit("the lens finds other tokens by candidates than in full")
    logit = float(model.trace(ids).logits[0, -1].max())
    for grain in ("head", "neuron"):
        if abs(sum(part.value for part in attributed(model, grain, ids)) - logit) > ROUNDING:
            raise SystemExit(f"the attribution to every {grain} does not sum to the logit")
    scan.check("the scan", scan.scan(partial(read, model)), scan.scan(plain))


def measure(shape: Shape, length: int, rounds: int) -> tuple[list[Row], list[Row]]:
    """Times and peaks of memory of one shape."""
    module = shape.build()
    model, plain = fluoroscope.load(twin(module)), Captured(twin(module), shape, scan.LAYER)
    ids = prompt(length)
    check(model, plain, ids)
    named: dict[str, Callable[[], object]] = {
        BARE: partial(bare, module, ids),
        "lens, top 5 of all logits": partial(in_full, model, ids),
        "lens, top 5 by certified candidates": partial(certified, model, ids),
        "attribution to every head and MLP": partial(attributed, model, "head", ids),
        "attribution to every head and neuron": partial(attributed, model, "neuron", ids),
    }
    over_rows: dict[str, Callable[[], object]] = {
        ROWS: partial(scan.bare_all, partial(bare, module)),
        "scan of the rows by plain hooks": partial(scan.scan, plain),
        "scan of the rows by Fluoroscope": partial(scan.scan, partial(read, model)),
    }
    times: list[Row] = []
    memory: list[Row] = []
    for unit, work, turns in ((BARE, named, rounds), (ROWS, over_rows, max(3, rounds // 4))):
        print(f"{shape.name}, {unit}", file=sys.stderr)
        contestants: Contestants = work
        times += rows(alternate(contestants, turns), dict.fromkeys(work, unit), shape=shape.name, length=length)
        peaks = {name: peak(run) for name, run in work.items()}
        labels = {"shape": shape.name, "length": length, "unit": unit}
        memory += [{**labels, "contestant": name, "bytes": held, "floor": peaks[unit]} for name, held in peaks.items()]
    return times, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20, help="how often each contestant is measured")
    parser.add_argument("--length", type=int, default=64, help="tokens of the prompt")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--peers", action="store_true", help="measure TransformerLens and nnsight too")
    parser.add_argument("--dry", action="store_true", help="print the tables, write no files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    measured = [measure(shape, given.length, given.rounds) for shape in SHAPES]
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/reading.py", *sys.argv[1:]]),
        "threads": given.threads,
        "rounds": given.rounds,
        "layers": N_LAYERS,
        "machine": machine("fluoroscope", "torch", "transformers"),
        "times": [row for times, _ in measured for row in times],
        "peaks": [row for _, memory in measured for row in memory],
    }
    if given.peers:
        options = [f"--rounds={given.rounds}", f"--threads={given.threads}", f"--length={given.length}"]
        found["peers"] = peers.measured("peers_reading.py", options)
    report.show(found)
    if not given.dry:
        report.write(found, HERE / "results" / "reading")


if __name__ == "__main__":
    main()
