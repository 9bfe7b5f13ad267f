"""The lens and the scan of `reading.py` by TransformerLens and nnsight; run in their environment, prints JSON."""

import argparse
import json
import logging
import os
import sys
from functools import partial
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TRANSFORMERS_VERBOSITY": "error"}

import scan
import torch
from peers_trace import ROUNDING, bridge
from plain import Captured, bare
from shapes import N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, alternate, machine, rows
from torch import Tensor

TOP = 5


@torch.no_grad()
def plain_lens(module: Any, shape: Shape, ids: Tensor) -> Tensor:
    """The reference: all hidden states, the final norm, all logits. Hugging Face norms the last one itself."""
    states = module(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
    norm = module.get_submodule(f"{shape.blocks.rpartition('.')[0]}.{'ln_f' if 'GPT' in shape.name else 'norm'}")
    normed = [norm(state[0]) for state in states[:-1]] + [states[-1][0]]
    return torch.cat([module.lm_head(state).topk(TOP, dim=-1).indices for state in normed])


@torch.no_grad()
def bridge_lens(model: Any, ids: Tensor) -> Tensor:
    names = [*(f"blocks.{layer}.hook_resid_pre" for layer in range(N_LAYERS)), f"blocks.{N_LAYERS - 1}.hook_resid_post"]
    _, cache = model.run_with_cache(ids, names_filter=names, return_cache_object=False)
    return torch.cat([model.unembed(model.ln_final(cache[name]))[0].topk(TOP, dim=-1).indices for name in names])


@torch.no_grad()
def nnsight_lens(model: Any, shape: Shape, ids: Tensor) -> Tensor:
    kept: list[Tensor] = []
    blocks = model.get(shape.blocks)
    with model.trace(input_ids=ids, use_cache=False):
        for layer in range(N_LAYERS):
            kept.append(blocks[layer].input)
        kept.append(blocks[N_LAYERS - 1].output)
    module = model._module
    norm = module.get_submodule(f"{shape.blocks.rpartition('.')[0]}.{'ln_f' if 'GPT' in shape.name else 'norm'}")
    return torch.cat([module.lm_head(norm(state[0])).topk(TOP, dim=-1).indices for state in kept])


@torch.no_grad()
def bridge_read(model: Any, neurons: str, ids: Tensor) -> tuple[Tensor, Tensor]:
    names = [f"blocks.{scan.LAYER}.hook_resid_post", f"blocks.{scan.LAYER}.mlp.{neurons}"]
    _, cache = model.run_with_cache(ids, names_filter=names, return_cache_object=False)
    return cache[names[0]][:, -1], cache[names[1]]


@torch.no_grad()
def nnsight_read(model: Any, shape: Shape, ids: Tensor) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    block = model.get(shape.blocks)[scan.LAYER]
    with model.trace(input_ids=ids, use_cache=False) as tracer:
        kept.append(block.get(shape.down).input)
        kept.append(block.output)
        tracer.stop()
    return kept[1][:, -1], kept[0]


def measure(shape: Shape, length: int, rounds: int) -> list[dict[str, Any]]:
    from nnsight import NNsight

    module = shape.build()
    lens, sight, plain = bridge(twin(module)), NNsight(twin(module)), Captured(twin(module), shape, scan.LAYER)
    ids = prompt(length)
    named: Contestants = {
        "TransformerLens bridge, lens, top 5": partial(bridge_lens, lens, ids),
        "nnsight, lens, top 5": partial(nnsight_lens, sight, shape, ids),
    }
    expected = plain_lens(twin(module), shape, ids)
    for name, run in named.items():
        agreeing = float((run() == expected).float().mean())
        if agreeing < 0.999:  # the bridge computes attention eagerly: near ties may change places
            raise SystemExit(f"{name} gives other tokens than the reference at {1 - agreeing:.1%} of the places")
    reads = {
        "TransformerLens bridge, scan": partial(bridge_read, lens, "hook_post"),
        "nnsight, scan": partial(nnsight_read, sight, shape),
    }
    for name, each in reads.items():
        scan.check(name, scan.scan(each), scan.scan(plain), ROUNDING)
    unit, over = "bare SDPA forward", "bare SDPA forward over the rows"
    named = {unit: partial(bare, module, ids), **named}
    found = rows(alternate(named, rounds), dict.fromkeys(named, unit), shape=shape.name, length=length)
    scans: Contestants = {
        over: partial(scan.bare_all, partial(bare, module)),
        **{name: partial(scan.scan, each) for name, each in reads.items()},
    }
    turns = max(3, rounds // 4)
    found += rows(alternate(scans, turns), dict.fromkeys(scans, over), shape=shape.name, length=length)
    print(f"peers: {shape.name}", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    found = [row for shape in SHAPES for row in measure(shape, given.length, given.rounds)]
    about = machine("torch", "transformers", "transformer-lens", "nnsight")
    print(json.dumps({"machine": about, "rows": found}))


if __name__ == "__main__":
    main()
