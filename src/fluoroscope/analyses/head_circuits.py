"""What each attention head copies, promotes or looks for, by its weights alone.

The OV circuit says what a head writes for a token it reads, the QK circuit which tokens it looks for (Elhage et al.
2021, "A Mathematical Framework for Transformer Circuits"). Whether it ever reads them, only a prompt can tell.
"""

from math import isnan
from typing import TYPE_CHECKING, Literal

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import head_circuits as circuits
from fluoroscope.methods import readout
from fluoroscope.progress import track
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, HeadGrid, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Attention and heads"

_FOLDED = (
    "Gain and centring of the norms before the head and before the logits are folded in; their scale and all biases "
    "are left out."
)
_READ = {"token": "as W_E has it", "block_0": "as it is behind the MLP of block 0 (heads of block 0 read W_E)"}


class HeadCopying(Record):
    """What one head does with the tokens it reads.

    Args:
        site: canonical name of the head's z.
        copying: from 1 (all comes out as itself) to -1 (as its opposite): real parts of the eigenvalues of the OV
            circuit over their sizes; None where the circuit is zero.
        own_first: share of tokens whose own logit it raises above all others.
    """

    site: str
    copying: float | None
    own_first: float

    @property
    def label(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label


class TokenPair(Record):
    """Two tokens that one head joins: what it reads and what it promotes, or the token that looks and the one sought.

    Args:
        value: logits over the mean token's, before the final norm's scale; or query times key over the mean key's,
            before the model's factor on scores.
    """

    source: str
    source_id: int
    other: str
    other_id: int
    value: float


class HeadCircuits(Result):
    """The circuits of all heads, and the strongest pairs of tokens of one of them.

    Args:
        heads: all that have an OV circuit, by layer.
        embedding: what stands for a token: its row of W_E, or that and the MLP of block 0.
        tokens: how many have both an embedding and a logit.
        sampled: of how many of them, evenly spread, `own_first` is the share.
        head: the one of `pairs`; None if none was asked for.
        circuit: which of its circuits the pairs are from.
        distance: of a QK circuit of rotary positions, how many tokens the one looked at is before the one that looks.
        pairs: strongest first; of each token that was asked for, or the best pair of each of the strongest tokens.
        top_k: how many heads and pairs are named.
    """

    heads: tuple[HeadCopying, ...]
    embedding: Literal["token", "block_0"]
    tokens: int
    sampled: int
    head: str | None
    circuit: Literal["ov", "qk"]
    distance: int | None = None
    pairs: tuple[TokenPair, ...]
    top_k: int

    def ranked(self) -> list[HeadCopying]:
        """The heads whose circuit is not zero, those that copy most first."""
        some = [head for head in self.heads if head.copying is not None]
        return sorted(some, key=lambda head: (-round(head.copying or 0.0, 3), -head.own_first))

    def summary(self) -> str:
        ranked = self.ranked()
        if not ranked:
            return f"None of {len(self.heads)} heads writes anything for any token."
        if self.head is not None:
            return self._about_one()
        best, least = ranked[0], ranked[-1]
        told = ", ".join(f"{head.label} {_score(head)}" for head in ranked[1:4])
        others = f", then {told}" if told else ""
        return (
            f"{best.label} copies what it reads most: score {_score(best)} of 1, and {percent(best.own_first)} of "
            f"{self.sampled} tokens raise their own logit above all others{others}; {least.label} has the lowest, "
            f"{_score(least)}."
        )

    def _about_one(self) -> str:
        found = next(head for head in self.heads if head.site == self.head)
        first = self.pairs[0]
        does = "promotes" if self.circuit == "ov" else f"looks{self._back()} for"
        score = "a circuit of zero" if found.copying is None else f"a copying score of {_score(found)}"
        return (
            f"{found.label} has {score} and puts {percent(found.own_first)} of {self.sampled} tokens' own logits "
            f"first; {'for' if self.circuit == 'ov' else 'from'} {quoted(first.source)} it {does} most "
            f"{quoted(first.other)}."
        )

    def views(self) -> list[View]:
        chosen = [self._pairs()] if self.head is not None else []
        return [*chosen, self._table(), *self._grids()]

    def _pairs(self) -> Table:
        label = Site.parse(self.head or "").label
        if self.circuit == "ov":
            title, names = f"What {label} promotes for what it reads", ("reads", "promotes", "logits")
            unit = "Logits over those of the mean token, before the final norm's scale."
        else:
            title, names = f"What {label} looks for{self._back()}", ("from", "looks for", "score")
            unit = "Query times key over that of the mean key, before any factor; " + (
                "positions add to it and are left out."
                if self.distance is None
                else "both turned by the model's own rotary positions, which prefer other tokens at other distances."
            )
        return Table(
            title=title,
            caption=f"{unit} Each token is read at the size that the norm gives it alone.",
            columns=(
                Column(name=names[0], token=True), Column(name="id"), Column(name=names[1], token=True),
                Column(name="its id"), Column(name=names[2]),
            ),
            rows=tuple(Row(cells=(p.source, p.source_id, p.other, p.other_id, p.value)) for p in self.pairs),
        )  # fmt: skip

    def _back(self) -> str:
        if self.distance is None:
            return ""
        return f" {self.distance} token{'' if self.distance == 1 else 's'} back"

    def _table(self) -> Table:
        ranked = self.ranked()
        few = ranked if len(ranked) <= 2 * self.top_k else [*ranked[: self.top_k], *ranked[-self.top_k :]]
        which = "All heads" if few == ranked else f"The {self.top_k} that copy most and the {self.top_k} that do least"
        return Table(
            title="Heads by what they do with the tokens they read",
            caption=f"{which}. A token is read {_READ[self.embedding]}. {_FOLDED} Copying: real parts of the "
            "eigenvalues of W_E W_V W_O W_U over their sizes, 1 where all comes out as itself, -1 as its opposite. Own "
            f"first: share of {self.sampled} of {self.tokens} tokens whose own logit rises above all others. A low "
            "score is no proof of suppression: many heads write for later heads, not for the logits.",
            columns=(Column(name="head"), Column(name="copying"), Column(name="own first")),
            rows=tuple(Row(cells=(h.label, h.copying, percent(h.own_first)), site=h.site) for h in few),
        )

    def _grids(self) -> list[HeadGrid]:
        return [
            HeadGrid(
                title="Copying by weights alone", caption="A row is a block, a column a head in it.", unit="score",
                signed=True, values=by_layer({head.site: head.copying for head in self.heads}),
            ),
            HeadGrid(
                title="Tokens whose own logit a head raises above all others",
                caption=f"Of {self.sampled} tokens.", unit="share", signed=False,
                values=by_layer({head.site: head.own_first for head in self.heads}),
            ),
        ]  # fmt: skip


def _score(head: HeadCopying) -> str:
    return number(head.copying, signed=True, digits=2)


@checked
def head_circuits(
    model: "Model",
    *,
    head: str | None = None,
    circuit: Literal["ov", "qk"] = "ov",
    distance: int | None = None,
    tokens: list[str] | None = None,
    embedding: Literal["token", "block_0"] = "block_0",
    sample: int = 1000,
    top_k: int = 10,
) -> HeadCircuits:
    """Scores every head by what it does with the tokens it reads, and shows the tokens that one head joins.

    Args:
        head: the one whose pairs of tokens to show, such as L3H0.
        circuit: what this head promotes for what it reads (ov), or which tokens it looks for (qk).
        distance: how many tokens before the one that looks, for the QK circuit of a model with rotary positions, which
            is another at every distance.
        tokens: the tokens that it reads or looks from, as text or id (#338); without them all tokens.
        embedding: a token as W_E has it, or with what the MLP of block 0 makes of it, which later heads read.
        sample: over how many tokens, evenly spread over the vocabulary, to count own logits that come first.
        top_k: how many heads to name, and how many pairs (of each token that was named).

    Raises:
        ArgumentError: `top_k` or `sample` below 1, a site that is no head, tokens or qk without a head, or a distance
            without qk, without rotary positions, or out of sight.
        TokenError: a token is not exactly one token.
        UnavailableError: this family's heads have no such circuit, positions turn it and no distance is named, or what
            enters the first block is not W_E.
    """
    for name, value in (("top_k", top_k), ("sample", sample)):
        if value < 1:
            raise ArgumentError(f"{name}={value} counts nothing", "Give at least 1.")
    if head is None and (tokens or circuit == "qk"):
        raise ArgumentError("pairs of tokens are those of one head, and none was named", "Add head='L3H0', say.")
    if distance is not None and circuit != "qk":
        raise ArgumentError(f"distance={distance} is of the QK circuit", "Add circuit='qk', or leave it out.")
    layers = circuits.layers(model)
    chosen = None if head is None else circuits.head(model, head)
    plain = circuits.embeddings(model, "token")
    table = plain if embedding == "token" else circuits.embeddings(model, embedding)
    named = None if not tokens else [readout.token_id(model, token) for token in tokens]
    pairs: tuple[TokenPair, ...] = ()
    if chosen is not None:
        asked = chosen.layer or 0, chosen.unit or 0, table if chosen.layer else plain
        pairs = _pairs(model, asked, (circuit, distance), named, top_k)
    sampled = torch.linspace(0, len(table) - 1, min(sample, len(table)), device=table.device).round().long().unique()
    maps = {layer: circuits.token_map(model, found) for layer, found in {0: plain, 1: table}.items()}
    heads: list[HeadCopying] = []
    for layer in track(layers, "head circuits"):
        scores = circuits.copying(model, layer, maps[min(layer, 1)]).tolist()
        firsts = circuits.own_first(model, layer, table if layer else plain, sampled).tolist()
        heads += [
            HeadCopying(site=str(Site("z", layer, unit)), copying=None if isnan(score) else score, own_first=own)
            for unit, (score, own) in enumerate(zip(scores, firsts, strict=True))
        ]
    return HeadCircuits(
        recipe=model.recipe(), heads=tuple(heads), embedding=embedding, tokens=len(table), sampled=len(sampled),
        head=None if chosen is None else str(chosen), circuit=circuit, distance=distance, pairs=pairs, top_k=top_k,
    )  # fmt: skip


def _pairs(
    model: "Model",
    head: "tuple[int, int, Tensor]",
    circuit: tuple[str, int | None],
    named: list[int] | None,
    top_k: int,
) -> tuple[TokenPair, ...]:
    """Of each named token the strongest ones; or of all tokens the one strongest of each, the best of these.

    Args:
        head: its layer, its unit and what it reads of every token.
        circuit: its name and the distance.
    """
    ids = torch.arange(len(head[2])) if named is None else torch.tensor(named)
    asked = (*head, ids.to(head[2].device), 1 if named is None else top_k)
    name, distance = circuit
    found = circuits.promoted(model, *asked) if name == "ov" else circuits.preferred(model, *asked, distance)
    values, others = found
    rows = values[:, 0].argsort(descending=True, stable=True)[:top_k].tolist() if named is None else range(len(ids))
    return tuple(
        TokenPair(
            source=model.token_label(int(ids[row])), source_id=int(ids[row]),
            other=model.token_label(other), other_id=other, value=value,
        )
        for row in rows
        for value, other in zip(values[row].tolist(), others[row].tolist(), strict=True)
    )  # fmt: skip
