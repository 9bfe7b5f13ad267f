"""How the turns of a chat work on one another, and on the first token of the next answer.

Attention between turns is summed over the tokens that are read and averaged over those that read, so that a long turn
does not look unimportant and every row sums to 1; a learned sink outside of the text is a source of its own. Attention
is no proof of use: the answer's logit is split by turn, exactly, and each turn is hidden from all that follows.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope import chats, hidden
from fluoroscope.arguments import checked
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError
from fluoroscope.hidden import Grid
from fluoroscope.methods import attention_maps, contrast, decomposition, effects, knockout, spans
from fluoroscope.methods.effects import Shift
from fluoroscope.render.text import brief, percent, quoted
from fluoroscope.result import Record, number
from fluoroscope.signature import AnyToken, JinjaText, JsonText
from fluoroscope.sites import Site
from fluoroscope.views import Column, HeadGrid, Heatmap, Lines, Mark, Row, Series, Table, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model
    from fluoroscope.tokens import Turn
    from fluoroscope.trace import Trace

THEME = "Reasoning and chats"


class ChatTurn(Record):
    """One message.

    Args:
        full_start: its first token, template included; `full_end` is one past its last.
        content_start: the first token of its content; `content_end` is one past the last.
        norms: mean L2 norm of the residual stream after each block over its content; None where it is empty.
        attribution: what heads read from its content into the target's logit (minus the foil's), exactly.
        knockout: what becomes of the target when no later token can look at its content; None where none follows,
            where it is empty, or is the very first token alone.
    """

    index: int
    role: str
    content: str
    full_start: int
    full_end: int
    content_start: int
    content_end: int
    norms: tuple[float | None, ...]
    attribution: float
    knockout: Shift | None

    @property
    def label(self) -> str:
        """Its number from 1, role and first words."""
        return f"{self.index + 1} {self.role}: {brief(self.content)}"


class Conversation(Contrasted):
    """The turns of a chat, what they read from one another, and what the next answer reads from them.

    Args:
        tokens: the chat as the model reads it, template and all.
        probability, logit: of the target, which is the first token of the next answer, or several that it may be; the
            logit is before any softcap, minus the foil's.
        leads: the token that the model itself finds likeliest.
        template: what heads read into the logit from tokens of no content.
        own: embeddings and MLPs of the last token, and biases, in logits.
        error: what the attributions of all turns, `template` and `own` miss the logit by.
        cross_turn_attention: `[layer][head][reader][source]`: readers are the content of each turn and the last token
            of the chat; sources are those of `sources`. A row sums to 1.
        sources: what is looked at: the content of each turn without the chat's first token, the rest of the template,
            that first token, and the sink of a model whose heads have learned ones.
        direct: `direct[j][i]`: mean KL, in nats, at the content of turn j when it cannot look at that of turn i.
        total: the same when nothing behind turn i can look at it.
        head: the one that the views show; None for the mean of all.
    """

    tokens: tuple[str, ...]
    turns: tuple[ChatTurn, ...]
    leads: str
    probability: float
    logit: float
    template: float
    own: float
    error: float
    cross_turn_attention: tuple[tuple[Grid, ...], ...]
    sources: tuple[str, ...]
    direct: Grid
    total: Grid
    head: str | None

    def attention(self, layer: int | None = None, head: int | None = None) -> Grid:
        """Readers by sources of one head, or the mean over all heads, of one layer or of all."""
        layers = self.cross_turn_attention if layer is None else self.cross_turn_attention[layer : layer + 1]
        grids = [grid for grids in layers for grid in (grids if head is None else grids[head : head + 1])]
        if not grids:
            raise ArgumentError(f"there is no layer {layer} with a head {head}", "Both count from 0.")
        readers = zip(*grids, strict=True)
        return tuple(tuple(_mean(cells) for cells in zip(*rows, strict=True)) for rows in readers)

    def most(self) -> ChatTurn | None:
        """The turn whose hiding changes the target's probability most, if any does by more than nothing."""
        found = hidden.moved((str(turn.index), turn.knockout) for turn in self.turns)
        return self.turns[int(found[0][0])] if found else None

    def summary(self) -> str:
        opens = f"After {len(self.turns)} turn{'s' * (len(self.turns) > 1)} {quoted(self.target)} has "
        opens += percent(self.probability)
        parts = [(f"turn {turn.index + 1} ({turn.role})", turn.knockout) for turn in self.turns]
        if not any(shift for _, shift in parts):
            return f"{opens}; no turn can be hidden from what follows."
        opens += hidden.told(self.probability, "turn", parts)
        turn = self.most()
        if turn is None:
            return f"{opens}."
        looks = self.attention()[-1][turn.index] or 0.0
        over = "" if self.foil is None else f" over {quoted(self.foil)}"
        return (
            f"{opens}; turn {turn.index + 1} gets {percent(looks)} of the attention of the last token and gives "
            f"{turn.attribution:+.2f} of the {self.logit:+.2f} logits{over}."
        )

    def views(self) -> list[View]:
        labels = [turn.label for turn in self.turns]
        lost = zip(labels, (turn.knockout for turn in self.turns), strict=True)
        bars = hidden.losses(self.target, self.leads, "a turn", "the content of the turn", lost)
        told = "What turns read from one another"
        causal = hidden.between(told, "turn", "they cannot look at", labels, self.direct)
        return [
            *([bars] if bars.items else []), self._table(), self._attention(), *self._grid(),
            *([causal] if len(labels) > 1 else []), self._norms(),
        ]  # fmt: skip

    def _table(self) -> Table:
        looks = self.attention()[-1]
        return Table(
            title="The turns",
            caption="Attention: its share of the looks of the last token, mean over all heads. Read from it: logits, "
            f"an exact part of the {self.asked()}, {self.logit:+.3f}, of which "
            f"{self.template:+.3f} is read from the template and {self.own:+.3f} is the last token's own. Hidden: "
            "change of the log-probability.",
            columns=tuple(Column(name=name) for name in ("turn", "tokens", "attention", "read from it", "hidden")),
            rows=tuple(
                Row(
                    cells=(
                        turn.label, turn.content_end - turn.content_start, looks[turn.index], turn.attribution,
                        None if turn.knockout is None else turn.knockout.effect,
                    )
                )
                for turn in self.turns
            ),
        )  # fmt: skip

    def _attention(self) -> Heatmap:
        site = None if self.head is None else Site.parse(self.head)
        grid = self.attention() if site is None else self.attention(site.layer, site.unit)
        names = {"template": "tpl", "first token": "1st"}
        sink = "; sink is the learned sink of the head, outside of the text" if "sink" in self.sources else ""
        return Heatmap(
            title=f"Where turns look, {'mean over all heads' if site is None else site.label}",
            caption="A row is who looks: share of the attention of its tokens, on average, that falls on all tokens of "
            "the turn of the column; tpl is the template, 1st the first token of the chat, where idle heads rest"
            f"{sink}. Rows sum to 1.",
            unit="share", maximum=1.0,
            rows=(*(Mark(label=turn.label) for turn in self.turns), Mark(label="last token")),
            columns=tuple(Mark(label=names.get(name, name.removeprefix("turn "))) for name in self.sources),
            values=grid,
        )  # fmt: skip

    def _grid(self) -> list[HeadGrid]:
        turn = self.most()
        told = HeadGrid(
            title=f"Which heads look from the last token at turn {turn.index + 1}" if turn else "",
            caption="The turn whose hiding changes the answer most. A row is a block, a column a head in it.",
            unit="share",
            signed=False,
            values=tuple(
                tuple(grid[-1][turn.index if turn else 0] for grid in row) for row in self.cross_turn_attention
            ),
        )
        return [told] if turn else []

    def _norms(self) -> Lines:
        return Lines(
            title="How large the residual stream grows in each turn",
            caption="Mean norm over the content of the turn, after each block.",
            unit="L2 norm",
            x=tuple(Mark(label=f"L{layer}") for layer in range(len(self.cross_turn_attention))),
            series=tuple(Series(label=turn.label, values=turn.norms) for turn in self.turns),
        )


@checked
def conversation(
    model: "Model",
    chat: JsonText,
    *,
    target: AnyToken | None = None,
    foil: AnyToken | None = None,
    head: str | None = None,
    chat_template: JinjaText | None = None,
) -> Conversation:
    """Reads a chat by its template and measures what its turns do to one another and to the answer.

    Args:
        chat: messages as JSON: [{"role": "user", "content": "…"}].
        target: the first token of the answer to explain, as text or id (#338), or several (" Yes| Sure"), whose mean
            logit then counts; without it the model's own.
        foil: a token, or several, whose logit is taken off.
        head: the one whose attention between turns to show, such as L3H0; without it the mean of all.
        chat_template: a Jinja text; without it the template of the tokenizer.

    Raises:
        ArgumentError: no chat, a site that is no head, or a token in target and foil.
        TokenError: no template, one in which the contents cannot be proved to be spans, or a target or foil that is
            not one token or a set of them.
        UnavailableError: attention of this family cannot be cut in every layer, or its logits not be decomposed.
    """
    messages = chats.parse(chat)
    shown = None if head is None else model.site(head)
    if shown is not None and (shown.name not in ("z", "pattern") or shown.unit is None):
        raise ArgumentError(f"head={head!r} is no head", "Write it as L3H0.")
    asked = contrast.asked(model, target, foil)
    trace = _trace(model, messages, chat_template)
    question = effects.ask(model, trace, asked)
    turns = (trace.tokens.turns or [[]])[0]
    ids, contents = trace.tokens.rows[0], [turn.content for turn in turns]
    written = spans.attribution(model, trace, contents, len(ids) - 1, question.about.weights(model.d_vocab))
    told = [place for place, content in enumerate(contents) if content.start < content.stop]
    influence = knockout.influence(model, ids, [contents[place] for place in told], question.log_p)
    shifts = {place: question.shift(row) for place, row in zip(told, influence.ends, strict=True) if row is not None}
    return Conversation(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        turns=tuple(
            _turn(trace, turn, messages[place]["content"], written.read[place], shifts.get(place))
            for place, turn in enumerate(turns)
        ),
        **hidden.asked(question, "target"),
        logit=written.logit,
        template=written.elsewhere,
        own=written.own,
        error=written.error,
        cross_turn_attention=tuple(
            _cross(attention_maps.completed(model, trace[f"pattern.{layer}"][0]), contents)
            for layer in range(model.n_layers)
        ),
        sources=_sources(model, len(turns)),
        direct=_placed(influence.direct, told, len(turns)),
        total=_placed(influence.total, told, len(turns)),
        head=None if shown is None else str(Site("z", shown.layer, shown.unit)),
    )  # fmt: skip


def _trace(model: "Model", messages: list[chats.Message], template: str | None) -> "Trace":
    own = None if template is None else {"chat_template": template}
    sites = [*decomposition.sites_needed(model, "source"), "resid_post.*"]
    return model.trace(model.tokens(messages, chat_options=own), sites=sites)


def _turn(trace: "Trace", turn: "Turn", content: str, read: float, shift: Shift | None) -> ChatTurn:
    places = ("index", "role", "full_start", "full_end", "content_start", "content_end")
    norms = trace.stack("resid_post")[:, 0, turn.content].double().norm(dim=-1).mean(-1)
    return ChatTurn(
        **{name: getattr(turn, name) for name in places},
        content=content,
        norms=tuple(map(number, norms.tolist())),
        attribution=read,
        knockout=shift,
    )


def _sources(model: "Model", turns: int) -> tuple[str, ...]:
    """The names of what `_cross` sums over."""
    sink = ["sink"] if model.architecture.sinks else []
    return (*(f"turn {place}" for place in range(1, turns + 1)), "template", "first token", *sink)


def _cross(pattern: "Tensor", contents: list[slice]) -> tuple[Grid, ...]:
    """Of every head: who looks, by where; see `Conversation.cross_turn_attention`."""
    length = pattern.shape[-2]
    readers = [*contents, slice(length - 1, length)]
    sources = [slice(max(1, content.start), max(1, content.stop)) for content in contents]
    said = {place for source in sources for place in range(length)[source]}
    template = [place for place in range(1, length) if place not in said]
    sink = [slice(length, None)] if pattern.shape[-1] > length else []
    shares = spans.attention(pattern, readers, [*sources, template, slice(0, 1), *sink])
    return tuple(tuple(tuple(map(number, row)) for row in grid) for grid in shares.tolist())


def _placed(grid: "Tensor", told: list[int], count: int) -> Grid:
    """The numbers between the turns that say something, as a grid over all turns."""
    whole = torch.full((count, count), torch.nan, dtype=grid.dtype)
    places = torch.tensor(told, dtype=torch.long)
    whole[places[:, None], places] = grid.cpu()
    return tuple(tuple(map(number, row)) for row in whole.tolist())


def _mean(values: tuple[float | None, ...]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
