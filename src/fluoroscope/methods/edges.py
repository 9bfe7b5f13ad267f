"""What patching every edge would do, estimated from backward passes: edge attribution patching.

The score of an edge is what its sender would add more, were it the donor run's, times the gradient of the metric with
respect to what its receiver alone reads of the stream (Syed et al. 2023, "Attribution Patching Outperforms Automated
Circuit Discovery"; integrated: Hanna et al. 2024, "Have Faith in Faithfulness"). No head has an input of its own that
gradients could be taken at, and none is needed: the gradient at its query, before norms of queries and rotary, goes
back through W_Q and through the exact derivative of the norm in between; an MLP's is what the stream's gradient gains
across it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope import shares
from fluoroscope.errors import UnavailableError
from fluoroscope.methods import slopes
from fluoroscope.methods.graph import Graph, graph, output, written
from fluoroscope.methods.slopes import Path, Score, Slopes
from fluoroscope.modules import submodule
from fluoroscope.norms import FrozenNorm, frozen
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.verify import tolerance

if TYPE_CHECKING:
    from fluoroscope.model import Model

_READ = ("resid_pre", "q_proj", "k_proj", "v_proj", "attn_out", "mlp_out")
_PROJECTIONS = {"q_proj": "Q", "k_proj": "K", "v_proj": "V"}


def linear(model: "Model", base: Tokens, donor: Tokens, metric: Score, *, by_position: bool = False) -> Graph:
    """The graph with first-order scores of all edges, from two forward passes and one backward pass.

    Args:
        base: the prompts whose edges are patched, and whose scores are looked at.
        donor: those that values are taken from, row by row of equal length.
        by_position: scores of each position apart, counted in slots of the padded prompts.

    Raises:
        ArgumentError: prompts of unequal length, a metric without gradient.
        UnavailableError: what the parts of this model write or read cannot be told apart.
    """
    slopes.check_pairs(base, donor)
    whole, layers = graph(model), range(model.n_layers)
    given = model.trace(donor, written(model), logits=False)
    run = Slopes(model, base, _sites(layers), metric, held=written(model))
    reading = _Reading(model, layers, 1)
    reading.add(run, len(base))
    return whole.scored(_scores(whole, _added(model, run.values, given.values, base), reading, by_position=by_position))


def integrated(
    model: "Model",
    base: Tokens,
    donor: Tokens,
    metric: Score,
    *,
    steps: int = 5,
    path: Path = "inputs",
    by_position: bool = False,
) -> Graph:
    """The graph with scores from gradients averaged on a straight way between the runs, by the midpoint rule.

    Args:
        steps: points on the way.
        path: inputs moves what enters the first block, and costs `steps` backward passes; values moves what the
            embedding, the heads of a block or an MLP write, for the edges from there, and costs as many for each.

    Raises:
        ArgumentError, UnavailableError: as `linear`; fewer than one step.
    """
    slopes.check_pairs(base, donor)
    whole, wanted = graph(model), [Site("resid_pre", 0), *written(model)]
    own, given = (model.trace(tokens, wanted, logits=False) for tokens in (base, donor))
    added = _added(model, own.values, given.values, base)
    total: Tensor | None = None
    for moved, first, senders in _moved(model, whole, path):
        layers = range(first, model.n_layers)
        reading = _Reading(model, layers, steps)
        for run in slopes.along(
            model, base, _sites(layers), metric, (moved, own[moved], given[moved] - own[moved]), steps
        ):
            reading.add(run, len(base))
        found = _scores(whole, added, reading, by_position=by_position)
        total = torch.zeros_like(found) if total is None else total
        total[:, senders] = found[:, senders]
    assert total is not None
    return whole.scored(total)


def _moved(model: "Model", whole: Graph, path: Path) -> Iterator[tuple[Site, int, slice]]:
    """What moves, the first block whose receivers read it, and the senders whose edges it is about."""
    if path == "inputs":
        yield Site("resid_pre", 0), 0, slice(None)
        return
    place = whole.places[0]["L0H0"]
    yield Site("resid_pre", 0), 0, slice(0, place)
    for layer in range(model.n_layers):
        yield Site("z", layer), layer, slice(place, place + model.n_heads)
        place += model.n_heads + 1
        yield Site("mlp_out", layer), min(layer + 1, model.n_layers - 1), slice(place - 1, place)


def _sites(layers: Sequence[int]) -> list[Site]:
    return [Site(name, layer) for layer in layers for name in _READ]


def _added(
    model: "Model", base: Mapping[Site, Tensor], donor: Mapping[Site, Tensor], tokens: Tokens
) -> Float[Tensor, "pair sender pos d_model"]:
    """What each sender adds to the stream in the donor run, less what it adds in the base run; 0 at padding."""
    parts: list[Tensor] = []
    for site in written(model):
        if site.name == "z" and shares.post_norm(model, site.layer or 0, "attn") is not None:
            parts.append(output(model, site, donor[site]) - output(model, site, base[site]))
        else:
            parts.append(output(model, site, donor[site] - base[site]))  # linear
    return torch.cat(parts, 1).masked_fill(~tokens.mask[:, None, :, None], 0)


class _Reading:
    """Gradients with respect to what each receiver reads of the stream, averaged over steps.

    Args:
        layers: the blocks whose receivers are wanted.
        steps: how many runs will be added for each pair.

    Attributes:
        heads: layer -> Float[Tensor, "pair reader pos d_model"], queries first, then keys, then values.
        mlp: layer -> Float[Tensor, "pair 1 pos d_model"].
        logits: Float[Tensor, "pair 1 pos d_model"].
    """

    def __init__(self, model: "Model", layers: Sequence[int], steps: int) -> None:
        self.model, self.layers, self.steps = model, layers, steps
        self.heads: dict[int, Tensor] = {}
        self.mlp: dict[int, Tensor] = {}
        self.logits: Tensor | None = None

    def add(self, run: Slopes, pairs: int) -> None:
        """Adds a run whose rows are steps of all pairs."""
        gradients = run.gradients()

        def averaged(site: Site) -> Tensor:
            return _over_steps(gradients[site], pairs)[:, None] / self.steps

        for layer in self.layers:
            read = self._heads(run.values, gradients, layer, pairs)
            before, after = averaged(Site("resid_pre", layer)), averaged(Site("mlp_out", layer))
            if self.model.architecture.parallel:
                mlp = before - after - read.sum(1, keepdim=True)
            else:
                middle = averaged(Site("attn_out", layer))
                self._agree(read.sum(1, keepdim=True), before - middle, before, f"what the heads of block {layer} read")
                mlp = middle - after
            self.heads[layer] = self.heads[layer] + read if layer in self.heads else read
            self.mlp[layer] = self.mlp[layer] + mlp if layer in self.mlp else mlp
        end = averaged(Site("mlp_out", self.model.n_layers - 1))  # what is added last is read by the logits alone
        self.logits = end if self.logits is None else self.logits + end

    def _heads(
        self, values: Mapping[Site, Tensor], gradients: Mapping[Site, Tensor], layer: int, pairs: int
    ) -> Float[Tensor, "pair reader pos d_model"]:
        """Back from the projections, through the weights and the derivative of the norm that attention reads.

        With u the normed stream before its gain, and c the gradient's product with gain · u, the derivative of a norm
        takes a gradient g to (gain · g - u c / d_model) / size, less its mean where the norm takes off the mean. The
        product c is had at the projection already, which is W (gain · u) plus what is constant.
        """
        stream, back, along = values[Site("resid_pre", layer)], list[Tensor](), list[Tensor]()
        norm = self._norm(layer, stream)
        for name, letter in _PROJECTIONS.items():
            weight, slope = self.model.weights[f"W_{letter}.{layer}"], gradients[Site(name, layer)]
            if norm is not None:
                slope = slope * norm.inverse[:, None]
                constant = _constant(norm, weight, self.model.weights.get(f"b_{letter}.{layer}"))
                along.append(((values[Site(name, layer)] - constant) * slope).sum(-1, keepdim=True))
            back.append(_over_steps(slope, pairs) @ weight.mT)
        read = torch.cat(back, 1)
        if norm is None:
            return read / self.steps
        read = read if norm.gain is None else read * norm.gain
        centred = stream - stream.mean(-1, keepdim=True) if norm.centred else stream
        unit = (centred * norm.inverse)[:, None].unflatten(0, (-1, pairs))
        shrinking = (torch.cat(along, 1) / stream.shape[-1]).unflatten(0, (-1, pairs))
        for factor, direction in zip(shrinking, unit, strict=True):  # step by step
            read = torch.addcmul(read, factor, direction, value=-1)
        read = read - read.mean(-1, keepdim=True) if norm.centred else read
        return read / self.steps

    def _norm(self, layer: int, stream: Tensor) -> FrozenNorm | None:
        """The norm that attention reads; None where it reads the stream itself.

        Raises:
            UnavailableError: its formula does not reproduce the module.
        """
        arch = self.model.architecture
        module = submodule(self.model.blocks[layer], arch.attn_norm)
        if module is None or isinstance(module, nn.Identity) or arch.norm == "none":
            return None
        norm = frozen(arch, module, stream)
        with torch.no_grad():
            expected, made = module(stream), norm.scaled(stream) + (0 if norm.bias is None else norm.bias)
        self._agree(made, expected, expected, f"the formula of {arch.attn_norm!r} of block {layer}")
        return norm

    def _agree(self, made: Tensor, expected: Tensor, scale: Tensor, what: str) -> None:
        """Refuses what is not within the roundings that sums over a stream explain.

        Raises:
            UnavailableError: it is not.
        """
        error = float((made - expected).abs().max()) / max(float(scale.abs().max()), 1e-30)
        if not error <= 16 * tolerance(self.model.dtype):
            raise UnavailableError(f"{what} misses by {error:.1e}", "Its edges have no exact gradients.")


def _over_steps(rows: Tensor, pairs: int) -> Tensor:
    return rows.unflatten(0, (-1, pairs)).sum(0)


def _constant(norm: FrozenNorm, weight: Float[Tensor, "head d_model d"], bias: Tensor | None) -> Tensor:
    """What a projection has of biases: Float[Tensor, "head 1 d"], or 0."""
    parts = [] if norm.bias is None else [norm.bias.to(weight.dtype) @ weight]
    parts += [] if bias is None else [bias]
    return sum(parts[1:], parts[0])[:, None] if parts else weight.new_zeros(())


def _scores(
    whole: Graph, added: Float[Tensor, "pair sender pos d_model"], reading: _Reading, *, by_position: bool
) -> Float[Tensor, "pair sender receiver"] | Float[Tensor, "pair sender receiver position"]:
    """What is added times what is made of it; 0 where there is no edge, or no receiver that was looked at."""
    shape = (added.shape[0], len(whole.senders), len(whole.receivers))
    scores = added.new_zeros(*shape, added.shape[2]) if by_position else added.new_zeros(shape)
    assert reading.logits is not None
    blocks = [(f"L{layer}H0.q", reading.heads[layer]) for layer in reading.layers]
    blocks += [(f"mlp.{layer}", reading.mlp[layer]) for layer in reading.layers]
    for first, slope in [*blocks, ("logits", reading.logits)]:
        column = whole.places[1][first]
        known, columns = int(whole.exists[:, column].sum()), slice(column, column + slope.shape[1])
        if by_position:
            scores[:, :known, columns] = torch.einsum("bspd,brpd->bsrp", added[:, :known], slope)
        else:
            scores[:, :known, columns] = added[:, :known].flatten(2) @ slope.flatten(2).mT
    return scores
