"""Where each prediction forms over depth, and what is left of the token that was read.

Every depth of the residual stream read by the model's own output head (the logit lens), held against the model's
prediction and against the token that was read. Early depths are written for later blocks, not for the output head: that
the final token leads there is one sign that a depth holds it, and that it does not lead is no proof against.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope.arguments import checked
from fluoroscope.errors import UnavailableError
from fluoroscope.methods import readout
from fluoroscope.methods.translators import depth_sites
from fluoroscope.progress import track
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result, number
from fluoroscope.signature import AnyPrompt
from fluoroscope.views import Column, Heatmap, Mark, Row, Table, Value, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"

_LOGITS_AT_ONCE = 2**23
_FAR = 100.0


class ConvergenceDepth(Record):
    """One depth, a number per token of the prompt. Ranks are 1 + the number of tokens that are likelier.

    Args:
        site: the residual stream that was read.
        kl: KL(final ‖ this depth), in nats; None where it is infinite.
        rank: of the model's own prediction.
        top_logit: of the token that this depth itself finds likeliest.
        input_rank: of the token that was read.
        input_probability: of the token that was read.
        kl_from_embedding: KL(this depth ‖ embedding), in nats; None where it is infinite.
    """

    site: str
    kl: tuple[float | None, ...]
    rank: tuple[int, ...]
    top_logit: tuple[float, ...]
    input_rank: tuple[int, ...]
    input_probability: tuple[float, ...]
    kl_from_embedding: tuple[float | None, ...]

    @property
    def label(self) -> str:
        return "embedding" if self.site == "resid_pre.0" else f"block {self.site.rpartition('.')[2]}"


class ConvergencePosition(Record):
    """One token of the prompt and what the model predicts behind it.

    Args:
        first: the first site at which the prediction is the likeliest token.
        settled: the first site from which on it is the likeliest token at every depth.
    """

    token: str
    prediction: str
    prediction_id: int
    probability: float
    first: str
    settled: str


class Convergence(Result):
    """How predictions form over depth and tokens, shallowest depth first."""

    positions: tuple[ConvergencePosition, ...]
    depths: tuple[ConvergenceDepth, ...]

    def summary(self) -> str:
        end, count = self.positions[-1], len(self.positions)
        prediction = f"{quoted(end.prediction)} ({percent(end.probability)}) after {quoted(end.token)}"
        kept = [sum(rank == 1 for rank in depth.input_rank) for depth in (self.depths[0], self.depths[-1])]
        late = "" if end.first == end.settled else f", and for good from {self._named(end.settled)} on"
        early = sum(place.settled != self.depths[-1].site for place in self.positions)
        return (
            f"The prediction {prediction} first leads at {self._named(end.first)}{late}; {early} of {count} positions "
            f"settle before the last block; the token read leads at {kept[0]} of {count} in the embedding and at "
            f"{kept[1]} in the end."
        )

    def views(self) -> list[View]:
        return [self._settling(), *self.convergence_views(), *self.input_views()]

    def convergence_views(self) -> list[View]:
        """The way to the prediction: KL, whether it leads, its rank, and how high the logits have grown."""
        leads = [[float(rank == 1) for rank in depth.rank] for depth in self.depths]
        return [
            self._heatmap("How far from the end", "KL(final ‖ depth), nats", [depth.kl for depth in self.depths]),
            self._heatmap("Where the final prediction leads", "1: it does", leads, maximum=1.0),
            self._heatmap("Rank of the final prediction", "rank", [d.rank for d in self.depths], maximum=_FAR),
            self._heatmap(
                "Logit of each depth's own favourite", "logit", [d.top_logit for d in self.depths], signed=True
            ),
        ]

    def input_views(self) -> list[View]:
        """What is left of the token that was read."""
        read, moved = [d.input_rank for d in self.depths], [d.kl_from_embedding for d in self.depths]
        likely = [d.input_probability for d in self.depths]
        return [
            self._heatmap("Rank of the token that was read", "rank", read, maximum=_FAR),
            self._heatmap("How far from the embedding", "KL(depth ‖ embedding), nats", moved),
            self._heatmap("Probability of the token that was read", "probability", likely, maximum=1.0),
        ]

    def _named(self, site: str) -> str:
        label = self._label(site)
        return f"the {label}" if label == "embedding" else label

    def _label(self, site: str) -> str:
        return next(depth.label for depth in self.depths if depth.site == site)

    def _heatmap(
        self,
        title: str,
        unit: str,
        values: Sequence[Sequence[Value]],
        maximum: float | None = None,
        signed: bool = False,
    ) -> Heatmap:
        captions = {
            "rank": "1 is the likeliest token.",
            "KL(depth ‖ embedding), nats": "The embedding read as a prediction is no prediction: a measure of change.",
        }
        return Heatmap(
            title=title,
            caption=captions.get(unit, ""),
            unit=unit,
            signed=signed,
            maximum=maximum,
            rows=tuple(Mark(label=depth.label, site=depth.site) for depth in self.depths),
            columns=tuple(Mark(label=place.token, token=True) for place in self.positions),
            values=tuple(tuple(row) for row in values),
        )

    def _settling(self) -> Table:
        return Table(
            title="Where the prediction leads first, and from where on for good",
            caption="Early depths are written for later blocks, not for the output head.",
            columns=(
                Column(name="position"), Column(name="after", token=True), Column(name="prediction", token=True),
                Column(name="p"), Column(name="leads first"), Column(name="for good from"),
            ),
            rows=tuple(
                Row(
                    cells=(
                        index, place.token, place.prediction, place.probability, self._label(place.first),
                        self._label(place.settled),
                    ),
                    site=place.settled,
                )
                for index, place in enumerate(self.positions)
            ),
        )  # fmt: skip


@checked
@torch.no_grad()
def convergence(model: "Model", prompt: AnyPrompt) -> Convergence:
    """Holds every depth of the stream against the model's prediction and against the token that was read.

    Args:
        prompt: the text to read.

    Raises:
        ArgumentError: a batch of prompts.
        UnavailableError: no exact output head, or a token of the prompt has no logit.
    """
    sites = depth_sites(model.n_layers)
    trace = model.trace(prompt, sites=sites)
    readout.only_slot(trace.tokens, -1)
    ids, final = trace.tokens.ids[0], trace.logits[0].argmax(-1)
    if int(ids.max()) >= model.d_vocab:
        raise UnavailableError(f"token {int(ids.max())} has no logit, so it has no rank", "Leave it out of the prompt.")
    columns: list[list[list[float]]] = [[] for _ in sites]
    step = max(1, _LOGITS_AT_ONCE // model.d_vocab)
    for start in track(range(0, len(ids), step), "lens"):
        part = slice(start, start + step)
        streams = [trace[site][0, part] for site in sites]
        end = readout.log_probs(trace.logits[0, part].double())
        embedding = readout.log_probs(model.unembed(streams[0]).double())
        for depth, stream in enumerate(streams):
            columns[depth] += _numbers(model.unembed(stream).double(), end, embedding, final[part], ids[part])
    depths = tuple(_depth(site, rows) for site, rows in zip(sites, columns, strict=True))
    likely = readout.log_probs(trace.logits[0]).gather(-1, final[:, None])[:, 0].exp().tolist()
    pieces = trace.tokens.labels[0]
    return Convergence(
        recipe=trace.recipe,
        positions=tuple(
            _position(model, pieces[slot], token, likely[slot], sites, [depth.rank[slot] for depth in depths])
            for slot, token in enumerate(final.tolist())
        ),
        depths=depths,
    )


def _numbers(
    logits: Float[Tensor, "pos d_vocab"],
    end: Float[Tensor, "pos d_vocab"],
    embedding: Float[Tensor, "pos d_vocab"],
    final: Int[Tensor, "pos"],
    read: Int[Tensor, "pos"],
) -> list[list[float]]:
    """For each position the numbers of a depth, in the order of its fields."""
    log_p = readout.log_probs(logits)
    values = (
        readout.kl(end, log_p),
        readout.rank(log_p, final),
        logits.amax(-1),
        readout.rank(log_p, read),
        log_p.gather(-1, read[:, None])[:, 0].exp(),
        readout.kl(log_p, embedding),
    )
    return torch.stack([value.double() for value in values], 1).tolist()


def _depth(site: str, rows: list[list[float]]) -> ConvergenceDepth:
    kl, rank, top, input_rank, probability, moved = zip(*rows, strict=True)
    return ConvergenceDepth(
        site=site,
        kl=tuple(map(number, kl)),
        rank=tuple(map(int, rank)),
        top_logit=top,
        input_rank=tuple(map(int, input_rank)),
        input_probability=probability,
        kl_from_embedding=tuple(map(number, moved)),
    )


def _position(
    model: "Model", token: str, prediction: int, probability: float, sites: list[str], ranks: list[int]
) -> ConvergencePosition:
    """Its last rank is 1: the prediction is the last depth's."""
    leads = [rank == 1 for rank in ranks[:-1]] + [True]
    others = [depth for depth, here in enumerate(leads) if not here]
    return ConvergencePosition(
        token=token,
        prediction=model.token_label(prediction),
        prediction_id=prediction,
        probability=probability,
        first=sites[leads.index(True)],
        settled=sites[others[-1] + 1 if others else 0],
    )
