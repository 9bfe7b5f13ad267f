"""Attention heads by what they look at: induction, previous, duplicate, first or own token.

Measured on random tokens, with several seeds, periods and places, and with a control that tells a head that compares
tokens from one that looks back by a fixed distance. A prompt shows besides what each head does there, which may differ.
"""

from math import isnan
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods import head_scores, readout
from fluoroscope.methods.head_scores import COMPARING, KINDS
from fluoroscope.result import Record, Result
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, HeadGrid, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

_NAMES = {kind: f"{kind}-token" for kind in KINDS} | {"induction": "induction"}
_MEANINGS = {
    "previous": "the token before",
    "duplicate": "earlier occurrences of the same token",
    "induction": "the tokens that followed earlier occurrences",
    "first": "the first token",
    "current": "the token itself",
}
_ON_PROMPT = KINDS[:3]


class HeadScore(Record):
    """How much of its attention a head spends on one kind of key.

    Args:
        kind: one of previous, duplicate, induction, first, current.
        mean: share of attention from 0 to 1, mean over seeds; for kinds that compare tokens the control is taken off.
        spread: standard deviation over seeds, 0 for one seed.
        control: the share at the same places where no token repeats; None for kinds that compare none.
    """

    kind: str
    mean: float
    spread: float
    control: float | None

    @property
    def numbers(self) -> tuple[float, float, float | None]:
        """Mean, spread and control."""
        return self.mean, self.spread, self.control


class OnPrompt(Record):
    """What a head does on the prompt.

    Args:
        label: the largest of previous, duplicate and induction if it reaches the threshold, else "diffuse".
        shares: attention by kind in the order of KINDS; None where the prompt has no such keys.
        query, key: the tokens between which the strongest attention of that label (or any) runs.
        weight: how strong it is.
    """

    label: str
    shares: tuple[float | None, ...]
    query: str
    key: str
    weight: float


class HeadType(Record):
    """One head: its scores, the labels they earn, and what it does on the prompt if one was given."""

    site: str
    scores: tuple[HeadScore, ...]
    labels: tuple[str, ...]
    on_prompt: OnPrompt | None

    def score(self, kind: str) -> HeadScore:
        """Its score of one kind."""
        return self.scores[KINDS.index(kind)]

    @property
    def label(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label


class HeadTypes(Result):
    """All heads whose attention can be read, by layer.

    Args:
        threshold: the least share of attention that earns a label.
        seeds: of the random tokens.
        tokens: of the prompt; None without one.
    """

    heads: tuple[HeadType, ...]
    threshold: float
    seeds: tuple[int, ...]
    tokens: tuple[str, ...] | None

    def of(self, kind: str) -> list[HeadType]:
        """The heads with a label, strongest first."""
        return sorted((head for head in self.heads if kind in head.labels), key=lambda head: -head.score(kind).mean)

    def summary(self) -> str:
        told = [f"{len(heads)} {_NAMES[kind]} ({_few(heads, kind)})" for kind in KINDS if (heads := self.of(kind))]
        bare = sum(not head.labels for head in self.heads)
        return f"{len(self.heads)} heads: {', '.join([*told, f'{bare} without a label'])}."

    def views(self) -> list[View]:
        return [self._table(), *([self._prompt_table()] if self.tokens else []), *map(self._grid, KINDS)]

    def _table(self) -> Table:
        rows = [
            Row(cells=(h.label, _NAMES[kind], *h.score(kind).numbers), site=h.site)
            for kind in KINDS
            for h in self.of(kind)
        ]
        return Table(
            title="Heads with a label",
            caption=f"Share of attention on random tokens, mean and standard deviation over {len(self.seeds)} seeds, "
            f"each with other tokens, period and place; a label takes {self.threshold:g}. Control: the share at the "
            "same places where no token repeats, already taken off.",
            columns=tuple(Column(name=name) for name in ("head", "label", "score", "spread", "control")),
            rows=tuple(rows),
        )

    def _prompt_table(self) -> Table:
        rows = [
            Row(cells=(head.label, here.label, *here.shares[: len(_ON_PROMPT)], here.query, here.key, here.weight))
            for head in self.heads
            if (here := head.on_prompt) and here.label != "diffuse"
        ]
        names = [Column(name=name) for name in ("head", "here", *_ON_PROMPT)]
        pair = [Column(name="from", token=True), Column(name="to", token=True), Column(name="strongest")]
        return Table(
            title="What they do on this prompt",
            caption="The largest of three shares, where it reaches the threshold; all other heads are diffuse here. "
            "A few tokens with a meaning are weak evidence of what a head is.",
            columns=(*names, *pair),
            rows=tuple(rows),
        )

    def _grid(self, kind: str) -> HeadGrid:
        return HeadGrid(
            title=f"Attention to {_MEANINGS[kind]}", caption="A row is a block, a column a head in it.",
            unit="share of attention", signed=kind in COMPARING,
            values=by_layer({head.site: head.score(kind).mean for head in self.heads}),
        )  # fmt: skip


def _few(heads: list[HeadType], kind: str) -> str:
    named = [f"{head.label} {head.score(kind).mean:.2f}" for head in heads[:3]]
    return ", ".join([*named, *(["…"] if len(heads) > 3 else [])])


def head_types(model: "Model", *, prompt: str | None = None, threshold: float = 0.4, seeds: int = 5) -> HeadTypes:
    """Scores and labels every attention head.

    Args:
        prompt: a text to look at besides; each head gets a second label for what it does there.
        threshold: the least share of its attention, from 0 to 1, that earns a head a label.
        seeds: how many times to measure, each time with other tokens, another period and another place.

    Raises:
        ArgumentError: a threshold outside (0, 1], no seed, or a model too small for a repetition.
        UnavailableError: this family's patterns cannot be read.
    """
    if not 0 < threshold <= 1:
        raise ArgumentError(f"threshold={threshold:g} is no share of attention", "Give a number above 0, at most 1.")
    found, control = head_scores.battery(model, range(seeds))
    trace = None if prompt is None else model.trace(prompt, sites=["pattern.*"])
    if trace is not None:
        readout.only_slot(trace.tokens, -1)
    heads: list[HeadType] = []
    for layer in range(model.n_layers):
        here = None if trace is None else trace.values.get(Site("pattern", layer))
        for head in range(model.n_heads):
            scores = _scores(found[:, :, layer, head], control[:, :, layer, head])
            if scores is None:
                continue
            labels = tuple(score.kind for score in scores if score.mean >= threshold)
            on_prompt = None if trace is None or here is None else _on_prompt(trace, here[0, head], threshold)
            heads.append(HeadType(site=str(Site("z", layer, head)), scores=scores, labels=labels, on_prompt=on_prompt))
    return HeadTypes(
        recipe=model.recipe() if trace is None else trace.recipe, heads=tuple(heads), threshold=threshold,
        seeds=tuple(range(seeds)), tokens=None if trace is None else tuple(trace.tokens.pieces[0]),
    )  # fmt: skip


def _scores(found: Float[Tensor, "seed kind"], control: Float[Tensor, "seed kind"]) -> tuple[HeadScore, ...] | None:
    """None where this layer has no patterns."""
    if bool(found.isnan().any()):
        return None
    content = found - control.nan_to_num(0.0)
    means, spreads = content.mean(0).tolist(), content.std(0, correction=min(1, len(content) - 1)).tolist()
    controls = [None if isnan(value) else value for value in control.mean(0).tolist()]
    return tuple(
        HeadScore(kind=kind, mean=mean, spread=spread, control=taken_off)
        for kind, mean, spread, taken_off in zip(KINDS, means, spreads, controls, strict=True)
    )


def _on_prompt(trace: "Trace", pattern: Float[Tensor, "query key"], threshold: float) -> OnPrompt:
    mask = head_scores.masks(trace.tokens.ids[0].tolist()).to(pattern.device)
    values = head_scores.scores(pattern[None], mask)[:, 0].tolist()
    shares = [None if isnan(value) else value for value in values]
    share, kind = max((share or 0.0, kind) for kind, share in zip(KINDS, shares, strict=True) if kind in _ON_PROMPT)
    label = kind if share >= threshold else "diffuse"
    looked = pattern * mask[KINDS.index(kind)] if label == kind else pattern
    query, key = divmod(int(looked.argmax()), looked.shape[1])
    pieces = trace.tokens.pieces[0]
    return OnPrompt(
        label=label, shares=tuple(shares), query=pieces[query], key=pieces[key], weight=float(looked[query, key])
    )
