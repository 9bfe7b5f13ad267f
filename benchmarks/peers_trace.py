"""The work of `trace.py` by TransformerLens and nnsight; run in their environment, prints JSON.

Each peer gets the very same modules, and is measured against the bare forward in this process.
"""

import argparse
import json
import logging
import os
import sys
import tempfile
from functools import partial
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled", "TRANSFORMERS_VERBOSITY": "error"}

import torch
from plain import PlainHooks, Values, attentions, bare, check
from shapes import LENGTHS, N_LAYERS, SHAPES, Shape, prompt, twin
from timing import Contestants, alternate, machine, rows
from torch import Tensor

HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "z": "attn.hook_z",
}
PATTERN = {"pattern": "attn.hook_pattern"}
ROUNDING = 1e-5  # the bridge computes attention eagerly, so it differs from SDPA by rounding


def bridge(module: Any) -> Any:
    """TransformerLens's bridge over a module; it insists on a tokenizer in a folder."""
    from tokenizers import Tokenizer, models
    from transformer_lens import TransformerBridge
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<s>": 0, "a": 1}, unk_token="<s>"))
    with tempfile.TemporaryDirectory() as folder:
        PreTrainedTokenizerFast(
            tokenizer_object=words, bos_token="<s>", eos_token="<s>", pad_token="<s>"
        ).save_pretrained(folder)
        return TransformerBridge.boot_transformers(folder, hf_model=module)


def bridge_capture(model: Any, hooks: dict[str, str], ids: Tensor) -> Values:
    names = {f"{kind}.{layer}": f"blocks.{layer}.{hook}" for kind, hook in hooks.items() for layer in range(N_LAYERS)}
    with torch.no_grad():
        logits, cache = model.run_with_cache(ids, names_filter=list(names.values()), return_cache_object=False)
    return {"logits": logits, **{name: cache[hook] for name, hook in names.items()}}


def nnsight_capture(model: Any, shape: Shape, ids: Tensor) -> Values:
    kept: Values = {}
    blocks = model.get(shape.blocks)
    with torch.no_grad(), model.trace(input_ids=ids, use_cache=False):
        for layer in range(N_LAYERS):
            block = blocks[layer]
            kept[f"resid_pre.{layer}"] = block.input
            kept[f"z.{layer}"] = block.get(shape.o).input.unflatten(-1, (12, -1))
            kept[f"attn_out.{layer}"] = block.get(shape.attn).output[0]
            kept[f"mlp_out.{layer}"] = block.get(shape.mlp).output
            kept[f"resid_post.{layer}"] = block.output
        kept["logits"] = model.output.logits
    return kept


def nnsight_patterns(model: Any, shape: Shape, ids: Tensor) -> Values:
    kept: Values = {}
    blocks = model.get(shape.blocks)
    with torch.no_grad(), model.trace(input_ids=ids, use_cache=False):
        for layer in range(N_LAYERS):
            kept[f"pattern.{layer}"] = blocks[layer].get(shape.attn).output[1]
        kept["logits"] = model.output.logits
    return kept


def measure(shape: Shape, lengths: list[int], rounds: int) -> list[dict[str, Any]]:
    from nnsight import NNsight

    module = shape.build()
    eager = twin(module, "eager")
    plain, lens = PlainHooks(twin(module), shape), bridge(twin(module))
    sdpa_sight, eager_sight = NNsight(twin(module)), NNsight(twin(module, "eager"))
    found: list[dict[str, Any]] = []
    for length in lengths:
        ids = prompt(length)
        work = {
            "TransformerLens bridge, all sites": partial(bridge_capture, lens, HOOKS, ids),
            "nnsight, all sites": partial(nnsight_capture, sdpa_sight, shape, ids),
            "TransformerLens bridge, all patterns": partial(bridge_capture, lens, PATTERN, ids),
            "nnsight, all patterns": partial(nnsight_patterns, eager_sight, shape, ids),
        }  # fmt: skip
        for name, run in work.items():
            expected = attentions(eager, ids) if "patterns" in name else plain(ids)
            check(name, run(), expected, ROUNDING)
        contestants: Contestants = {
            "bare SDPA forward": partial(bare, module, ids),
            "HF eager, output_attentions": partial(attentions, eager, ids),
            **work,
        }
        units = {
            name: "HF eager, output_attentions" if "patterns" in name else "bare SDPA forward" for name in contestants
        }
        found += rows(alternate(contestants, rounds), units, shape=shape.name, length=length)
        print(f"peers: {shape.name}, {length} tokens", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    logging.disable(logging.WARNING)
    found = [row for shape in SHAPES for row in measure(shape, given.lengths, given.rounds)]
    about = machine("torch", "transformers", "transformer-lens", "nnsight")
    print(json.dumps({"machine": about, "rows": found}))


if __name__ == "__main__":
    main()
