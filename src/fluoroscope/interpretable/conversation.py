"""Conversations as mlxterp has them: turns as spans of tokens, each proved, and what turns give one another."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import chats
from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable.core.trace import Trace
from fluoroscope.interpretable.refusals import InputError, LayerError, valued
from fluoroscope.interpretable.results import ConversationResult
from fluoroscope.methods import attention_maps, spans
from fluoroscope.result import number
from fluoroscope.sites import Site
from fluoroscope.tokens import tokenize

if TYPE_CHECKING:
    from fluoroscope.model import Model

Message = Mapping[str, str]


@dataclass(frozen=True)
class Turn(chats.Turn):
    """One message of a chat as spans of token indices: `full` with the template, `content` without."""

    @property
    def content_positions(self) -> slice:
        """The tokens of the content."""
        return self.content

    @property
    def full_positions(self) -> slice:
        """The tokens of the turn, template and all."""
        return self.full

    def __repr__(self) -> str:
        spans = f"content={self.content_start}:{self.content_end}, full={self.full_start}:{self.full_end}"
        return f"Turn({self.index}, role={self.role!r}, {spans})"


class TurnList(Sequence[Turn]):
    """The turns of a chat, in order."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = tuple(turns)

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> "TurnList": ...
    def __getitem__(self, index: int | slice) -> "Turn | TurnList":
        return TurnList(self._turns[index]) if isinstance(index, slice) else self._turns[index]

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self._turns))}]"

    @property
    def roles(self) -> list[str]:
        """The role of each."""
        return [turn.role for turn in self._turns]

    def by_role(self, role: str) -> "TurnList":
        """Those of one role."""
        return TurnList([turn for turn in self._turns if turn.role == role])

    def content_positions(self) -> list[int]:
        """The token indices of all contents."""
        return [place for turn in self._turns for place in range(turn.content_start, turn.content_end)]


def detect_turns(tokenizer: Any, messages: Sequence[Message], token_ids: Sequence[int] | None = None) -> TurnList:
    """The turns of a chat as its template writes it; every content is proved by decoding its tokens.

    Args:
        token_ids: the ids of the chat, if there are some already: they have to be those that the template gives.

    Raises:
        InputError: no template, other ids, or contents that are no spans of tokens (a ValueError, too).
    """
    with valued():
        found = tokenize(list(messages), tokenizer, d_vocab=len(tokenizer), n_ctx=None, add_generation_prompt=False)
        given = found.rows[0] if token_ids is None else [int(token) for token in token_ids]
        if given != found.rows[0]:
            raise InputError("these ids are not those of the chat template", "Leave token_ids out.")
        return _turns((found.turns or [[]])[0])


def _turns(found: Sequence[chats.Turn]) -> TurnList:
    return TurnList([Turn(**vars(turn)) for turn in found])


class ConversationTrace(Trace):
    """One pass over a chat, as the block of a `with`: a trace that knows its turns.

    Args:
        messages: dicts with "role" and "content"; the tokenizer's template writes them, as the model reads a chat that
            goes on.
    """

    def __init__(self, model: "Model", messages: Sequence[Message]) -> None:
        super().__init__(model, list(messages), None, None)

    @property
    def turns(self) -> TurnList:
        """The turns as spans of tokens.

        Raises:
            InputError: contents that are no spans of tokens.
        """
        with valued():
            return _turns((self.tokens.turns or [[]])[0])

    def get_turn_activation(self, turn_idx: int, component: str, content_only: bool = True) -> Float[Tensor, "pos d"]:
        """What a component gives out at the tokens of a turn.

        Args:
            turn_idx: from 0; negative ones count from the end.
            component: a module path or site with a vector per token.
            content_only: without the template's tokens.

        Raises:
            LayerError: no such turn.
            MissingError: no such value.
            ArgumentError: attention between tokens, which belongs to no single one.
        """
        turn = self._turn(turn_idx)
        value, site = self.activations[component], self.model.site(component)
        if site.kind.axes[:2] != ("batch", "pos"):
            raise ArgumentError(f"{component!r} is no value of single tokens", "Name a stream or an output.")
        return value[0, turn.content_positions if content_only else turn.full_positions]

    def cross_turn_attention(self, layer: int, head: int) -> Float[Tensor, "turn turn"]:
        """How much of the attention of each turn's tokens (rows, mean) falls on all tokens of each turn (columns).

        Rows do not sum to 1: the template's tokens and the first one take the rest. A turn without content is NaN.

        Raises:
            SiteError, UnavailableError: no such head, or a family whose attention cannot be read.
        """
        site = self.model.site(Site("pattern", layer, head))
        return self._shares(self.result[site][0], self._contents()).to(torch.float32)

    def to_result(self) -> ConversationResult:
        """The turns, and the attention between them, mean over the heads of all layers that attend."""
        contents, length = self._contents(), len(self.tokens.rows[0])
        said = {place for content in contents for place in range(*content.indices(length))}
        template = [place for place in range(1, length) if place not in said]
        sink = self.model.architecture.sinks
        sources = [*contents, template, slice(0, 1), *([slice(length, None)] if sink else [])]
        grids = [
            self._shares(attention_maps.completed(self.model, self.result[site][0]), sources).mean(0)
            for site in self.model.sites("pattern")
        ]
        names = (*(f"turn {turn.index + 1}" for turn in self.turns), "template", "first token")
        rows = torch.stack(grids).mean(0).tolist()
        return ConversationResult(
            recipe=self.result.recipe,
            turns=tuple({**vars(turn)} for turn in self.turns),
            attention=tuple(tuple(map(number, row)) for row in rows),
            sources=(*names, "sink") if sink else names,
        )

    def _turn(self, index: int) -> Turn:
        turns = self.turns
        if not -len(turns) <= index < len(turns):
            raise LayerError(f"there is no turn {index}", f"They run 0..{len(turns) - 1}.")
        return turns[index]

    def _contents(self) -> list[slice]:
        """The content of each turn, but for the first token, which is everybody's sink."""
        return [slice(max(1, turn.content_start), max(1, turn.content_end)) for turn in self.turns]

    def _shares(self, pattern: Tensor, sources: Sequence[Any]) -> Tensor:
        return spans.attention(pattern, [turn.content_positions for turn in self.turns], sources)
