"""Which heads carry a token of the prompt to its end, and which work against it.

Name movers, negative name movers and inhibition heads (Wang et al. 2022, "Interpretability in the Wild"), and retrieval
heads (Wu et al. 2024, "Retrieval Head Mechanistically Explains Long-Context Factuality"), each with an ablation beside.
"""

from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods import contrast, copying, decomposition, effects, readout
from fluoroscope.methods.contrast import Contrast
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt, AnyToken
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Column, HeadGrid, Row, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

    Added = dict[Site, Tensor]
    Shares = dict[Site, float]

THEME = "Attention and heads"

_ROWS = "A row is a block, a column a head in it."
_LEAST = 0.05
"""Of the strongest: the share below which a head is not worth a row."""
_TURNING = 0.01
"""The least change of a share of attention that counts as keeping movers from a token."""


class CopyingHead(Record):
    """One head at the end of the prompt.

    Args:
        site: canonical name of its z.
        attention: from the end to the places of the target, their sum.
        foil_attention: the same to those of the foil.
        contribution: what it adds to the target's logit over the foil's, directly and in all, in logits.
        from_target, from_foil: the parts of this that it reads at the places of the target, and of the foil.
        score: attention times from_target: above zero it moves the target, below it works against what it looks at.
        effect: change of the target's logit over the foil's when what it writes at the end is taken away, in logits.
        steering: change of the attention to the target minus that to the foil when it is taken away, mean over the
            movers of later blocks; None if there are none.
        retrieval: share of the copied tokens, while the model goes on, at which the head looks at the copied one most;
            None where nothing is copied, or was left out.
    """

    site: str
    attention: float
    foil_attention: float
    contribution: float
    from_target: float
    from_foil: float
    score: float
    effect: float
    steering: float | None
    retrieval: float | None

    @property
    def label(self) -> str:
        """L3H0."""
        return Site.parse(self.site).label


class CopyingHeads(Result):
    """All heads whose attention can be read, by layer.

    Args:
        tokens: the prompt, as the model reads it.
        target, foil: the token that is carried to the end, and the one that it is held against; of sets the texts with
            `|` between.
        target_at, foil_at: where they stand in the prompt, by index.
        logit_difference: of target and foil, of sets their means, before any softcap.
        softcap: the cap that the model applies afterwards, if any; effects are those on the capped logits.
        movers: canonical names of the heads of `moving` with the highest scores, whose attention is watched.
        continuation: how the model goes on, which the retrieval scores are about.
        copied: how many of these tokens stand in the prompt, its first token aside.
        top_k: how many heads are named.
    """

    tokens: tuple[str, ...]
    target: str
    target_ids: tuple[int, ...]
    target_at: tuple[int, ...]
    foil: str
    foil_ids: tuple[int, ...]
    foil_at: tuple[int, ...]
    logit_difference: float
    softcap: float | None
    heads: tuple[CopyingHead, ...]
    movers: tuple[str, ...]
    continuation: tuple[str, ...]
    copied: int
    top_k: int

    def moving(self) -> list[CopyingHead]:
        """Heads that look at the target and raise it by what they read there, strongest first."""
        return self._first([(head.score, head) for head in self._at_target()])

    def against(self) -> list[CopyingHead]:
        """Heads that look at the target and lower it by what they read there, strongest first."""
        return self._first([(-head.score, head) for head in self._at_target()])

    def moving_foil(self) -> list[CopyingHead]:
        """Heads that look at the foil and raise it over the target by what they read there, strongest first."""
        return self._first([(-head.from_foil * head.foil_attention, head) for head in self._at_foil()])

    def against_foil(self) -> list[CopyingHead]:
        """Heads that look at the foil and lower it by what they read there, strongest first."""
        return self._first([(head.from_foil * head.foil_attention, head) for head in self._at_foil()])

    def steering(self) -> list[CopyingHead]:
        """Heads that look at the foil and without which the movers look less at the target, strongest first."""
        heads = [head for head in self.heads if head.foil_attention >= copying.LOOKING]
        turned = [(-(head.steering or 0.0), head) for head in heads]
        return self._first([(by * head.foil_attention, head) for by, head in turned if by >= _TURNING])

    def worth(self) -> float:
        """What a head has to add or take at a token to be named, in logits."""
        return effects.worth(self.logit_difference)

    def _at_target(self) -> list[CopyingHead]:
        return [
            each for each in self.heads if each.attention >= copying.LOOKING and abs(each.from_target) >= self.worth()
        ]

    def _at_foil(self) -> list[CopyingHead]:
        return [
            each
            for each in self.heads
            if each.foil_attention >= copying.LOOKING and abs(each.from_foil) >= self.worth()
        ]

    def _first(self, ranked: list[tuple[float, CopyingHead]]) -> list[CopyingHead]:
        ranked = sorted((pair for pair in ranked if pair[0] > 0), key=lambda pair: -pair[0])[: self.top_k]
        return [head for strength, head in ranked if strength >= _LEAST * ranked[0][0]]

    def summary(self) -> str:
        target, foil = quoted(self.target), quoted(self.foil)
        told = [f"No head looks from the end at {target} and raises it over {foil} by {number(self.worth())} logits"]
        if moving := self.moving():
            first = moving[0]
            then = ", ".join(f"{head.label} {number(head.from_target, signed=True)}" for head in moving[1:3])
            adds = f"adds {number(first.from_target, signed=True)} logits by it to {target} over {foil}"
            told = [f"{first.label} looks at {target} {percent(first.attention)} and {adds}"]
            told[0] += f" (then {then})" if then else ""
        others = (
            (f"takes {{}} off {target}, at which it looks", [(head, -head.from_target) for head in self.against()]),
            (f"moves {foil} instead by {{}}", [(head, -head.from_foil) for head in self.moving_foil()]),
            (f"looks at {foil} and takes {{}} off it", [(head, head.from_foil) for head in self.against_foil()]),
        )
        worth = 0.1 * moving[0].from_target if moving else 0.0
        for does, heads in others:
            if heads and heads[0][1] >= worth:
                told.append(f"{heads[0][0].label} {does.format(number(heads[0][1]))}")
        if not (self.against() or self.moving_foil()):
            told.append(f"no head works against it by {number(self.worth())} logits")
        return f"{'; '.join(told)}."

    def views(self) -> list[View]:
        target, foil = quoted(self.target), quoted(self.foil)
        movers = ", ".join(Site.parse(name).label for name in self.movers)
        told = [
            (f"Heads that move {target} to the end", "They look at it and raise it by what they read.", self.moving()),
            (f"Heads against {target}", "They look at it and lower it by what they read there.", self.against()),
            (f"Heads that move {foil} instead", "They look at it and raise it by what they read.", self.moving_foil()),
            (f"Heads against {foil}", "They look at it and lower it by what they read there.", self.against_foil()),
            (
                f"Heads that keep the movers from {foil}",
                f"They look at {foil}, and without them the movers ({movers}) look less at {target} than at {foil}.",
                self.steering(),
            ),
        ]
        told = [each for each in told if each[2]]
        tables = [self._table(*each, legend=place == 0) for place, each in enumerate(told)]
        grids = [
            self._grid("score", "Attention to the target times what is read there"),
            self._grid("effect", "Without what each head writes at the end"),
        ]
        return [*tables, *grids, *([self._retrieval()] if self.copied else [])]

    def _table(self, title: str, meaning: str, heads: list[CopyingHead], *, legend: bool) -> Table:
        names = ("head", "at target", "at foil", "adds", "by target", "by foil", "ablated", "shift")
        retrieval = [Column(name="copied")] if self.copied else []
        cap = "" if self.softcap is None else " What they add is before the softcap, what they are worth behind it."
        copied = (
            " Copied: share of the copied tokens, as the model goes on, that it looked at most." if retrieval else ""
        )
        about = (
            f" From the last token, {quoted(self.target)} over {quoted(self.foil)}: "
            f"{number(self.logit_difference, signed=True)} logits in all. At: shares of attention, a tenth at least. "
            "Adds: directly to the logits, and what of it is read at target and foil, to be named "
            f"{number(self.worth())} at least. Ablated: change of the difference when what the "
            "head writes at the end is zero, a causal check; later heads may make up for it. Shift: of the movers' "
            f"attention then, target minus foil.{copied}{cap}"
        )
        return Table(
            title=title,
            caption=meaning + (about if legend else " Columns as above."),
            columns=(*(Column(name=name) for name in names), *retrieval),
            rows=tuple(Row(cells=self._cells(head), site=head.site) for head in heads),
        )

    def _cells(self, head: CopyingHead) -> tuple[str | float | None, ...]:
        reads = head.contribution, head.from_target, head.from_foil
        cells = (head.label, head.attention, head.foil_attention, *reads, head.effect, head.steering)
        return (*cells, head.retrieval) if self.copied else cells

    def _retrieval(self) -> HeadGrid:
        shown = quoted("".join(self.continuation))
        return HeadGrid(
            title="Copied tokens that a head looks at most while they are copied",
            caption=f"The model goes on with {shown}; {self.copied} of these tokens stand in the prompt. {_ROWS}",
            unit="share",
            signed=False,
            values=by_layer({head.site: head.retrieval for head in self.heads}),
        )

    def _grid(self, name: str, title: str) -> HeadGrid:
        values = by_layer({head.site: getattr(head, name) for head in self.heads})
        return HeadGrid(title=title, caption=_ROWS, unit="logits", reach=effects.REACH * self.worth(), values=values)


@checked
def copying_heads(
    model: "Model",
    prompt: AnyPrompt,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    steps: int = 8,
    top_k: int = 5,
) -> CopyingHeads:
    """Finds the heads that carry a token of the prompt to its end, by attention, attribution and ablation.

    Args:
        prompt: the text; its next token should be one that stands in it, such as the name in
            "When Mary and John went to the store, John gave a drink to".
        target: the token that is carried, as text or id (#338), or several (" Mary| Anna"), whose mean logit then
            counts; without it the token of the prompt that is likeliest.
        foil: what it is held against, such as the repeated name; without it the next likeliest token of the prompt.
        steps: how many tokens to let the model go on for, which retrieval scores need; 0 leaves them out.
        top_k: how many heads to name of each kind.

    Raises:
        ArgumentError: `top_k` below 1, `steps` below 0 or beyond the context, a token in target and foil, or a prompt
            of one kind of token.
        TokenError: target or foil is not one token or a set, or does not stand before the end of the prompt.
        UnavailableError: this model's patterns cannot be read, or it offers no exact decomposition of its logits.
    """
    for name, value, least in (("top_k", top_k, 1), ("steps", steps, 0)):
        if value < least:
            raise ArgumentError(f"{name}={value} counts nothing", f"Give at least {least}.")
    trace = model.trace(prompt, sites=copying.sites_needed(model))
    end, ids = readout.only_slot(trace.tokens, -1), trace.tokens.ids[0].tolist()
    room = steps if model.n_ctx is None else model.n_ctx - end  # the last token generated is not read
    if steps > room:
        raise ArgumentError(
            f"behind {end + 1} tokens, the context of {model.n_ctx} has no room for steps={steps}",
            f"Give steps={room}, or 0 to leave retrieval scores out.",
        )
    asked = _asked(model, trace, end, (target, foil))
    places, weights = _places(ids, asked), asked.weights(model.d_vocab)
    logit_difference = decomposition.linear_logit(model, trace, end, weights)
    added = copying.added(model, trace, end, weights)
    movers = copying.movers(trace, added, places[0], effects.worth(logit_difference))
    following, copied, shares = copying.retrieved(model, ids, steps)
    pieces, names = trace.tokens.labels[0], [contrast.label(model, tokens) for tokens in (asked.target, asked.foil)]
    return CopyingHeads(
        recipe=trace.recipe, tokens=tuple(pieces),
        target=names[0], target_ids=asked.target, target_at=tuple(places[0]),
        foil=names[1], foil_ids=asked.foil, foil_at=tuple(places[1]),
        logit_difference=logit_difference, softcap=model.architecture.softcap,
        heads=_heads(model, trace, asked, added, shares, movers), movers=tuple(map(str, movers)),
        continuation=tuple(map(model.token_label, following)), copied=copied, top_k=top_k,
    )  # fmt: skip


def _asked(model: "Model", trace: "Trace", end: int, names: tuple[AnyToken | None, AnyToken | None]) -> Contrast:
    """Target and foil; what is not named is the likeliest token that stands before the end."""
    before, named = set(trace.tokens.ids[0, :end].tolist()), contrast.asked(model, *names)
    chosen = {"target": named.target, "foil": named.foil}
    for role, tokens in chosen.items():
        if missing := [token for token in tokens if token not in before]:
            raise TokenError(
                f"{role} {quoted(model.token_label(missing[0]))} does not stand before the end of the prompt",
                "Name a token that does, with the space before it if it has one there.",
            )
        if not tokens:
            left = sorted(before.difference(*chosen.values()))
            if not left:
                raise ArgumentError(f"the prompt holds no token to take as {role}", "Give one with two different ones.")
            chosen[role] = (left[int(trace.logits[0, end, left].argmax())],)
    return Contrast(**chosen)


def _places(ids: list[int], asked: Contrast) -> list[list[int]]:
    """Where target and foil stand before the end."""
    return [[place for place, token in enumerate(ids[:-1]) if token in tokens] for tokens in (asked.target, asked.foil)]


def _heads(
    model: "Model", trace: "Trace", asked: Contrast, added: "Added", shares: "Shares", movers: list[Site]
) -> tuple[CopyingHead, ...]:
    """Every head with its numbers."""
    ids = trace.tokens.ids[0].tolist()
    places, end = _places(ids, asked), len(ids) - 1
    looks = {head: trace[Site("pattern", head.layer, head.unit)][0, end].double() for head in added}
    logits, seen = copying.without_each(model, ids, list(added), movers)
    effect = (asked.score(logits.double()) - asked.score(trace.logits[0, end].double())).tolist()
    heads: list[CopyingHead] = []
    for row, (head, parts) in enumerate(added.items()):
        later = [place for place, mover in enumerate(movers) if (mover.layer or 0) > (head.layer or 0)]
        shifts = [_contrast(seen[row, place], places) - _contrast(looks[movers[place]], places) for place in later]
        at_target, at_foil = (float(looks[head][where].sum()) for where in places)
        from_target, from_foil = (float(parts[where].sum()) for where in places)
        heads.append(
            CopyingHead(
                site=str(head), attention=at_target, foil_attention=at_foil, contribution=float(parts.sum()),
                from_target=from_target, from_foil=from_foil, score=at_target * from_target, effect=effect[row],
                steering=sum(shifts) / len(shifts) if shifts else None, retrieval=shares.get(head),
            )
        )  # fmt: skip
    return tuple(heads)


def _contrast(look: "Tensor", places: list[list[int]]) -> float:
    """Attention to the target minus that to the foil."""
    return float(look[places[0]].sum() - look[places[1]].sum())
