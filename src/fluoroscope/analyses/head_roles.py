"""What every attention head does on a prompt, by which tokens, and if that holds elsewhere.

Circuit Trace's scores and labels: attention to the token before, to earlier same tokens (duplicate), to the tokens that
followed these (induction); the largest, if it reaches the threshold, names the head, else it is diffuse.
"""

from math import isnan
from typing import TYPE_CHECKING

from fluoroscope import shares
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import attention_maps, head_scores, readout
from fluoroscope.methods import head_roles as method
from fluoroscope.methods.head_roles import ROLES
from fluoroscope.render.text import counted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, HeadGrid, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.methods.head_roles import Roles
    from fluoroscope.methods.head_scores import Earned
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "Attention and heads"

_MEANINGS = {
    "prev_token_score": "Attention to the token before",
    "duplicate_token_score": "Attention to an earlier same token",
    "induction_score": "Attention to what followed an earlier same token",
}
_PAIRS = 3


class Look(Record):
    """One weight of a pattern: from which token to which, by index."""

    query: int
    key: int
    weight: float


class HeadRole(Record):
    """One head on the prompt.

    Args:
        site: canonical name of its z.
        prev_token_score: mean weight on the token before, from the third token on.
        duplicate_token_score: mean over the tokens that stood before of the largest weight on such a place; None if
            none did. The first token of the prompt is no such place.
        induction_score: the same for the tokens that followed these places.
        label: previous, duplicate or induction, whichever score is largest, if it reaches the threshold; else diffuse.
        why: the weight that did most for the label's score; of a diffuse head its largest, but for the first token.
        battery: the labels it earns on random tokens, by the mean over seeds; None if these were left out.
        unsure: the kinds, labels there or not, whose 95 % interval over seeds holds the threshold; empty for one seed.
        entropy: of its attention over that of an even look at all keys in sight, from 0 to 1, mean over tokens.
        concentration: its largest weight, mean over tokens.
        value_norm: length of what it writes behind W_O, mean over tokens; None where this model has no such site.
        top: its largest weights on neither the first token nor the token that looks.
    """

    site: str
    prev_token_score: float | None
    duplicate_token_score: float | None
    induction_score: float | None
    label: str
    why: Look | None
    battery: tuple[str, ...] | None
    unsure: tuple[str, ...] | None
    entropy: float | None
    concentration: float
    value_norm: float | None
    top: tuple[Look, ...]

    @property
    def name(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label

    @property
    def score(self) -> float | None:
        """The largest of the three."""
        scores = (self.prev_token_score, self.duplicate_token_score, self.induction_score)
        return max((score for score in scores if score is not None), default=None)


class HeadRoles(Result):
    """All heads whose attention can be read, by layer.

    Args:
        tokens: the prompt, as the model reads it.
        threshold: the least score that earns a label, here and on random tokens.
        seeds: how often the battery was measured; 0 if it was left out.
    """

    tokens: tuple[str, ...]
    heads: tuple[HeadRole, ...]
    threshold: float
    seeds: int

    def of(self, label: str) -> list[HeadRole]:
        """The heads with a label, strongest first."""
        return sorted((head for head in self.heads if head.label == label), key=lambda head: -(head.score or 0.0))

    def summary(self) -> str:
        told = [f"{len(heads)} {role} ({_few(heads)})" for role in ROLES if (heads := self.of(role))]
        here = ", ".join([*told, f"{len(self.of('diffuse'))} diffuse"])
        missing = ""
        if self._silent("duplicate_token_score") and self._silent("induction_score"):
            missing = " No token repeats, so duplicate-token and induction heads cannot show."
        return f"On this prompt, of {len(self.heads)} heads: {here}.{missing}{self._holding()}"

    def _silent(self, score: str) -> bool:
        return all(getattr(head, score) is None for head in self.heads)

    def _holding(self) -> str:
        """How many labels the battery confirms."""
        named = [head for head in self.heads if head.label != "diffuse" and head.battery is not None]
        if not named:
            return ""
        held = [head for head in named if head.label in (head.battery or ())]
        unsure = sum(head.label in (head.unsure or ()) for head in held)
        doubt = f", {unsure} of these with another choice of seeds perhaps not" if unsure else ""
        return f" Random tokens confirm {len(held)} of {len(named)} labels{doubt}."

    def views(self) -> list[View]:
        told = {
            "entropy": ("How widely each head looks", "share of an even look"),
            "value_norm": ("How much each head writes", "norm behind W_O"),
        }
        scores = [self._grid(name, title, "score") for name, title in _MEANINGS.items() if not self._silent(name)]
        rest = [self._grid(name, *about) for name, about in told.items() if not self._silent(name)]
        return [self._table(), *scores, *rest]

    def _table(self) -> Table:
        named = sorted(
            (head for head in self.heads if head.label != "diffuse" or set(head.battery or ()) & set(ROLES)),
            key=lambda head: (head.label == "diffuse", head.label, -(head.score or 0.0)),
        )
        elsewhere = "" if not self.seeds else (
            f" On random tokens: the labels of head_types, {self.seeds} seeds, which also name heads that look at the "
            "first token (first) or at themselves (current); with a question mark where the 95 % interval of the score "
            "holds the threshold."
        )  # fmt: skip
        battery = [Column(name="on random tokens")] if self.seeds else []
        columns = [*(Column(name=name) for name in ("head", "here", "score")), *battery]
        pair = [
            Column(name="from", token=True),
            Column(name="at"),
            Column(name="to", token=True),
            Column(name="its at"),
        ]
        return Table(
            title="Heads with a label",
            caption=f"The largest score names the head if it reaches {self.threshold:g}; of several earlier places the "
            "one with the largest weight counts. From and to: the two tokens, by index, whose weight did most for the "
            f"score.{elsewhere} A few tokens with a meaning are weak evidence of what a head is.",
            columns=(*columns, *pair, Column(name="weight")),
            rows=tuple(Row(cells=self._cells(head), site=head.site) for head in named),
        )

    def _cells(self, head: HeadRole) -> tuple[str | int | float | None, ...]:
        battery = [_elsewhere(head)] if self.seeds else []
        why = head.why
        pair = ("", "", "", "", None)
        if why is not None:
            pair = (self.tokens[why.query], why.query, self.tokens[why.key], why.key, why.weight)
        return head.name, head.label, head.score, *battery, *pair

    def _grid(self, name: str, title: str, unit: str) -> HeadGrid:
        return HeadGrid(
            title=title, caption=f"A row is a block, a column a head in it ({name}).", unit=unit, signed=False,
            values=by_layer({head.site: getattr(head, name) for head in self.heads}),
        )  # fmt: skip


def _elsewhere(head: HeadRole) -> str:
    """The labels on random tokens, those that hang on the seeds with a question mark."""
    earned, unsure = head.battery or (), head.unsure or ()
    named = [f"{kind}?" if kind in unsure else kind for kind in head_scores.KINDS if kind in (*earned, *unsure)]
    return ", ".join(named) or "none"


def _few(heads: list[HeadRole]) -> str:
    named = [f"{head.name} {head.score or 0.0:.2f}" for head in heads[:3]]
    return ", ".join([*named, *(["…"] if len(heads) > 3 else [])])


@checked
def head_roles(model: "Model", prompt: AnyPrompt, *, threshold: float = 0.4, seeds: int = 5) -> HeadRoles:
    """Scores and labels every head by what it does on a prompt, beside what it does on random tokens.

    Args:
        prompt: the text to look at; it needs three tokens, and repetitions for two of the three scores.
        threshold: the least score, from 0 to 1, that earns a label.
        seeds: how many times to measure on random tokens, each time with other tokens; 0 leaves it out.

    Raises:
        ArgumentError: a threshold outside (0, 1], seeds below 0, fewer than three tokens, or a model too small for
            the battery.
        UnavailableError: this family's patterns cannot be read.
    """
    if not 0 < threshold <= 1:
        raise ArgumentError(f"threshold={threshold:g} is no share of attention", "Give a number above 0, at most 1.")
    if seeds < 0:
        raise ArgumentError(f"seeds={seeds} counts nothing", "Give 0 to leave random tokens out, or more.")
    written = [site.layer or 0 for site in model.sites("head_out")]
    trace = model.trace(prompt, sites=["pattern.*", "scores.*", *(f"z.{layer}" for layer in written)])
    readout.only_slot(trace.tokens, -1)
    tokens = tuple(trace.tokens.labels[0])
    if len(tokens) < 3:
        raise ArgumentError(f"{counted(len(tokens), 'token')} cannot show a role", "Give at least three.")
    mask = method.masks(trace.tokens.ids[0].tolist()).to(model.device)
    elsewhere = head_scores.earned(*head_scores.battery(model, range(seeds))) if seeds else None
    heads: list[HeadRole] = []
    for layer in (site.layer or 0 for site in trace.sites if site.name == "pattern"):
        norms = _norms(model, trace, layer) if layer in written else [None] * model.n_heads
        heads += _heads(trace, layer, mask, norms, elsewhere, threshold)
    return HeadRoles(recipe=trace.recipe, tokens=tokens, heads=tuple(heads), threshold=threshold, seeds=seeds)


def _norms(model: "Model", trace: "Trace", layer: int) -> list[float]:
    """How long what each head writes is, mean over all tokens but the first."""
    written, _ = shares.heads(model, layer, trace[f"z.{layer}"][0, 1:])
    return written.double().norm(dim=-1).mean(0).tolist()


def _heads(
    trace: "Trace",
    layer: int,
    mask: "Tensor",
    norms: list[float] | list[None],
    battery: "Earned | None",
    least: float,
) -> list[HeadRole]:
    pattern = trace[f"pattern.{layer}"][0]
    found = method.roles(pattern, mask)
    spread = attention_maps.spread(pattern.double(), attention_maps.in_sight(trace, layer))[:, 1:].nanmean(-1).tolist()
    largest = pattern.double()[:, 1:].amax(-1).mean(-1).tolist()
    heads: list[HeadRole] = []
    for unit, norm in enumerate(norms):
        scores = [None if isnan(score) else score for score in found.scores[:, unit].tolist()]
        top = tuple(Look(query=q, key=k, weight=w) for q, k, w in method.pairs(pattern[unit], _PAIRS))
        label, why = _label(found, unit, scores, least) or ("diffuse", top[0] if top else None)
        earned, unsure = (None, None) if battery is None else battery.labels(layer, unit, least)
        heads.append(
            HeadRole(
                site=str(Site("z", layer, unit)), **dict(zip(_MEANINGS, scores, strict=True)), label=label, why=why,
                battery=earned, unsure=unsure,
                entropy=None if isnan(spread[unit]) else spread[unit], concentration=largest[unit], value_norm=norm,
                top=top,
            )
        )  # fmt: skip
    return heads


def _label(found: "Roles", unit: int, scores: list[float | None], least: float) -> tuple[str, Look] | None:
    """The role of the largest score and the weight that did most for it; None below the threshold."""
    best, role = max((score, -place) for place, score in enumerate(-1.0 if s is None else s for s in scores))
    if best < least:
        return None
    where = found.queries[-role][unit], found.keys[-role][unit]
    return ROLES[-role], Look(query=where[0], key=where[1], weight=float(found.weights[-role, unit]))
