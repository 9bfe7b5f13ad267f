"""Results under mlxterp's names: each is a `Result` with its numbers, sentence, views and recipe."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import PrivateAttr
from torch import Tensor

from fluoroscope.interpretable.patching_results import PatchingResult, both, least
from fluoroscope.render.text import counted, number, percent, quoted
from fluoroscope.result import Result
from fluoroscope.sites import Site
from fluoroscope.views import Bar, Bars, Heatmap, Mark, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.interpretable.causal.circuits import CircuitResult
    from fluoroscope.interpretable.workflows import WorkflowResult

__all__ = [
    "AnalysisResult",
    "AttributionResult",
    "CircuitResult",
    "ConversationResult",
    "DLAResult",
    "GenerationResult",
    "PatchingResult",
    "WorkflowResult",
]

AnalysisResult = Result
"""The base of all results: `data`, `metadata`, `result_type`, `summary`, `to_json`, `to_markdown`, `plot`."""


class AttributionResult(Result):
    """What patching each layer or head would bring back, estimated from gradients.

    Args:
        component: what would be patched, as it was asked for; `site` in our vocabulary.
        scores: the estimates as shares of the way from the corrupted score to the clean one, by layer or [layer][head].
        method: always "gradient": exact derivatives, no finite differences.
        passes: how many backward passes were made.
    """

    component: str
    site: str
    layers: list[int]
    scores: tuple[float, ...] | tuple[tuple[float, ...], ...]
    method: str = "gradient"
    passes: int
    metric_name: str
    clean_score: float
    corrupted_score: float
    clean: tuple[str, ...] = ()
    corrupted: tuple[str, ...] = ()

    @property
    def result_type(self) -> str:
        return "attribution"

    @property
    def attribution_scores(self) -> Tensor:
        """[layer], or [layer, head]."""
        return torch.tensor(self.scores, dtype=torch.float64)

    def top_components(self, k: int = 5) -> list[tuple[Any, float]]:
        """The largest estimates: (layer, score), or ((layer, head), score).

        Raises:
            ArgumentError: k below 1.
        """
        least(k)
        found: list[tuple[Any, float]] = [
            (self.layers[index[0]] if len(index) == 1 else (self.layers[index[0]], index[1]), float(value))
            for index, value in np.ndenumerate(self.attribution_scores.numpy())
        ]
        return sorted(found, key=lambda pair: -abs(pair[1]))[:k]

    def summary(self) -> str:
        first = ", ".join(f"{self._label(key)} {number(value)}" for key, value in self.top_components(3))
        return (
            f"Estimated share of the way that clean {self.component} brings back, by {self.metric_name} "
            f"({number(self.corrupted_score)} corrupted, {number(self.clean_score)} clean) and "
            f"{counted(self.passes, 'backward pass', 'backward passes')}: {first}."
        )

    def views(self) -> list[View]:
        top = self.top_components(12)
        items = tuple(Bar(label=self._label(key), value=value, site=str(self._site(key))) for key, value in top)
        caption = "A first-order estimate: 0 is the corrupted prompt's score, 1 the clean one's."
        title = f"What {self.component} would bring back"
        bars = Bars(title=title, caption=caption, unit="share", signed=True, items=items)
        return [bars, *both(self.clean, self.corrupted)]

    def _site(self, key: Any) -> Site:
        return Site(self.site, *(key if isinstance(key, tuple) else (key,)))

    def _label(self, key: Any) -> str:
        return self._site(key).label


class DLAResult(Result):
    """One logit as the exact sum of what the parts of the model add to it, through the final norm as it is there.

    Args:
        position: the token after which the prediction is made.
        layers: those of `attention`, `heads` and `mlps`.
        attention: what each layer's attention adds, its bias included.
        heads: what each head adds, [layer][head]; NaN-free: layers without heads have an empty row.
        mlps: what each layer's MLP adds, its bias included.
        embedding: what embeddings add; `bias` what the biases at the end add; `others` what the other layers add.
        logit: the model's own number, before any softcap; `error` is what the sum misses it by.
    """

    text: str
    position: int
    target_token: int
    target_token_str: str
    layers: list[int]
    attention: tuple[float, ...]
    heads: tuple[tuple[float, ...], ...]
    mlps: tuple[float, ...]
    embedding: float
    bias: float
    others: float
    logit: float
    error: float

    @classmethod
    def title(cls) -> str:
        return "Direct logit attribution"

    @property
    def result_type(self) -> str:
        return "dla"

    @property
    def head_contributions(self) -> Tensor:
        """[layer]: of each layer's attention as a whole; `heads` has each head's."""
        return torch.tensor(self.attention, dtype=torch.float64)

    @property
    def mlp_contributions(self) -> Tensor:
        """[layer]."""
        return torch.tensor(self.mlps, dtype=torch.float64)

    def summary(self) -> str:
        first = ", ".join(f"{label} {number(value, signed=True)}" for label, value, _ in self._parts()[:3])
        return (
            f"The logit of {quoted(self.target_token_str)} after {quoted(self.text)} is {number(self.logit)}: {first} "
            f"and the other parts sum to it within {abs(self.error):.1e}."
        )

    def views(self) -> list[View]:
        items = tuple(Bar(label=label, value=value, site=site) for label, value, site in self._parts())
        title = f"What adds to the logit of {quoted(self.target_token_str)}"
        return [Bars(title=title, caption="The bars sum to the logit.", unit="logits", signed=True, items=items)]

    def _parts(self) -> list[tuple[str, float, str | None]]:
        """Label, value and site of each, the largest first."""
        rest = [("embedding", self.embedding), ("biases at the end", self.bias), ("other layers", self.others)]
        found: list[tuple[str, float, str | None]] = [(label, value, None) for label, value in rest if value]
        for name, values in (("attn_out", self.attention), ("mlp_out", self.mlps)):
            sites = [Site(name, layer) for layer in self.layers]
            found += [(site.label, value, str(site)) for site, value in zip(sites, values, strict=True)]
        return sorted(found, key=lambda part: -abs(part[1]))


_ENDED = {"length": "their number", "stop token": "a stop token", "callback": "the callback"}


class GenerationResult(Result):
    """A prompt and how it was continued.

    Args:
        prompt: the text that was continued.
        text: what was generated.
        tokens: its ids, a stop token included; `pieces` is what each shows.
        log_probs: natural-log probability of each under the model's own distribution, before any warper.
        stopped: "stop token", "length" or "callback".
    """

    prompt: str
    text: str
    tokens: list[int]
    pieces: tuple[str, ...]
    log_probs: tuple[float, ...]
    stopped: str
    _logits: tuple[Tensor, ...] | None = PrivateAttr(default=None)

    @property
    def result_type(self) -> str:
        return "generation"

    @property
    def token_logits(self) -> tuple[Tensor, ...] | None:
        """The logits [d_vocab] of every step, where they were asked for; no file holds them."""
        return self._logits

    def with_logits(self, logits: Sequence[Tensor]) -> "GenerationResult":
        """The same with the logits of every step."""
        self._logits = tuple(logits)
        return self

    def summary(self) -> str:
        return (
            f"{quoted(self.prompt)} goes on {quoted(self.text)}: {counted(len(self.tokens), 'token')}, {self.stopped}."
        )

    def views(self) -> list[View]:
        items = tuple(
            TokenMark(text=piece, value=float(np.exp(value)))
            for piece, value in zip(self.pieces, self.log_probs, strict=True)
        )
        return [Tokens(title="What was generated", caption="With its probability.", unit="probability", items=items)]


class ConversationResult(Result):
    """A chat, and how much attention each turn pays to the others.

    Args:
        turns: index, role, content and the token spans of each turn.
        attention: who looks (rows: turns) and at what (columns: `sources`), mean over all heads of the model, or of the
            one in `head`; a row sums to 1. None for a turn without content.
        sources: the turns, the template's own tokens, the first token, and a learned sink where there is one.
    """

    turns: tuple[dict[str, int | str], ...]
    attention: tuple[tuple[float | None, ...], ...]
    sources: tuple[str, ...]

    @property
    def result_type(self) -> str:
        return "conversation"

    @property
    def cross_turn_attention(self) -> Tensor:
        """[turn, turn]: the part of `attention` that falls on turns; NaN for a turn without content."""
        values = [[float("nan") if value is None else value for value in row] for row in self.attention]
        return torch.tensor(values, dtype=torch.float64)[:, : len(self.turns)]

    def summary(self) -> str:
        shares = self.cross_turn_attention.nan_to_num(0.0).tril(-1)
        told = f"{counted(len(self.turns), 'turn')}, no later one of which says anything"
        if shares.any():
            reader, source = divmod(int(shares.argmax()), shares.shape[1])
            most = percent(float(shares.max()))
            told = (
                f"{counted(len(self.turns), 'turn')}; turn {reader + 1} pays {most} of its attention to "
                f"turn {source + 1}, the most that any pays to an earlier one"
            )
        return f"{told}; means over all heads."

    def views(self) -> list[View]:
        rows = tuple(Mark(label=f"{turn['index']} {turn['role']}") for turn in self.turns)
        return [
            Heatmap(
                title="Attention between turns",
                caption="Summed over the tokens that are looked at, mean over those that look and over all heads.",
                unit="share of attention",
                maximum=1.0,
                rows=rows,
                columns=tuple(Mark(label=source) for source in self.sources),
                values=self.attention,
            )
        ]


_ABOVE = {"CircuitResult": "causal.circuits", "WorkflowResult": "workflows"}
"""Results of modules that build on this one."""


def __getattr__(name: str) -> Any:
    if name in _ABOVE:
        return getattr(importlib.import_module(f"fluoroscope.interpretable.{_ABOVE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
