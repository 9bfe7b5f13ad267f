"""What a look inside costs: captures, patterns and edits as multiples of Hugging Face's own forward.

Every contestant runs on the same weights, its values are compared with plain Hugging Face's first, and all are
measured in alternation in one process. `--peers` adds TransformerLens and nnsight from the environment that
`benchmarks/peers.sh` makes. Writes results/trace.md and results/trace.json.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import peers
import report
import torch
from plain import KINDS, PlainHooks, Values, attentions, bare, check
from shapes import LENGTHS, N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, Row, alternate, machine, rows
from torch import Tensor

import fluoroscope
from fluoroscope import Model, Trace

HERE = Path(__file__).parent

BARE, AGAIN = "bare SDPA forward", "bare SDPA forward again (noise)"
FLAGS = "HF eager, output_attentions"
PATTERNS = "Fluoroscope, all patterns"
SITES = [f"{kind}.*" for kind in KINDS]
STEERED = "resid_post.6"
ROUNDING = 1e-6


def capture(model: Model, sites: list[str], ids: Tensor) -> Trace:
    return model.trace(ids, sites)


def steer(model: Model, vector: Tensor, ids: Tensor) -> Trace:
    return model.trace(ids, edits={STEERED: vector.add})


def values(trace: Trace) -> Values:
    """A trace's values by name, as the reference names them."""
    return {"logits": trace.logits, **{str(site): value for site, value in trace.values.items()}}


def contestants(shape: Shape) -> dict[str, Any]:
    """The contestants of one shape by name: functions of ids. All share the weights of the first."""
    module = shape.build()
    model = fluoroscope.load(twin(module))
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1))
    return {
        BARE: partial(bare, module),
        AGAIN: partial(bare, twin(module)),
        "Fluoroscope, hooks installed, no run": partial(bare, model.hf),
        "Fluoroscope, a trace of the logits alone": partial(capture, model, []),
        "Fluoroscope, one vector added": partial(steer, model, vector),
        "plain PyTorch hooks, all sites": PlainHooks(twin(module), shape),
        "Fluoroscope, all sites": partial(capture, model, SITES),
        FLAGS: partial(attentions, twin(module, "eager")),
        PATTERNS: partial(capture, model, ["pattern.*"]),
    }


def check_all(named: dict[str, Any], ids: Tensor) -> None:
    """Refuses to measure what does not give plain Hugging Face's values: to the bit, patterns to rounding."""
    expected = named["plain PyTorch hooks, all sites"](ids)
    logits = {"logits": named[BARE](ids)}
    check("plain hooks", expected, logits)
    check("idle", {"logits": named["Fluoroscope, hooks installed, no run"](ids)}, logits)
    check("trace", values(named["Fluoroscope, a trace of the logits alone"](ids)), logits)
    check("capture", values(named["Fluoroscope, all sites"](ids)), expected)
    check("patterns", values(named[PATTERNS](ids)), named[FLAGS](ids), ROUNDING)
    check("steering", values(named["Fluoroscope, one vector added"](ids)), {"logits": _steered(named, ids)})


def _steered(named: dict[str, Any], ids: Tensor) -> Tensor:
    """The edited logits by one plain hook."""
    plain, (_, vector) = named["plain PyTorch hooks, all sites"], named["Fluoroscope, one vector added"].args
    block = dict(plain.module.named_modules())[f"{plain.blocks}.{STEERED.rpartition('.')[2]}"]
    handle = block.register_forward_hook(lambda _module, _args, output: output + vector)
    try:
        return bare(plain.module, ids)
    finally:
        handle.remove()


def kept_bytes(trace: Trace) -> tuple[int, int]:
    """Bytes of memory that a trace's values hold, and the bytes of the distinct values themselves."""
    storages = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in trace.values.values()}
    distinct = {(value.data_ptr(), value.shape): value.nbytes for value in trace.values.values()}
    return sum(storages.values()), sum(distinct.values())


def measure(shape: Shape, lengths: list[int], rounds: int) -> tuple[list[Row], list[Row]]:
    """Times and memory of one shape."""
    named = contestants(shape)
    units = {name: FLAGS if name == PATTERNS else BARE for name in named}
    times: list[Row] = []
    memory: list[Row] = []
    for length in lengths:
        ids = prompt(length)
        check_all(named, ids)
        bound: Contestants = {name: partial(run, ids) for name, run in named.items()}
        times += rows(alternate(bound, rounds), units, shape=shape.name, length=length)
        for name in ("Fluoroscope, all sites", PATTERNS):
            held, floor = kept_bytes(named[name](ids))
            memory.append({"shape": shape.name, "length": length, "contestant": name, "bytes": held, "floor": floor})
        print(f"{shape.name}, {length} tokens", file=sys.stderr)
    return times, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="how often each contestant is measured")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="tokens a prompt")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--peers", action="store_true", help="measure TransformerLens and nnsight too")
    parser.add_argument("--dry", action="store_true", help="print the tables, write no files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    measured = [measure(shape, given.lengths, given.rounds) for shape in SHAPES]
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/trace.py", *sys.argv[1:]]),
        "threads": given.threads,
        "rounds": given.rounds,
        "layers": N_LAYERS,
        "machine": machine("fluoroscope", "torch", "transformers"),
        "times": [row for times, _ in measured for row in times],
        "memory": [row for _, memory in measured for row in memory],
    }
    if given.peers:
        options = [f"--rounds={given.rounds}", f"--threads={given.threads}", "--lengths", *map(str, given.lengths)]
        found["peers"] = peers.measured("peers_trace.py", options)
    report.show(found)
    if not given.dry:
        report.write(found, HERE / "results" / "trace")


if __name__ == "__main__":
    main()
