"""Heads, MLPs and neurons behind each behaviour, by single ablation and exact attribution, averaged over cases."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fluoroscope.methods.ablation import without
from fluoroscope.methods.decomposition import decompose, sites_needed
from fluoroscope.model import Model
from fluoroscope.sites import Site
from training import score
from training.world import BEHAVIOURS, Case, cases

END = -1


def behind(model: Model, n: int = 24, seed: int = 13) -> list[dict[str, Any]]:
    """One row per behaviour: the parts that cost its answers most, and the neurons that write most of them.

    Heads and MLPs: nats of the log-probability of the answer's first token that zero ablation of one takes, at every
    position. Neurons: logits that one adds to that token over the mean of all tokens, with the final norm frozen, at
    the position before it. All are means over n held-out cases.
    """
    return [{"behaviour": name} | behind_one(model, cases(name, n, seed)) for name in BEHAVIOURS]


def behind_one(model: Model, told: Sequence[Case]) -> dict[str, Any]:
    """The dearest heads and MLPs and the loudest neurons over some cases."""
    parts = [Site("z", layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    parts += [Site("mlp_out", layer) for layer in range(model.n_layers)]
    costs, writes = torch.zeros(len(parts)), Counter[str]()
    for index, case in enumerate(told):
        ids, answer = score.ids_of(model.tokenizer, case, index)
        says = without(model, ids, [[], *([part] for part in parts)], END)[:, 0].log_softmax(-1)[:, answer[0]]
        costs += (says[0] - says[1:]) / len(told)
        for label, logits in _neurons(model, ids, answer[0]).items():
            writes[label] += logits / len(told)  # pyright: ignore[reportArgumentType] - a Counter of floats
    split = model.n_layers * model.n_heads
    return {
        "heads": _most(parts[:split], costs[:split], 4),
        "mlps": _most(parts[split:], costs[split:], 2),
        "neurons": {label: round(logits, 2) for label, logits in writes.most_common(3)},
    }


def _most(sites: Sequence[Site], values: Tensor, top: int) -> dict[str, float]:
    best = values.topk(top)
    return {sites[place].label: round(float(values[place]), 2) for place in best.indices.tolist()}


def _neurons(model: Model, ids: Sequence[int], answer: int) -> dict[str, float]:
    """What each neuron adds to the answer's logit over the mean logit."""
    weights = torch.full((model.d_vocab,), -1 / model.d_vocab)
    weights[answer] += 1
    trace = model.trace(list(ids), sites=sites_needed(model, "neuron"))
    parts = decompose(model, trace, len(ids) - 1, weights, "neuron")
    return {part.label: part.value for part in parts if part.site and part.site.name == "neurons"}
