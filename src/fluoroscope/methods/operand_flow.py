"""How the operands of a calculation flow to its answer: the nodes and paths that carry them, mean over other operands.

Everything is measured between the prompt and prompts with another operand; see `path_patching` for the shares of nodes
and paths. What a part writes is its exact share of the difference of the logit differences: its contribution in the one
run minus that in the other, each through the final norm of its own run, so that all parts sum to 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch

from fluoroscope.methods import decomposition, path_patching
from fluoroscope.methods.arithmetic import Calculation, Side
from fluoroscope.methods.operands import Counterfactual
from fluoroscope.methods.patching import Patch, patched
from fluoroscope.methods.path_patching import Contrast, Node
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

Shares = dict[Side, float]
"""A mean share for each operand for which it is defined."""

Contrasts = Mapping[Side, Sequence[Contrast]]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Trial:
    """What the model answers with other numbers for one operand.

    Args:
        calculations: those that were tried.
        solved: how many of them it answers rightly at the token that is looked at.
        contrasts: those that it answers differently from the prompt itself.
    """

    calculations: tuple[Calculation, ...]
    solved: int
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Flow:
    """What carries the operands.

    Args:
        nodes: in the order of computation, with the share of each.
        paths: from an operand (its side) or a node to a node.
        written: what each node at the answer's position writes of the answer.
        neurons: what they write, the largest first, and their shares when patched alone.
    """

    nodes: dict[Node, Shares]
    paths: dict[tuple[Side | Node, Node], Shares]
    written: dict[Node, Shares]
    neurons: dict[Site, tuple[Shares, Shares]]


def sites_needed(model: "Model") -> list[str | Site]:
    """What the traces of all contrasts must keep."""
    return [*path_patching.sites_needed(model), *decomposition.sites_needed(model, "neuron")]


def trial(model: "Model", clean: Trace, drawn: Iterable[Counterfactual]) -> Trial:
    """Runs the prompts with another operand, and keeps those that the model answers differently.

    Args:
        clean: the prompt itself, with `sites_needed`; its answer is read at its end.
        drawn: prompts of the same length.
    """
    end, ids = int(clean.tokens.last[0]), clean.tokens.rows[0]
    said = int(clean.logits[0, end].argmax())
    calculations, contrasts, solved = list[Calculation](), list[Contrast](), 0
    for other in drawn:
        trace = model.trace(list(other.ids), sites=sites_needed(model))
        foil = int(trace.logits[0, end].argmax())
        changed = tuple(slot for slot, pair in enumerate(zip(ids, other.ids, strict=True)) if len({*pair}) > 1)
        calculations.append(other.calculation)
        solved += foil == other.answer
        contrast = Contrast(clean, trace, changed, end, said, foil)
        if contrast.whole > 0 and end not in changed:
            contrasts.append(contrast)
    return Trial(tuple(calculations), solved, tuple(contrasts))


def flow(model: "Model", contrasts: Contrasts, top_k: int) -> Flow:
    """The `top_k` heads and the `top_k` MLPs of largest share, and all paths between them.

    Args:
        contrasts: for each operand, prompts that differ in it; without any there is nothing to find.
    """
    if not any(contrasts.values()):
        return Flow({}, {}, {}, {})
    end = next(each.slot for several in contrasts.values() for each in several)
    first = min(each.changed[0] for several in contrasts.values() for each in several)
    nodes = path_patching.nodes(model, range(first, end + 1))
    effects = _mean(contrasts, lambda each, _: _effects(model, each, nodes))
    chosen = _largest(effects, "z", top_k) + _largest(effects, "mlp_out", top_k)
    kept = {node: shares for node, shares in effects.items() if node in chosen}
    written = _mean(contrasts, lambda each, _: _written(model, each))
    hidden = [site for site in written if site.name == "neurons"]
    neurons = sorted(hidden, key=lambda site: -size(written[site]))[:top_k]
    alone = _mean(contrasts, lambda each, _: _neurons(model, each, neurons))
    return Flow(
        nodes=kept,
        paths=_mean(contrasts, lambda each, side: _paths(model, each, side, list(kept))),
        written={node: written[node.site] for node in kept if node.slot == end},
        neurons={site: (written[site], alone[site]) for site in neurons},
    )


def _mean(contrasts: Contrasts, measure: Callable[[Contrast, Side], Mapping[Key, float]]) -> dict[Key, Shares]:
    """A measure of each contrast, its mean for each operand."""
    found: dict[Key, Shares] = {}
    for side, several in contrasts.items():
        for contrast in several:
            for key, value in measure(contrast, side).items():
                shares = found.setdefault(key, {})
                shares[side] = shares.get(side, 0.0) + value / len(several)
    return found


def _largest(effects: Mapping[Node, Shares], name: str, top_k: int) -> list[Node]:
    nodes = [node for node in effects if node.site.name == name]
    return sorted(nodes, key=lambda node: -size(effects[node]))[:top_k]


def size(shares: Shares) -> float:
    """The larger of the shares of both operands, without its sign."""
    return max(map(abs, shares.values()), default=0.0)


def _effects(model: "Model", contrast: Contrast, nodes: Sequence[Node]) -> dict[Node, float]:
    """The share of every node behind the operand; its own tokens are the operand itself."""
    counted = [node for node in nodes if node.slot > contrast.changed[0] and node.slot not in contrast.changed]
    return dict(zip(counted, path_patching.effects(model, contrast, counted).tolist(), strict=True))


def _paths(
    model: "Model", contrast: Contrast, side: Side, nodes: Sequence[Node]
) -> dict[tuple[Side | Node, Node], float]:
    """The share of every path between the operand and the nodes behind it."""
    inside = [node for node in nodes if node.slot > contrast.changed[0] and node.slot not in contrast.changed]
    pairs: list[tuple[Node | None, Node]] = [(None, node) for node in inside if node.site.name == "z"]
    pairs += [(one, other) for one in inside for other in inside if path_patching.connected(one, other)]
    shares = path_patching.paths(model, contrast, pairs).tolist()
    return {
        (side if sender is None else sender, receiver): share
        for (sender, receiver), share in zip(pairs, shares, strict=True)
    }


def _written(model: "Model", contrast: Contrast) -> dict[Site, float]:
    """What each head, MLP and neuron at the answer's position writes of the difference; an MLP holds its neurons."""
    weights = torch.zeros(model.d_vocab, dtype=torch.float64)
    weights[contrast.answer], weights[contrast.foil] = 1.0, -1.0
    clean, other = (
        decomposition.decompose(model, trace, contrast.slot, weights, "neuron")
        for trace in (contrast.clean, contrast.other)
    )
    changes = [(part, part.value - twin.value) for part, twin in zip(clean, other, strict=True)]
    whole = sum(change for _, change in changes)
    found: dict[Site, float] = {}
    for part, change in changes:
        sites = [part.site] if part.site is not None else []
        if part.name.startswith(("neurons.", "b_out.")):
            sites.append(Site("mlp_out", part.layer))
        for site in sites:
            found[site] = found.get(site, 0.0) + change / whole
    return found


def _neurons(model: "Model", contrast: Contrast, neurons: Sequence[Site]) -> dict[Site, float]:
    variants = [[Patch(site, contrast.slot, contrast.other[site][0, contrast.slot])] for site in neurons]
    logits, _ = patched(model, contrast.clean.tokens.rows[0], variants, contrast.slot)
    return dict(zip(neurons, contrast.share(logits).tolist(), strict=True))
