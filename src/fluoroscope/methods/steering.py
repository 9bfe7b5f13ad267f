"""What adding a direction does: to an answer, to other texts, and to what is said.

A sweep over layers and coefficients measures the effect (log-odds of the answer) beside its price: the distance to the
model's own predictions on neutral text, and how unlikely the unsteered model finds what the steered one says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention, Positions, add, at
from fluoroscope.methods import corpus, readout
from fluoroscope.methods.contrast import Contrast
from fluoroscope.methods.directions import Direction, Reading, direction
from fluoroscope.progress import report
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

__all__ = [
    "Direction", "Reading", "Said", "Swept", "direction", "distance", "fluency", "length", "log_odds", "say", "steered",
    "sweep",
]  # fmt: skip

_TOKENS_AT_ONCE = 2048


def length(model: "Model", prompt: str, site: Site) -> float:
    """Mean norm of what a prompt has at a site, its first token, where a sink often stands, left out."""
    states = model.trace(prompt, sites=[site], logits=False)[site][0].double()
    return float(states[min(1, len(states) - 1) :].flatten(1).norm(dim=-1).mean())


def steered(found: Direction, coefficient: float = 1.0, positions: Positions = None) -> dict[str | Site, Intervention]:
    """The edits for `Model.trace` and `Model.generate` that add `coefficient` times a direction where it was read.

    Args:
        positions: token indices, as `at` takes them; None is everywhere.
    """
    function = add(found.vector, coefficient)
    return {found.site: function if positions is None else at(function, positions)}


def log_odds(about: Contrast, log_p: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
    """How much likelier the target is than the foil, or than all else without one, in nats."""
    target = log_p[..., list(about.target)].logsumexp(-1)
    if about.foil:
        return target - log_p[..., list(about.foil)].logsumexp(-1)
    others = log_p.clone()
    others[..., list(about.target)] = -torch.inf
    return target - others.logsumexp(-1)


@dataclass(frozen=True)
class Swept:
    """What one direction does at each coefficient.

    Args:
        log_odds: of the target at the end of the prompt, in nats.
        kl: KL(unsteered ‖ steered) on neutral text, in nats per token.
        surprise: mean -log p of the continuation under the unsteered model, in nats per token; its exp is perplexity.
        says: the greedy continuations, as ids.
    """

    log_odds: tuple[float, ...]
    kl: tuple[float, ...]
    surprise: tuple[float, ...]
    says: tuple[tuple[int, ...], ...]


@torch.no_grad()
def sweep(
    model: "Model",
    prompt: list[int],
    about: Contrast,
    found: Sequence[Direction],
    coefficients: Sequence[float],
    neutral: Sequence[Sequence[int]],
    max_new_tokens: int,
) -> list[Swept]:
    """Each direction at each coefficient, added at every token; coefficients are rows of a batch.

    Args:
        prompt: ids; the answer is expected behind them.
        neutral: ids of texts that should stay as they are.
        max_new_tokens: of each continuation.
    """
    plain = [readout.log_probs(model.trace([list(row)]).logits[0]) for row in neutral]
    swept: list[Swept] = []
    for number, each in enumerate(found):
        report("steer", number, len(found))
        swept.append(_swept(model, prompt, about, each, coefficients, (neutral, plain), max_new_tokens))
    report("steer", len(found), len(found))
    return swept


def _swept(
    model: "Model",
    prompt: list[int],
    about: Contrast,
    found: Direction,
    coefficients: Sequence[float],
    neutral: tuple[Sequence[Sequence[int]], list[Tensor]],
    max_new_tokens: int,
) -> Swept:
    odds: list[float] = []
    surprise: list[float] = []
    says: list[tuple[int, ...]] = []
    held = len(prompt) + max_new_tokens
    for some in _groups(coefficients, held):
        edits = _each(found, some)
        rows = [prompt] * len(some)
        log_p = readout.log_probs(model.trace(rows, edits=edits).logits[:, -1])
        odds += log_odds(about, log_p).tolist()
        ids = model.generate(rows, max_new_tokens=max_new_tokens, edits=edits).ids
        says += map(tuple, ids)
        surprise += fluency(model, prompt, ids)
    kl = torch.zeros(len(coefficients), dtype=torch.float64)
    for row, plain in zip(*neutral, strict=True):
        kl += torch.cat(
            [
                distance(model, list(row), plain, _each(found, some), len(some))
                for some in _groups(coefficients, len(row))
            ]
        )
    tokens = sum(map(len, neutral[0]))
    return Swept(tuple(odds), tuple((kl / tokens).tolist()), tuple(surprise), tuple(says))


def _groups(coefficients: Sequence[float], tokens: int) -> list[Sequence[float]]:
    size = max(1, _TOKENS_AT_ONCE // tokens)
    return [coefficients[start : start + size] for start in range(0, len(coefficients), size)]


def _each(found: Direction, coefficients: Sequence[float]) -> dict[str | Site, Intervention]:
    """A coefficient a row."""
    factors = torch.tensor(coefficients, dtype=found.vector.dtype, device=found.vector.device)
    return {found.site: add(factors[:, None, None] * found.vector)}


def distance(
    model: "Model", ids: list[int], plain: Float[Tensor, "pos d_vocab"], edits: Any, rows: int = 1
) -> Float[Tensor, "row"]:
    """KL(plain ‖ edited) summed over the tokens of a text, in nats, of `rows` copies of it under edits."""
    log_p = readout.log_probs(model.trace([ids] * rows, edits=edits).logits)
    return readout.kl(plain, log_p).sum(-1).double().cpu()


@dataclass(frozen=True)
class Said:
    """A continuation under edits, judged by the model as it is.

    Args:
        ids: the generated tokens.
        log_probs: of each, under the model as it is, in nats.
        kl: KL(model as it is ‖ under edits) where each was chosen, on this text, in nats.
        stopped: why it ended.
    """

    ids: list[int]
    log_probs: list[float]
    kl: list[float]
    stopped: str
    text: str


@torch.no_grad()
def say(model: "Model", prompt: list[int], edits: Any = None, **options: Any) -> Said:
    """A continuation of ids under edits, with the cache, and how far each of its tokens is from the unedited model.

    Args:
        options: what else `Model.generate` takes: `max_new_tokens`, `temperature`, `seed`, `edit_tokens`, …
    """
    steps: list[Tensor] = []

    def keep(_step: int, _token: Any, logits: Tensor) -> None:
        steps.append(readout.log_probs(logits[0]))

    found = model.generate([prompt], edits=edits, callback=keep, **options)
    ids = found.ids[0]
    plain = readout.log_probs(model.trace([prompt + ids[:-1]]).logits[0, len(prompt) - 1 :])
    log_probs = plain.gather(-1, torch.tensor(ids, device=plain.device)[:, None])[:, 0].double()
    kl = readout.kl(plain, torch.stack(steps)).double()
    return Said(ids, log_probs.tolist(), kl.tolist(), found.stopped[0], found.texts[0])


@torch.no_grad()
def fluency(model: "Model", prompt: list[int], said: Sequence[Sequence[int]]) -> list[float]:
    """Mean -log p, in nats per token, that the model as it is gives each continuation.

    Raises:
        ArgumentError: a continuation without a token.
    """
    if not all(said):
        raise ArgumentError("a continuation of no token has no perplexity", "Generate at least one.")
    found: list[float] = []
    for group in corpus.batches([prompt + list(each) for each in said], _TOKENS_AT_ONCE):
        trace = model.trace(group)
        log_p = readout.log_probs(trace.logits)
        for row, ids in enumerate(group):
            slots = torch.arange(len(prompt), len(ids))
            told = torch.tensor(ids[len(prompt) :], device=log_p.device)
            found.append(-float(log_p[row, slots - 1].gather(-1, told[:, None]).double().mean()))
    return found
