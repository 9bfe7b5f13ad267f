"""Circuits, run: every receiver reads some senders as they are in this run, and all others as they are elsewhere.

The query, key and value of every head, every MLP and the logits read a stream of their own: that of the run, and for
each edge that is not in the circuit what its sender would write elsewhere less what it writes here. With all edges
that is the clean run, with none the corrupted one. What belongs to no sender, such as biases, is the run's own (Wang et
al. 2022, "Interpretability in the Wild", knockout; Conmy et al. 2023, "Towards Automated Circuit Discovery for
Mechanistic Interpretability", on edges).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fluoroscope import portions
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention
from fluoroscope.methods import slopes
from fluoroscope.methods.graph import Graph, graph, output, outputs, written
from fluoroscope.metrics import Metric
from fluoroscope.modules import submodule
from fluoroscope.progress import track
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model

Ablation = Literal["resample", "mean", "zero"]
"""What a receiver reads of a sender whose edge is cut: what it writes for the corrupted prompt; the mean of that over
all tokens of all corrupted prompts; nothing."""

Kept = Bool[Tensor, "circuit sender receiver"]
"""Which edges are in each circuit."""

_LETTERS = {"q_proj": "Q", "k_proj": "K", "v_proj": "V"}


class Circuits:
    """Pairs of prompts on which circuits of a model are run.

    Args:
        model: whose circuits they are.
        clean: the prompts that circuits run on.
        corrupted: row by row of equal length; where cut edges have their values from.
        ablation: what these values are.
        position: index of the token after which circuits answer.
        budget: bytes that circuits which run together may hold.

    Attributes:
        graph: of the model, without scores.
        elsewhere: Float[Tensor, "pair sender pos d_model"], what cut edges carry; axes may be one for all.

    Raises:
        ArgumentError: prompts of unequal length.
        TokenError: a prompt has no such position.
        UnavailableError: what the parts of this model write or read cannot be told apart.
    """

    def __init__(
        self,
        model: "Model",
        clean: Tokens,
        corrupted: Tokens,
        ablation: Ablation = "resample",
        *,
        position: int = -1,
        budget: int = 1 << 30,
    ) -> None:
        slopes.check_pairs(clean, corrupted)
        self.model, self.tokens, self.corrupted, self.budget = model, clean, corrupted, budget
        self.graph = graph(model)
        self._slots = torch.tensor([clean.slots(row, [position])[0] for row in range(len(clean))])
        self.elsewhere = elsewhere(model, corrupted, ablation)

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.tokens)

    @property
    def whole(self) -> Kept:
        """One circuit of all edges."""
        return self.graph.exists[None]

    @property
    def empty(self) -> Kept:
        """One circuit of no edges."""
        return torch.zeros_like(self.whole)

    def scores(self, kept: Kept, metric: Metric) -> Float[Tensor, "circuit pair"]:
        """The metric of every clean prompt as each circuit answers it, in float64.

        Raises:
            ArgumentError: a circuit with edges that are not there, or one pair alone is beyond the budget.
            Cancelled: between blocks.
        """
        pairs = len(self)
        self._check(kept)
        found = torch.empty(len(kept) * pairs, dtype=torch.float64)
        for rows in self._portions(len(kept) * pairs):
            removed = self.graph.exists & ~kept[rows // pairs]
            found[rows] = self._run(removed, rows % pairs, metric).to(found)
        return found.view(-1, pairs)

    def _check(self, kept: Kept) -> None:
        if kept.shape[1:] != self.graph.exists.shape or bool((kept & ~self.graph.exists).any()):
            raise ArgumentError("a circuit has edges that this model has not", "Take edges of its graph.")

    def _portions(self, rows: int) -> Iterator[Int64[Tensor, "row"]]:
        """Rows that run together."""
        slots, dims = self.tokens.ids.shape[1], self.model.dims
        streams = len(self.graph.senders) + 8 * dims.n_heads
        row = portions.row_bytes(dims, slots) + 4 * dims.d_model * streams
        sizes = portions.cut([slots] * rows, row, 8 * dims.d_vocab, self.budget)
        yield from track(torch.arange(rows).split(sizes), "circuits")

    @torch.no_grad()
    def _run(self, removed: Bool[Tensor, "row sender receiver"], pairs: Int64[Tensor, "row"], metric: Metric) -> Tensor:
        own, model = self.tokens, self.model
        given = self.elsewhere if len(self.elsewhere) == 1 else self.elsewhere[pairs]
        mixture = Mixture(model, self.graph, removed, given, own.ids.shape[1])
        tokens = Tokens(own.ids[pairs], own.mask[pairs], own.pad, own.tokenizer)
        trace = slopes.run(model, tokens, (), mixture.edits())
        return slopes.scored(model, trace, metric.at(pairs), self._slots[pairs])


@torch.no_grad()
def elsewhere(model: "Model", corrupted: Tokens, ablation: Ablation) -> Float[Tensor, "pair sender pos d_model"]:
    """What receivers read of senders whose edges are cut, where it is the same for all pairs and positions one each."""
    given = outputs(model, model.trace(corrupted, written(model), logits=False).values)
    if ablation == "resample":
        return given
    if ablation == "zero":
        return torch.zeros_like(given[:1, :, :1])
    return given.movedim(1, 2)[corrupted.mask].mean(0)[None, :, None]


class Mixture:
    """The edits that give every receiver of a run its own stream.

    Args:
        removed: the edges that each row is without.
        elsewhere: what their senders write instead; rows and positions may be one for all.
    """

    def __init__(
        self,
        model: "Model",
        whole: Graph,
        removed: Bool[Tensor, "row sender receiver"],
        elsewhere: Float[Tensor, "row sender pos d_model"],
        slots: int,
    ) -> None:
        self.model, self.graph = model, whole
        self._cut = removed.to(elsewhere)
        # What each sender writes elsewhere; less what it writes here, once it has.
        self._missing = elsewhere.expand(len(removed), -1, slots, -1).clone()
        self._stream = self._shift = elsewhere  # of the block that is running, once it is

    def edits(self) -> dict[str | Site, Intervention]:
        """By site; they belong to one run."""
        made: dict[str | Site, Intervention] = {}
        for site in written(self.model):
            made[site] = self._sender(site)
        for layer in range(self.model.n_layers):
            made[Site("resid_pre", layer)] = self._entry(layer)
            made |= {Site(name, layer): self._projection(name, layer) for name in _LETTERS}
            if not self.model.architecture.parallel:
                made[Site("attn_out", layer)] = self._middle(layer)
        made[Site("resid_post", self.model.n_layers - 1)] = lambda stream: self._alone(stream, "logits")
        return made

    def _columns(self, first: str, count: int = 1) -> tuple[int, list[int]]:
        """How many senders receivers know, and which columns of theirs have cut edges in some row.

        Args:
            first: the first of so many receivers, which know the same senders.
        """
        column = self.graph.places[1][first]
        cut = self._cut[..., column : column + count].amax((0, 1)).nonzero()[:, 0]
        return int(self.graph.exists[:, column].sum()), (cut + column).tolist()

    def _read(
        self, stream: Float[Tensor, "row pos d_model"], known: int, columns: Sequence[int]
    ) -> Float[Tensor, "row receiver pos d_model"]:
        """The streams of receivers."""
        cut = self._cut[:, :known, list(columns)]
        added = cut.mT.to(stream.dtype) @ self._missing[:, :known].flatten(2)
        return stream[:, None] + added.unflatten(2, stream.shape[1:])

    def _alone(self, stream: Float[Tensor, "row pos d_model"], receiver: str) -> Float[Tensor, "row pos d_model"]:
        """The stream of one receiver."""
        known, columns = self._columns(receiver)
        return self._read(stream, known, columns)[:, 0] if columns else stream

    def _sender(self, site: Site) -> Intervention:
        """Takes down what is written."""
        heads, layer = site.name == "z", site.layer
        start = self.graph.places[0][f"L{layer}H0" if heads else str(site).replace("mlp_out", "mlp")]

        def seen(value: Tensor) -> Tensor:
            senders = output(self.model, site, value)
            self._missing[:, start : start + senders.shape[1]] -= senders
            return value - self._shift if site.name == "mlp_out" else value

        return seen

    def _entry(self, layer: int) -> Intervention:
        """Where MLPs stand beside attention, the block gets the stream of the MLP; heads have their own anyway."""

        def entered(stream: Tensor) -> Tensor:
            self._stream = stream
            if not self.model.architecture.parallel:
                return stream
            read = self._alone(stream, f"mlp.{layer}")
            self._shift = read - stream
            return read

        return entered

    def _middle(self, layer: int) -> Intervention:
        """The MLP's stream is made by what attention adds, and made good by what the MLP adds."""

        def added(value: Tensor) -> Tensor:
            middle = self._stream + value
            self._shift = self._alone(middle, f"mlp.{layer}") - middle
            return value + self._shift

        return added

    def _projection(self, name: str, layer: int) -> Intervention:
        letter, model = _LETTERS[name], self.model
        weight, bias = model.weights[f"W_{letter}.{layer}"], model.weights.get(f"b_{letter}.{layer}")
        norm = submodule(model.blocks[layer], model.architecture.attn_norm)

        def projected(value: Float[Tensor, "row head pos d_head"]) -> Tensor:
            first = f"L{layer}H0.{letter.lower()}"
            known, columns = self._columns(first, len(weight))
            start = self.graph.places[1][first]
            if model.architecture.parallel:  # what the block was given is the stream of the MLP
                columns = list(range(start, start + len(weight)))
            heads = [column - start for column in columns]
            read = self._read(self._stream, known, columns)
            made = (read if norm is None else norm(read)) @ weight[heads]
            value[:, heads] = (made if bias is None else made + bias[heads, None]).to(value.dtype)
            return value

        return projected
