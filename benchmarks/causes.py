"""What causes cost: sweeps of patches, attribution patching and edges, as multiples of Hugging Face's own passes.

Every contestant's answer is compared with a slow reference first (one run a patch, plain hooks); then all are measured
in alternation in one process, and the peak of their memory one by one. `--peers` adds TransformerLens, nnsight and
pyvene from the environment that `benchmarks/peers.sh` makes. Writes results/causes.md and results/causes.json.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import patches
import peers
import report
import torch
from memory import peak
from patches import (
    ALL_STEPS,
    ANSWER,
    FOIL,
    HEADS,
    LENGTH,
    ONE_BACKWARD,
    RESIDUALS,
    STEPS,
    Pair,
    Patched,
    Sloped,
    compare,
    off,
)
from plain import bare
from shapes import N_HEADS, N_LAYERS, SHAPES, Shape, twin
from timing import Row, alternate, machine, once, rows
from torch import Tensor

import fluoroscope
from fluoroscope import Model, metrics
from fluoroscope.methods import attribution_patching, edges
from fluoroscope.methods.sweeps import Part, Sweep, units
from fluoroscope.signature import Precision
from fluoroscope.sites import Site

HERE = Path(__file__).parent
BARE = "bare SDPA forward"
FAR = "pair differs from the fifth token"
PAIRS = {"pair differs everywhere": 0, FAR: 4}
LIMITS = {HEADS: 2.5, RESIDUALS: 10.0, "attribution patching": 1.0, "EAP, all edges": 1.2, "EAP-IG": 1.0}
ROUNDING = 1e-3  # of the spread of effects, which are differences of float32 logits
ROUGH = 0.5  # bfloat16 is measured, not trusted
NOTES = (
    "Work that makes one run a patch takes so long that it is measured once, against the bare forwards around it.",
    "On AMD's processors with AVX-512 sweeps have their linear maps made by oneDNN, all others by what PyTorch takes "
    'by itself; "by MKL" is a sweep that does the same, whose ratio is that of the work saved.',
    "A few copies of a wide model are made in the pass of the runs themselves, in float32 alone: in bfloat16 the runs "
    "come first, and casting the weights takes what a few copies save.",
    "Left out: HookedTransformer, which TransformerLens 4 no longer has, and auto-circuit, which is written against "
    "it. Both need TransformerLens 3 and so an environment of their own, and their sweeps minutes more.",
)


def heads(model: Model, sides: Pair, precision: Precision = "float32") -> Tensor:
    """The logit difference with each head's z at the last token patched: [layer, head]."""
    sweep = Sweep(model, [sides], ["z"], precision=precision)
    parts = [Part((site,), (LENGTH - 1,)) for site in units(model, "z")]
    sweep.expect(parts)
    return sweep.effects(parts, metrics.logit_diff([ANSWER], [FOIL])).scores.view(N_LAYERS, N_HEADS)


def residuals(model: Model, sides: Pair, precision: Precision = "float32") -> Tensor:
    """The same with what enters each block at each token: [layer, position]."""
    sweep = Sweep(model, [sides], ["resid_pre"], precision=precision)
    parts = [Part((Site("resid_pre", layer),), (slot,)) for layer in range(N_LAYERS) for slot in range(LENGTH)]
    return sweep.effects(parts, metrics.logit_diff([ANSWER], [FOIL])).scores.view(N_LAYERS, LENGTH)


def by_mkl(sweep: Callable[[], Tensor]) -> Tensor:
    """The same sweep with what PyTorch takes by itself."""
    torch.backends.mkldnn.enabled = False
    try:
        return sweep()
    finally:
        torch.backends.mkldnn.enabled = True


def attributed(model: Model, sides: Pair) -> tuple[Tensor, Tensor]:
    """Attribution patching of all heads and all neurons at once: [layer, head], [layer, neuron]."""
    donor, base = (model.tokens(side) for side in sides)
    sites = [*model.sites("z"), *model.sites("neurons")]
    found = attribution_patching.linear(model, base, donor, sites, metrics.logit_diff([ANSWER], [FOIL]))
    z, neurons = (torch.stack([found.whole[site][0] for site in model.sites(name)]) for name in ("z", "neurons"))
    return z, neurons


def edge_scores(model: Model, sides: Pair) -> Tensor:
    """EAP, all edges: [sender, receiver]."""
    donor, base = (model.tokens(side) for side in sides)
    return edges.linear(model, base, donor, metrics.logit_diff([ANSWER], [FOIL])).mean


def integrated_edge_scores(model: Model, sides: Pair) -> Tensor:
    """EAP with integrated gradients."""
    donor, base = (model.tokens(side) for side in sides)
    return edges.integrated(model, base, donor, metrics.logit_diff([ANSWER], [FOIL]), steps=STEPS).mean


def check(module: Any, model: Model, shape: Shape) -> tuple[list[Row], list[Row]]:
    """Refuses to measure what is not right; what the slow reference costs, and how far bfloat16 is off.

    Raises:
        SystemExit: with what is not.
    """
    plain, sloped = Patched(module, shape), Sloped(module, shape)
    times, errors = list[Row](), list[Row]()
    labels = {"shape": shape.name, "length": LENGTH}
    for name, first in PAIRS.items():
        sides = patches.pair(first)
        for work, fast, slow in ((HEADS, heads, plain.heads), (RESIDUALS, residuals, plain.residuals)):
            expected, row = once(partial(slow, sides), partial(bare, module, sides[1]))
            compare(f"{work}, {name}", fast(model, sides), expected, ROUNDING)
            rough = fast(model, sides, "bfloat16")
            compare(f"{work}, {name}, bfloat16", rough, expected, ROUGH)
            errors.append({**labels, "contestant": f"{work}, {name}", "error": off(rough, expected)})
            if name == FAR:
                times.append({**labels, **row, "contestant": f"plain hooks, {work}", "unit": BARE})
        for mine, theirs in zip(attributed(model, sides), sloped.units(sides), strict=True):
            compare("attribution patching", mine, theirs, ROUNDING)
        exists = edges.graph(model).exists
        for method, fast, steps in (("EAP", edge_scores, 0), ("EAP-IG", integrated_edge_scores, STEPS)):
            compare(method, fast(model, sides)[exists], sloped.edges(sides, steps)[exists], ROUNDING)
    return times, errors


def contestants(module: Any, model: Model) -> dict[str, dict[str, Callable[[], object]]]:
    """Unit -> contestant -> work; the first contestant is the unit itself."""
    sweeps: dict[str, Callable[[], object]] = {BARE: partial(bare, module, patches.pair(0)[0])}
    for name, first in PAIRS.items():
        sides = patches.pair(first)
        for work, fast in ((HEADS, heads), (RESIDUALS, residuals)):
            sweeps[f"{work}, {name}"] = partial(fast, model, sides)
            sweeps[f"{work}, {name}, bfloat16"] = partial(fast, model, sides, "bfloat16")
            if name == FAR:
                sweeps[f"{work}, {name}, by MKL"] = partial(by_mkl, partial(fast, model, sides))
    sides = patches.pair(PAIRS[FAR])
    return {
        BARE: sweeps,
        ONE_BACKWARD: {
            ONE_BACKWARD: partial(patches.one_backward, module, sides),
            "attribution patching, all heads and neurons": partial(attributed, model, sides),
            "EAP, all edges": partial(edge_scores, model, sides),
        },
        ALL_STEPS: {
            ALL_STEPS: partial(patches.all_steps, module, sides),
            f"EAP-IG, {STEPS} steps": partial(integrated_edge_scores, model, sides),
        },
    }


def limited(row: Row) -> Row:
    """The row with what it must reach, where that was set: as it is in float32, of residuals for the field's pairs."""
    name = row["contestant"]
    if "bfloat16" in name or "MKL" in name or (name.startswith(RESIDUALS) and FAR not in name):
        return row
    limit = next((limit for work, limit in LIMITS.items() if name.startswith(work)), None)
    return row if limit is None else {**row, "limit": limit}


def measure(shape: Shape, rounds: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Times, errors of bfloat16 and peaks of memory of one shape."""
    module = shape.build().requires_grad_(False)
    model = fluoroscope.load(twin(module))
    times, errors = check(module, model, shape)
    memory: list[Row] = []
    for unit, work in contestants(module, model).items():
        print(f"{shape.name}, {unit}", file=sys.stderr)
        found = rows(alternate(work, rounds), dict.fromkeys(work, unit), shape=shape.name, length=LENGTH)
        times += map(limited, found)
        peaks = {name: peak(run) for name, run in work.items() if "bfloat16" not in name}
        labels = {"shape": shape.name, "length": LENGTH, "unit": unit}
        memory += [{**labels, "contestant": name, "bytes": held, "floor": peaks[unit]} for name, held in peaks.items()]
    return times, errors, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each contestant is measured")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--peers", action="store_true", help="measure TransformerLens, nnsight and pyvene too")
    parser.add_argument("--dry", action="store_true", help="print the tables, write no files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    measured = [measure(shape, given.rounds) for shape in SHAPES]
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/causes.py", *sys.argv[1:]]),
        "threads": given.threads,
        "rounds": given.rounds,
        "layers": N_LAYERS,
        "machine": machine("fluoroscope", "torch", "transformers"),
        "times": [row for times, _, _ in measured for row in times],
        "errors": [row for _, errors, _ in measured for row in errors],
        "peaks": [row for _, _, memory in measured for row in memory],
        "notes": list(NOTES),
    }
    if given.peers:
        found["peers"] = peers.measured("peers_causes.py", [f"--threads={given.threads}"])
    report.show(found)
    if not given.dry:
        report.write(found, HERE / "results" / "causes")


if __name__ == "__main__":
    main()
