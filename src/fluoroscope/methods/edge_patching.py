"""What patching every single edge does, exactly: one receiver reads one sender as in the donor run, all else its own.

The stream that the receiver reads gets what its sender writes more in the donor run; what its projection or the MLP
makes of that is patched into a copy of the base run, of which only what differs is computed again (`replay.py`). This
is what edge attribution patching estimates (Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path
Patching"; Syed et al. 2023).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.methods import slopes
from fluoroscope.methods.graph import Graph, graph, outputs, written
from fluoroscope.metrics import Metric
from fluoroscope.modules import submodule
from fluoroscope.progress import telling, track
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch
from fluoroscope.run import outside
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.variants import Variant

if TYPE_CHECKING:
    from fluoroscope.model import Model

_LETTERS = {"q_proj": "Q", "k_proj": "K", "v_proj": "V"}
_HELD = ("resid_pre", "attn_out", *_LETTERS, "mlp_out")

Added = Float[Tensor, "pair sender pos d_model"]


class Patched(NamedTuple):
    """An edge of a pair of prompts, and the copy in which it is patched."""

    pair: int
    sender: int
    receiver: int
    variant: Variant


@torch.no_grad()
def exact(
    model: "Model",
    base: Tokens,
    donor: Tokens | Added,
    metric: Metric,
    *,
    only: Bool[Tensor, "sender receiver"] | None = None,
    position: int = -1,
    budget: int = 1 << 30,
) -> Graph:
    """The graph with what patching each edge adds to the metric at one position; exactly 0 for no difference.

    Args:
        base: the prompts whose edges are patched, and whose scores are looked at.
        donor: those that values are taken from, row by row of equal length; or what every sender writes instead.
        only: the edges to patch; the scores of all others stay 0. Without it all of them.
        position: index of the token after which the metric is taken.
        budget: bytes that a sweep may hold beside the base run.

    Raises:
        ArgumentError: prompts of unequal length, or one copy alone is beyond the budget.
        TokenError: a prompt has no such position.
        UnavailableError: what the parts of this model write or read cannot be told apart.
        Cancelled: with the graph of the edges that were patched, if there are any.
    """
    whole = graph(model)
    end = Site("resid_post", model.n_layers - 1)
    held = [end, *(site for name in _HELD for site in model.sites(name))]
    replay = Replay(model, base, held, positions=[position], budget=budget)
    wanted = whole.exists if only is None else whole.exists & only
    sweep = _Edges(replay, whole, wanted, _added(model, base, donor))
    plain = _plain(replay, metric)
    scores = torch.zeros(len(base), *whole.exists.shape, dtype=torch.float64)
    done = torch.zeros_like(wanted)
    with telling(lambda _: replace(whole, exists=done.clone(), scores=scores.clone()) if bool(done.any()) else None):
        for layer in track(range(model.n_layers + 1), "edges"):
            edges = list(sweep.into_logits() if layer == model.n_layers else sweep.into(layer))
            for edge, score in zip(edges, _scored(replay, edges, metric).tolist(), strict=True):
                scores[edge.pair, edge.sender, edge.receiver] = score - plain[edge.pair]
            done |= wanted & _of_block(whole, layer, model.n_layers)
    return whole.scored(scores)


def _of_block(whole: Graph, layer: int, n_layers: int) -> Bool[Tensor, "receiver"]:
    """The receivers of a block; of the one behind the last, the logits."""
    names = ("logits",) if layer == n_layers else (f"L{layer}H", f"mlp.{layer}")
    return torch.tensor([each.startswith(names[0]) or each == names[-1] for each in whole.receivers])


def _added(model: "Model", base: Tokens, donor: Tokens | Added) -> Added:
    """What each sender adds to the stream more than in the base run; 0 at padding."""
    if isinstance(donor, Tokens):
        slopes.check_pairs(base, donor)
        donor = outputs(model, model.trace(donor, written(model), logits=False).values)
    own = outputs(model, model.trace(base, written(model), logits=False).values)
    return (donor - own).masked_fill(~base.mask[:, None, :, None], 0)


def _plain(replay: Replay, metric: Metric) -> Float[Tensor, "pair"]:
    """The metric of the base run, read out as that of its copies."""
    reads = None if metric.weights is None else metric.reads
    ends = replay.base_logits(reads)[:, 0]
    return (metric(ends) if reads is None else metric.of_read(ends)).double()


def _scored(replay: Replay, edges: Sequence[Patched], metric: Metric) -> Float[Tensor, "edge"]:
    """The metric with each of them patched."""
    found = torch.empty(len(edges), dtype=torch.float64)
    reads = None if metric.weights is None else metric.reads
    for indices, logits in replay.logits([edge.variant for edge in edges], reads):
        own, ends = metric.at([edges[index].pair for index in indices]), logits[:, 0]
        found[indices] = (own(ends) if reads is None else own.of_read(ends)).to(found)
    return found


class _Edges:
    """The edges that carry a difference, block by block.

    Args:
        replay: of the base run, with all that is read and written in it.
        wanted: the edges that are asked for.
        added: what each sender would add more.
    """

    def __init__(self, replay: Replay, whole: Graph, wanted: Bool[Tensor, "sender receiver"], added: Added) -> None:
        self.replay, self.model, self.graph, self.added = replay, replay.model, whole, added
        self._wanted = wanted
        self._differs = (added != 0).any(-1).tolist()  # pair, sender, slot

    def into(self, layer: int) -> Iterator[Patched]:
        """Those that the heads and the MLP of a block read."""
        yield from self._into_heads(layer)
        yield from self._into_mlp(layer)

    def into_logits(self) -> Iterator[Patched]:
        """Those that are read last, after one token alone."""
        site = Site("resid_post", self.model.n_layers - 1)
        stream = self.replay.trace[site]
        for pair, sender, slots in self._carrying("logits", last=True):
            patch = Patch(site, slots, stream[pair, list(slots)] + self.added[pair, sender, list(slots)])
            yield self._edge(pair, sender, self.graph.places[1]["logits"], patch)

    def _carrying(self, first: str, count: int = 1, *, last: bool) -> Iterator[tuple[int, int, tuple[int, ...]]]:
        """Pairs and senders that some of receivers are to read, and the slots at which they differ.

        Args:
            first: the first of so many receivers.
            last: whether the token that is read alone counts.
        """
        column = self.graph.places[1][first]
        senders = self._wanted[:, column : column + count].any(1).nonzero()[:, 0].tolist()
        for pair, differs in enumerate(self._differs):
            read = [int(self.replay.read[pair, 0])] if last else range(self.added.shape[2])
            for sender in senders:
                slots = tuple(slot for slot in read if differs[sender][slot])
                if slots:
                    yield pair, sender, slots

    def _edge(self, pair: int, sender: int, receiver: int, patch: Patch) -> Patched:
        return Patched(pair, sender, receiver, Variant(prompt=pair, patches=[patch]))

    def _into_heads(self, layer: int) -> Iterator[Patched]:
        stream, last = self.replay.trace[f"resid_pre.{layer}"], layer == self.model.n_layers - 1
        norm = submodule(self.model.blocks[layer], self.model.architecture.attn_norm)
        for name, letter in _LETTERS.items():
            weight, bias = (self.model.weights.get(f"{kind}_{letter}.{layer}") for kind in "Wb")
            assert weight is not None
            first = f"L{layer}H0.{letter.lower()}"
            column = self.graph.places[1][first]
            # Behind the last block only one token is read, so there its query alone counts.
            for pair, sender, slots in self._carrying(first, len(weight), last=last and letter == "Q"):
                read = stream[pair, list(slots)] + self.added[pair, sender, list(slots)]
                with outside():
                    read = read if norm is None else norm(read)
                made = read @ weight
                for head, value in enumerate(made if bias is None else made + bias[:, None]):
                    if self._wanted[sender, column + head]:
                        yield self._edge(pair, sender, column + head, Patch(Site(name, layer, head), slots, value))

    def _into_mlp(self, layer: int) -> Iterator[Patched]:
        """What the MLP makes of a changed stream is read in a run of its own, which ends behind it."""
        receiver, last = f"mlp.{layer}", layer == self.model.n_layers - 1
        changed = Site("resid_pre" if self.model.architecture.parallel else "attn_out", layer)
        before, site = self.replay.trace[changed], Site("mlp_out", layer)
        carrying = list(self._carrying(receiver, last=last))
        first = [
            Variant(
                prompt=pair,
                patches=[Patch(changed, slots, before[pair, list(slots)] + self.added[pair, sender, list(slots)])],
            )
            for pair, sender, slots in carrying
        ]
        for indices, values in self.replay.values(first, [site]):
            for row, index in enumerate(indices):
                pair, sender, slots = carrying[index]
                patch = Patch(site, slots, values[site][row, list(slots)])
                yield self._edge(pair, sender, self.graph.places[1][receiver], patch)
