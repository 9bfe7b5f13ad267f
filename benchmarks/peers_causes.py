"""The work of `causes.py` by TransformerLens, nnsight and pyvene; run in their environment, prints JSON.

They make one run a patch, which takes so long that each is measured once, against the bare forwards around it.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TRANSFORMERS_VERBOSITY": "error"}

import torch
from patches import (
    D_HEAD,
    HEADS,
    LENGTH,
    ONE_BACKWARD,
    RESIDUALS,
    Pair,
    Patched,
    Sloped,
    compare,
    difference,
    one_backward,
    pair,
)
from peers_trace import bridge
from plain import PlainHooks, bare
from shapes import N_HEADS, N_LAYERS, SHAPES, Shape, twin
from timing import alternate, machine, once, rows
from torch import Tensor

ROUNDING = 1e-3
FIRST = 4  # the pair differs from the fifth token on


@torch.no_grad()
def bridge_sweep(model: Any, sides: Pair, hook: str, places: list[tuple[Any, ...]]) -> Tensor:
    """One run for each layer and place; places index what the hook is shown."""
    names = [f"blocks.{layer}.{hook}" for layer in range(N_LAYERS)]
    _, given = model.run_with_cache(sides[0], names_filter=names, return_cache_object=False)
    scores = torch.zeros(N_LAYERS, len(places))
    for (layer, name), (column, place) in product(enumerate(names), enumerate(places)):

        def write(value: Tensor, hook: Any, name: str = name, place: tuple[Any, ...] = place) -> Tensor:
            value[place] = given[name][place]
            return value

        scores[layer, column] = difference(model.run_with_hooks(sides[1], fwd_hooks=[(name, write)]))
    return scores


@torch.no_grad()
def nnsight_sweep(
    model: Any, shape: Shape, sides: Pair, given: Any, kind: str, places: list[tuple[Any, ...]]
) -> Tensor:
    values, blocks = given(sides[0]), model.get(shape.blocks)
    scores = torch.zeros(N_LAYERS, len(places))
    for layer, (column, place) in product(range(N_LAYERS), enumerate(places)):
        value = values[f"{kind}.{layer}"].flatten(2)[place]
        kept: list[Tensor] = []
        with model.trace(input_ids=sides[1], use_cache=False):
            block = blocks[layer]
            if kind == "z":
                block.get(shape.o).input[place] = value
            else:
                block.input[place] = value
            kept.append(model.output.logits)
        scores[layer, column] = difference(kept[0])
    return scores


@torch.no_grad()
def pyvene_heads(models: list[Any], sides: Pair) -> Tensor:
    scores = torch.zeros(N_LAYERS, N_HEADS)
    end = [[[LENGTH - 1]]]
    for layer, head in product(range(N_LAYERS), range(N_HEADS)):
        _, found = models[layer](
            {"input_ids": sides[1]}, [{"input_ids": sides[0]}],
            unit_locations={"sources->base": ([[[[head]], end[0]]], [[[[head]], end[0]]])},
        )  # fmt: skip
        scores[layer, head] = difference(found.logits)
    return scores


def pyvene_models(module: Any) -> list[Any]:
    """An intervenable model for each layer."""
    import pyvene

    part = {
        "component": "head_attention_value_output",
        "unit": "h.pos",
        "intervention_type": pyvene.VanillaIntervention,
    }
    return [pyvene.IntervenableModel({"layer": layer, **part}, model=twin(module)) for layer in range(N_LAYERS)]


def bridge_units(model: Any, neurons: str, sides: Pair) -> tuple[Tensor, Tensor]:
    """Attribution patching of all heads and neurons, weights frozen."""
    names = [f"blocks.{layer}.{kind}" for kind in ("attn.hook_z", f"mlp.{neurons}") for layer in range(N_LAYERS)]
    with torch.no_grad():
        _, given = model.run_with_cache(sides[0], names_filter=names, return_cache_object=False)
    own: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any, name: str) -> Tensor:
        own[name] = value if value.requires_grad else value.detach().requires_grad_()
        own[name].retain_grad()
        return own[name]

    logits = model.run_with_hooks(sides[1], fwd_hooks=[(name, partial(keep, name=name)) for name in names])
    difference(logits).backward()
    parts = [((given[name] - own[name]) * own[name].grad)[0].detach().sum(0) for name in names]
    return torch.stack([part.sum(-1) for part in parts[:N_LAYERS]]), torch.stack(parts[N_LAYERS:])


def measure(shape: Shape, rounds: int) -> list[dict[str, Any]]:
    from nnsight import NNsight

    module: Any = shape.build().requires_grad_(False)
    sides, plain, sloped = pair(FIRST), Patched(module, shape), Sloped(module, shape)
    lens, sight, given = bridge(twin(module)), NNsight(twin(module)), PlainHooks(twin(module), shape)
    head_slices = [(slice(None), -1, slice(head * D_HEAD, (head + 1) * D_HEAD)) for head in range(N_HEADS)]
    slots = [(slice(None), slot) for slot in range(LENGTH)]
    work: dict[str, Callable[[], Tensor]] = {
        f"TransformerLens bridge, {HEADS}": partial(
            bridge_sweep, lens, sides, "attn.hook_z", [(slice(None), -1, head) for head in range(N_HEADS)]
        ),
        f"TransformerLens bridge, {RESIDUALS}": partial(bridge_sweep, lens, sides, "hook_resid_pre", slots),
        f"nnsight, {HEADS}": partial(nnsight_sweep, sight, shape, sides, given, "z", head_slices),
        f"nnsight, {RESIDUALS}": partial(nnsight_sweep, sight, shape, sides, given, "resid_pre", slots),
        f"pyvene, {HEADS}": partial(pyvene_heads, pyvene_models(module), sides),
    }
    expected = {HEADS: plain.heads(sides), RESIDUALS: plain.residuals(sides)}
    labels = {"shape": shape.name, "length": LENGTH}
    found: list[dict[str, Any]] = []
    for name, run in work.items():
        print(f"peers: {shape.name}, {name}", file=sys.stderr)
        scores, row = once(run, partial(bare, module, sides[1]))
        compare(name, scores, expected[name.partition(", ")[2]], ROUNDING)
        found.append({**labels, **row, "contestant": name, "unit": "bare SDPA forward"})
    units = partial(bridge_units, lens, "hook_post", sides)
    for mine, theirs in zip(units(), sloped.units(sides), strict=True):
        compare("TransformerLens bridge, attribution patching", mine, theirs, ROUNDING)
    gradients = {
        ONE_BACKWARD: partial(one_backward, module, sides),
        "TransformerLens bridge, attribution patching": units,
    }
    return found + rows(alternate(gradients, rounds), dict.fromkeys(gradients, ONE_BACKWARD), **labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    found = [row for shape in SHAPES for row in measure(shape, given.rounds)]
    about = machine("torch", "transformers", "transformer-lens", "nnsight", "pyvene")
    print(json.dumps({"machine": about, "rows": found}))


if __name__ == "__main__":
    main()
