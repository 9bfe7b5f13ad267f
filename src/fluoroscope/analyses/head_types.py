"""Attention heads by what they look at: induction, previous, duplicate, first or own token.

Measured on random tokens, with several seeds, periods and places, and with a control that tells a head that compares
tokens from one that looks back by a fixed distance. A prompt shows besides what each head does there, which may differ.
"""

from math import isnan
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import head_scores, readout
from fluoroscope.methods.head_scores import COMPARING, KINDS, Earned
from fluoroscope.render.text import number
from fluoroscope.result import Record, Result
from fluoroscope.result import number as finite
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, HeadGrid, Row, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "Attention and heads"

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
        low, high: the 95 % interval of the mean by Student's t over seeds; None for one seed.
        control: the share at the same places where no token repeats; None for kinds that compare none.
    """

    kind: str
    mean: float
    spread: float
    low: float | None
    high: float | None
    control: float | None


class OnPrompt(Record):
    """What a head does on the prompt.

    Args:
        label: the largest of previous, duplicate and induction if it reaches the threshold, else "diffuse".
        shares: attention by kind in the order of KINDS; None where the prompt has no such keys. The first token of the
            prompt, where idle heads rest, is no earlier occurrence.
        query, key: the tokens between which the strongest attention of that label (or any) runs.
        weight: how strong it is.
    """

    label: str
    shares: tuple[float | None, ...]
    query: str
    key: str
    weight: float


class HeadType(Record):
    """One head.

    Args:
        site: canonical name of its z.
        scores: one of each kind.
        labels: the kinds whose mean reaches the threshold.
        unsure: the kinds, labels or not, whose interval holds the threshold: other seeds may say otherwise.
        on_prompt: what it does there; None without a prompt.
    """

    site: str
    scores: tuple[HeadScore, ...]
    labels: tuple[str, ...]
    unsure: tuple[str, ...]
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
        even: by kind in the order of KINDS, what a head would earn that looks at all tokens alike.
        tokens: of the prompt; None without one.
    """

    heads: tuple[HeadType, ...]
    threshold: float
    seeds: tuple[int, ...]
    even: tuple[float, ...]
    tokens: tuple[str, ...] | None

    def of(self, kind: str) -> list[HeadType]:
        """The heads with a label, strongest first."""
        return self._by_score(kind, [head for head in self.heads if kind in head.labels])

    def near(self, kind: str) -> list[HeadType]:
        """The heads with a label or at the threshold, strongest first."""
        return self._by_score(kind, [head for head in self.heads if kind in (*head.labels, *head.unsure)])

    def _by_score(self, kind: str, heads: list[HeadType]) -> list[HeadType]:
        return sorted(heads, key=lambda head: -head.score(kind).mean)

    def summary(self) -> str:
        told = [f"{len(heads)} {_NAMES[kind]} ({_few(heads, kind)})" for kind in KINDS if (heads := self.of(kind))]
        bare = sum(not head.labels for head in self.heads)
        return f"{len(self.heads)} heads: {', '.join([*told, f'{bare} without a label'])}{self._doubts()}."

    def _doubts(self) -> str:
        found = [(head, kind) for kind in KINDS for head in self.near(kind) if kind in head.unsure]
        if not found:
            return ""
        nearest = sorted(found, key=lambda each: abs(each[0].score(each[1]).mean - self.threshold))[:3]
        named = ", ".join(f"{head.label} {_NAMES[kind]} {head.score(kind).mean:.2f}" for head, kind in nearest)
        more = ", …" if len(found) > 3 else ""
        return f"; {len(found)} label{' hangs' if len(found) == 1 else 's hang'} on the seeds ({named}{more})"

    def views(self) -> list[View]:
        return [self._table(), *([self._prompt_table()] if self.tokens else []), *map(self._grid, KINDS)]

    def _table(self) -> Table:
        rows = [
            Row(
                cells=(h.label, _NAMES[kind], score.mean, score.low, score.high, score.control, _earned(h, kind)),
                site=h.site,
            )
            for kind in KINDS
            for h in self.near(kind)
            for score in [h.score(kind)]
        ]
        n = len(self.seeds)
        sure = "One seed tells no interval."
        if n > 1:
            sure = (
                f"From and to: the 95 % interval of the mean (Student's t, n = {n}); a label whose interval holds the "
                "cut, given or not, hangs on the seeds."
            )
        return Table(
            title="Heads with a label",
            caption=f"Share of attention on random tokens, mean over {n} seed{'s' if n > 1 else ''}, each with other "
            f"tokens, period and place; a label takes {self.threshold:g}, an even look would earn "
            f"{number(max(self.even))} at most. {sure} Control: the share at the same places where no token repeats, "
            "already taken off.",
            columns=tuple(Column(name=name) for name in ("head", "kind", "score", "from", "to", "control", "label")),
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


def _earned(head: HeadType, kind: str) -> str:
    return ("yes" if kind in head.labels else "no") + (", hangs on the seeds" if kind in head.unsure else "")


def _few(heads: list[HeadType], kind: str) -> str:
    named = [f"{head.label} {head.score(kind).mean:.2f}" for head in heads[:3]]
    return ", ".join([*named, *(["…"] if len(heads) > 3 else [])])


@checked
def head_types(model: "Model", *, prompt: AnyPrompt | None = None, threshold: float = 0.4, seeds: int = 5) -> HeadTypes:
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
    battery = head_scores.earned(found, control)
    trace = None if prompt is None else model.trace(prompt, sites=["pattern.*"], logits=False)
    if trace is not None:
        readout.only_slot(trace.tokens, -1)
    heads: list[HeadType] = []
    measured = [layer for layer in range(model.n_layers) if not bool(battery.mean[:, layer].isnan().any())]
    for layer in measured:
        here = None if trace is None else trace.values.get(Site("pattern", layer))
        for head in range(model.n_heads):
            scores = _scores(battery, control, layer, head)
            on_prompt = None if trace is None or here is None else _on_prompt(trace, here[0, head], threshold)
            labels, unsure = battery.labels(layer, head, threshold)
            site = str(Site("z", layer, head))
            heads.append(HeadType(site=site, scores=scores, labels=labels, unsure=unsure, on_prompt=on_prompt))
    return HeadTypes(
        recipe=model.recipe() if trace is None else trace.recipe, heads=tuple(heads), threshold=threshold,
        seeds=tuple(range(seeds)), even=tuple(head_scores.even(model, range(seeds)).tolist()),
        tokens=None if trace is None else tuple(trace.tokens.labels[0]),
    )  # fmt: skip


def _scores(
    battery: Earned, control: Float[Tensor, "seed kind layer head"], layer: int, head: int
) -> tuple[HeadScore, ...]:
    figures = (battery.mean, battery.spread, battery.low, battery.high, control.mean(0))
    rows = zip(*(figure[:, layer, head].tolist() for figure in figures), strict=True)
    return tuple(
        HeadScore(kind=kind, mean=mean, spread=spread, low=finite(low), high=finite(high), control=finite(taken_off))
        for kind, (mean, spread, low, high, taken_off) in zip(KINDS, rows, strict=True)
    )


def _on_prompt(trace: "Trace", pattern: Float[Tensor, "query key"], threshold: float) -> OnPrompt:
    mask = head_scores.masks(trace.tokens.ids[0].tolist()).to(pattern.device)
    mask[: len(_ON_PROMPT), :, 0] = False  # where idle heads rest, whichever token it is
    values = head_scores.scores(pattern[None], mask)[:, 0].tolist()
    shares = [None if isnan(value) else value for value in values]
    share, kind = max((share or 0.0, kind) for kind, share in zip(KINDS, shares, strict=True) if kind in _ON_PROMPT)
    label = kind if share >= threshold else "diffuse"
    looked = pattern * mask[KINDS.index(kind)] if label == kind else pattern
    query, key = divmod(int(looked.argmax()), looked.shape[1])
    pieces = trace.tokens.labels[0]
    return OnPrompt(
        label=label, shares=tuple(shares), query=pieces[query], key=pieces[key], weight=float(looked[query, key])
    )
