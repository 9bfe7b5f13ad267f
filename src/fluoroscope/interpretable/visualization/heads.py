"""What kind of head a pattern is, of numpy patterns and of whole models; scores are those of `methods.head_scores`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable.opened import numbered, xray
from fluoroscope.methods import head_circuits, head_scores

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model

Pattern = np.ndarray[Any, np.dtype[Any]]

_TYPES = {"previous": "previous_token", "first": "first_token", "current": "current_token", "induction": "induction"}
"""Our kinds of heads under mlxterp's names."""


@dataclass(frozen=True)
class HeadScore:
    """What one head scores."""

    layer: int
    head: int
    score: float
    head_type: str | None = None


def induction_score(attention_pattern: Pattern, seq_len: int) -> float:
    """Attention [query, key] to the token behind the last occurrence, in a sequence of `seq_len` that is repeated.

    Raises:
        ArgumentError: the pattern holds no repetition.
    """
    length = len(attention_pattern)
    if not 0 < seq_len < length:
        raise ArgumentError(f"seq_len={seq_len} repeats nothing in {length} tokens", "Give the length of one round.")
    return float(head_scores.behind(torch.as_tensor(attention_pattern)[None, None], seq_len))


def previous_token_score(attention_pattern: Pattern) -> float:
    """Attention [query, key] to the token before; the second token, which has no other choice but itself, is left out.

    Raises:
        ArgumentError: fewer than three tokens.
    """
    return _score(attention_pattern, "previous")


def first_token_score(attention_pattern: Pattern) -> float:
    """Attention [query, key] to the first token; the first, which sees no other, is left out. Raises likewise."""
    return _score(attention_pattern, "first")


def current_token_score(attention_pattern: Pattern) -> float:
    """Attention [query, key] of tokens to themselves, without the first. Raises likewise."""
    return _score(attention_pattern, "current")


def copying_score(ov_circuit: Pattern, unembedding: Pattern | None = None) -> float:
    """How far an OV circuit raises what it reads: sum of the real parts of its eigenvalues over the sum of their sizes.

    1 copies every direction, -1 suppresses every one (Elhage et al. 2021). With an unembedding [d_model, d_vocab] the
    eigenvalues are those of W_U^T OV W_U, tokens to tokens of a model with tied embeddings; `copying_heads` has those
    of W_E OV W_U for every head of a model, norms folded in.

    Args:
        ov_circuit: W_V @ W_O [d_model, d_model].

    Raises:
        ArgumentError: matrices that do not fit.
    """
    circuit = torch.as_tensor(np.asarray(ov_circuit)).double()
    if circuit.dim() != 2 or circuit.shape[0] != circuit.shape[1]:
        raise ArgumentError(f"an OV circuit of shape {list(circuit.shape)}", "It is [d_model, d_model].")
    if unembedding is not None:
        out = torch.as_tensor(np.asarray(unembedding)).double()
        if out.dim() != 2 or len(out) != len(circuit):
            raise ArgumentError(f"an unembedding of shape {list(out.shape)}", "It is [d_model, d_vocab].")
        circuit = circuit @ (out @ out.T)
    return float(head_circuits.positive_share(torch.linalg.eigvals(circuit)))


class AttentionPatternDetector:
    """Names the kinds of a head by its pattern; several may hold, or "unknown"."""

    def __init__(
        self,
        induction_threshold: float = 0.4,
        previous_token_threshold: float = 0.5,
        first_token_threshold: float = 0.3,
        current_token_threshold: float = 0.3,
    ) -> None:
        self.thresholds = {
            "induction": induction_threshold,
            "previous_token": previous_token_threshold,
            "first_token": first_token_threshold,
            "current_token": current_token_threshold,
        }

    def analyze_head(self, attention_pattern: Pattern, seq_len_for_induction: int | None = None) -> dict[str, float]:
        """Score of each kind; induction where the length of the repeated sequence is given."""
        found = {
            "previous_token": previous_token_score(attention_pattern),
            "first_token": first_token_score(attention_pattern),
            "current_token": current_token_score(attention_pattern),
        }
        if seq_len_for_induction is not None:
            found["induction"] = induction_score(attention_pattern, seq_len_for_induction)
        return found

    def classify_head(self, attention_pattern: Pattern, seq_len_for_induction: int | None = None) -> list[str]:
        """The kinds whose score reaches the threshold, the highest score first; ["unknown"] where none does."""
        found = self.analyze_head(attention_pattern, seq_len_for_induction)
        kinds = [kind for kind in sorted(found, key=lambda kind: -found[kind]) if found[kind] >= self.thresholds[kind]]
        return kinds or ["unknown"]


def detect_head_types(
    model: "InterpretableModel | Model", text: str, threshold: float = 0.4, layers: Sequence[int] | None = None
) -> dict[str, list[tuple[int, int]]]:
    """Kind -> (layer, head) of the heads that reach the threshold on one text, the highest score first.

    A text says what heads do on it; `analyses.head_types` measures them on tokens without meaning, beside a control.

    Raises:
        ArgumentError: a text of fewer than three tokens.
        UnavailableError: no layer whose attention can be read.
    """
    found = xray(model)
    trace = found.trace(text, sites=_patterns(found, layers), logits=False)
    masks = head_scores.masks(trace.tokens.rows[0])
    ranked: dict[str, list[tuple[float, int, int]]] = {name: [] for name in _TYPES.values()}
    for site in trace.sites:
        values = head_scores.scores(trace[site][0].cpu(), masks)
        for kind, row in zip(head_scores.KINDS, values.tolist(), strict=True):
            if kind in _TYPES:
                ranked[_TYPES[kind]] += [(score, site.layer or 0, head) for head, score in enumerate(row)]
    return {
        name: [(layer, head) for score, layer, head in sorted(rows, key=lambda row: -row[0]) if score >= threshold]
        for name, rows in ranked.items()
    }


def detect_induction_heads(
    model: "InterpretableModel | Model",
    n_random_tokens: int = 50,
    n_repeats: int = 2,
    threshold: float = 0.4,
    layers: Sequence[int] | None = None,
    seed: int = 42,
) -> list[HeadScore]:
    """The heads that look behind the last occurrence of their token in random tokens that are repeated.

    Means over eight draws of tokens that occur once in a round, behind what begins every text (Olsson et al. 2022).

    Raises:
        ArgumentError: a repetition that the vocabulary or the context does not hold, or none.
        UnavailableError: no layer whose attention can be read.
    """
    found = xray(model)
    rows, start = head_scores.repetition(found, n_random_tokens, n_repeats, seed)
    trace = found.trace(rows, sites=_patterns(found, layers), logits=False)
    scores = [
        HeadScore(site.layer or 0, head, float(score), "induction")
        for site in trace.sites
        for head, score in enumerate(head_scores.behind(trace[site][..., start:, start:], n_random_tokens).tolist())
    ]
    return sorted((each for each in scores if each.score >= threshold), key=lambda each: -each.score)


def find_attention_pattern(
    model: "InterpretableModel | Model",
    text: str,
    pattern_fn: Callable[[Pattern], float],
    threshold: float = 0.5,
    layers: Sequence[int] | None = None,
) -> list[HeadScore]:
    """The heads whose pattern [query, key] on a text scores at least the threshold by a function, highest first.

    Raises:
        UnavailableError: no layer whose attention can be read.
    """
    found = xray(model)
    trace = found.trace(text, sites=_patterns(found, layers), logits=False)
    scores = [
        HeadScore(site.layer or 0, head, float(pattern_fn(pattern)))
        for site in trace.sites
        for head, pattern in enumerate(trace[site][0].float().cpu().numpy())
    ]
    return sorted((each for each in scores if each.score >= threshold), key=lambda each: -each.score)


def _patterns(model: "Model", layers: Sequence[int] | None) -> list[str]:
    return ["pattern.*"] if layers is None else [f"pattern.{layer}" for layer in numbered(model, layers)]


def _score(pattern: Pattern, kind: str) -> float:
    found = torch.as_tensor(np.asarray(pattern))
    if found.dim() != 2 or len(found) < 3 or found.shape[0] != found.shape[1] or bool(found.isnan().any()):
        told = f"a pattern of shape {list(found.shape)}, or with NaN"
        raise ArgumentError(told, "It is numbers, [query, key] of three tokens or more.")
    masks: Tensor = head_scores.masks(range(len(found)))
    return float(head_scores.scores(found[None], masks)[head_scores.KINDS.index(kind), 0])
