"""What steered generation costs: 50 greedy tokens with the cache and one vector added behind one block.

Against Hugging Face's own `generate` with a plain PyTorch hook, on the same weights, in alternation; the tokens must be
the same. Must reach: at most 1.0 times that. Writes results/steering.md and results/steering.json.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

import report
import torch
from shapes import N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, Row, alternate, machine, rows
from torch import Tensor

import fluoroscope
from fluoroscope import Model
from fluoroscope.methods import steering
from fluoroscope.methods.directions import Direction
from fluoroscope.sites import Site

HERE = Path(__file__).parent

PLAIN, AGAIN = "HF generate, plain hook", "HF generate, plain hook again (noise)"
OURS = "Fluoroscope, steered"
LAYER, NEW, MOST = 6, 50, 1.0
NOTE = (
    "Hugging Face against itself shows the noise. What a step costs more weighs less the larger the model is. Only "
    "what leaves the steered block has hooks while nothing else runs on the model."
)


def hooked(module: Any, blocks: str, vector: Tensor, ids: Tensor) -> list[int]:
    """Hugging Face's own generate with one hook on a block."""

    def add(_module: Any, _args: Any, output: Any) -> Any:
        return output + vector if isinstance(output, Tensor) else (output[0] + vector, *output[1:])

    handle = module.get_submodule(f"{blocks}.{LAYER}").register_forward_hook(add)
    try:
        with torch.no_grad():
            mask = torch.ones_like(ids)
            told = module.generate(
                ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False, eos_token_id=None, pad_token_id=0
            )
    finally:
        handle.remove()
    return told[0, ids.shape[1] :].tolist()


def steered(model: Model, found: Direction, ids: Tensor) -> list[int]:
    """Ours, as `steered_generation` runs it."""
    return model.generate(ids, max_new_tokens=NEW, edits=steering.steered(found, 1.0), stop_tokens=[]).ids[0]


def plain(model: Model, ids: Tensor) -> list[int]:
    return model.generate(ids, max_new_tokens=NEW, stop_tokens=[]).ids[0]


def contestants(shape: Shape) -> Contestants:
    """By name, functions of ids."""
    module = shape.build()
    model = fluoroscope.load(twin(module))
    vector = torch.randn(model.d_model, generator=torch.Generator().manual_seed(1))
    found = Direction(vector, 1.0, Site("resid_post", LAYER), vector.double())
    return {
        PLAIN: partial(hooked, module, shape.blocks, vector),
        AGAIN: partial(hooked, twin(module), shape.blocks, vector),
        OURS: partial(steered, model, found),
        "Fluoroscope, not steered": partial(plain, model),
    }


def measure(shape: Shape, lengths: list[int], rounds: int) -> list[Row]:
    """Times of one shape, once all say the same."""
    named: dict[str, Any] = contestants(shape)
    found: list[Row] = []
    for length in lengths:
        ids = prompt(length)
        said = {name: named[name](ids) for name in (PLAIN, AGAIN, OURS)}
        if len({tuple(each) for each in said.values()}) > 1:
            raise SystemExit(f"the continuations differ: {said}")
        bound: Contestants = {name: partial(run, ids) for name, run in named.items()}
        found += rows(alternate(bound, rounds), dict.fromkeys(named, PLAIN), shape=shape.name, length=length)
        print(f"{shape.name}, {length} tokens", file=sys.stderr)
    return [{**row, "limit": MOST} if row["contestant"] == OURS else row for row in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="how often each contestant is measured")
    parser.add_argument("--lengths", type=int, nargs="+", default=[16], help="tokens a prompt")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--dry", action="store_true", help="print the tables, write no files")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    found: dict[str, Any] = {
        "command": " ".join(["python benchmarks/steering.py", *sys.argv[1:]]),
        "threads": given.threads,
        "rounds": given.rounds,
        "layers": N_LAYERS,
        "notes": [NOTE],
        "machine": machine("fluoroscope", "torch", "transformers"),
        "times": [row for shape in SHAPES for row in measure(shape, given.lengths, given.rounds)],
    }
    report.show(found)
    if not given.dry:
        report.write(found, HERE / "results" / "steering")


if __name__ == "__main__":
    main()
