"""How much of something the logits at one position of each prompt hold: plain functions, logits in, one score a prompt.

A larger score is more of what the metric is named after. Scores are computed in float32, in float64 where the logits
are, whatever type the model runs in. Any callable from logits [batch, d_vocab] to scores [batch] is a metric; those
made here also say which logits they read and follow a prompt to the rows of a sweep (`Metric.at`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope import aliases, answers, scores
from fluoroscope.answers import Ids
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.signature import MetricName

Logits = Float[Tensor, "batch d_vocab"]
Score = Float[Tensor, "batch"]
Named = str | Callable[[Any], Any]
"""A metric by its name, or a function from logits [row, d_vocab] to scores [row]."""

NAMES: tuple[MetricName, ...] = get_args(MetricName)
"""What `make` knows; other people's names are resolved as well."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A score of each prompt's logits, with what it knows of each prompt.

    Args:
        name: what a larger score is more of.
        function: (logits [n, d_vocab], *rows of data [n, ...]) -> [n].
        data: what it knows of each prompt, [batch, ...] each.
        reads: the only logits it reads, where they are few.
        weights: what each of `reads` counts, where the metric is linear in the logits.
        differentiable: whether the function has a gradient; asking for one that is not there raises an ArgumentError.

    Raises:
        ArgumentError: data of different numbers of prompts, or weights that are not those of `reads`.
    """

    name: str
    function: Callable[..., Tensor]
    data: tuple[Tensor, ...] = ()
    reads: Int[Tensor, "batch token"] | None = None
    weights: Float[Tensor, "batch token"] | None = None
    differentiable: bool = True

    def __post_init__(self) -> None:
        held = [*self.data, *(each for each in (self.reads, self.weights) if each is not None)]
        counts = sorted({len(each) for each in held})
        if len(counts) > 1:
            raise ArgumentError(f"{self.name} has data of {counts} prompts", "Each tensor has one row a prompt.")
        if self.weights is not None and (self.reads is None or self.reads.shape != self.weights.shape):
            raise ArgumentError(f"{self.name} has weights of other tokens than it reads", "They are one by one.")

    @property
    def batch(self) -> int | None:
        """How many prompts it knows; None if it treats all alike."""
        return next((len(each) for each in (*self.data, self.reads) if each is not None), None)

    def __call__(self, logits: Logits) -> Score:
        """The score of each prompt.

        Raises:
            ArgumentError: logits of another number of prompts, or without one of the tokens.
        """
        if logits.ndim != 2 or not logits.is_floating_point():
            raise ArgumentError(
                f"{self.name} was given {logits.dtype} of shape {tuple(logits.shape)}",
                "It reads logits [batch, d_vocab] of one position of each prompt.",
            )
        if self.batch not in (None, len(logits)):
            raise ArgumentError(
                f"{self.name} knows {self.batch} prompts, the logits have {len(logits)} rows",
                "metric.at(prompts) says which prompt each row belongs to.",
            )
        return self.function(logits, *(each.to(logits.device) for each in self.data))

    def at(self, prompts: Int[Tensor, "n"] | Sequence[int]) -> "Metric":
        """The same metric for rows that belong to these prompts, in any order and number.

        Raises:
            ArgumentError: a prompt that is not there.
        """
        if self.batch is None:
            return self
        rows = torch.as_tensor(prompts, dtype=torch.int64)
        if rows.ndim != 1 or bool(((rows < 0) | (rows >= self.batch)).any()):
            raise ArgumentError(
                f"{self.name} cannot be had at {rows.tolist()}", f"Its {self.batch} prompts count from 0."
            )

        def of(each: Tensor) -> Tensor:
            return each[rows.to(each.device)]

        return replace(
            self,
            data=tuple(map(of, self.data)),
            reads=None if self.reads is None else of(self.reads),
            weights=None if self.weights is None else of(self.weights),
        )

    def of_read(self, read: Float[Tensor, "n token"]) -> Float[Tensor, "n"]:
        """The score from the logits of `reads` alone.

        Raises:
            ArgumentError: the metric is not linear in them, or they are others.
        """
        if self.weights is None:
            raise ArgumentError(f"{self.name} cannot be had from a few logits", "Call it with all of them.")
        if read.shape != self.weights.shape:
            raise ArgumentError(
                f"{self.name} reads {tuple(self.weights.shape)} logits and was given {tuple(read.shape)}",
                "Pass logits.gather(-1, metric.reads).",
            )
        return scores.weighted(read, self.weights.to(read.device))


# ── of an answer ─────────────────────────────────────────────────────────────────────────────────────


def logit(answer: Ids) -> Metric:
    """The logit of each prompt's answer, of a set their mean."""
    return _linear("logit", *answers.shares(answer, "answer"))


def logit_diff(answer: Ids, foil: Ids) -> Metric:
    """The logit of each prompt's answer less that of its foil, of a set their mean.

    Raises:
        ArgumentError: a token that is in both, where it would cancel.
    """
    answers.check_apart(answer, foil)
    (ids, weights), (others, shares) = answers.shares(answer, "answer"), answers.shares(foil, "foil")
    return _linear("logit_diff", torch.cat([ids, others], 1), torch.cat([weights, -shares], 1))


def probability(answer: Ids) -> Metric:
    """The probability that the answer comes, or one of a set."""
    return Metric("probability", scores.probability, answers.sets(answer, "answer"))


def probability_diff(answer: Ids, foil: Ids) -> Metric:
    """The probability of the answer less that of the foil; with the years after and up to the first, greater-than's.

    Raises:
        ArgumentError: a token that is in both, where it would cancel.
    """
    answers.check_apart(answer, foil)
    data = (*answers.sets(answer, "answer"), *answers.sets(foil, "foil"))
    return Metric("probability_diff", scores.probability_diff, data)


def log_probability(answer: Ids) -> Metric:
    """The log-probability, in nats, that the answer comes, or one of a set."""
    return Metric("log_probability", scores.log_probability, answers.sets(answer, "answer"))


def cross_entropy(answer: Ids) -> Metric:
    """The loss on the answer, in nats: less its log-probability, so that more is worse."""
    return Metric("cross_entropy", scores.cross_entropy, answers.sets(answer, "answer"))


def rank(answer: Ids) -> Metric:
    """How many tokens have a larger logit than the answer, or than the best of a set: 0 is the first.

    It has no gradient: asking for one raises an ArgumentError.
    """
    function = cast("Callable[..., Tensor]", scores.Rank.apply)
    return Metric("rank", function, answers.sets(answer, "answer"), differentiable=False)


# ── from a reference ─────────────────────────────────────────────────────────────────────────────────


def kl(reference_logits: Logits) -> Metric:
    """KL(reference ‖ logits) in nats: what is lost by believing the logits where the reference holds."""
    return Metric("kl", scores.kl, (_reference(reference_logits).log_softmax(-1),))


def js(reference_logits: Logits) -> Metric:
    """Jensen-Shannon divergence from the reference in nats: 0 for the same distribution, at most ln 2."""
    return Metric("js", scores.js, (_reference(reference_logits).log_softmax(-1),))


def l2(reference_logits: Logits) -> Metric:
    """Euclidean distance from the reference, in logits; tokens that nobody would expect count as much as others."""
    return Metric("l2", scores.l2, (_reference(reference_logits),))


def cosine(reference_logits: Logits) -> Metric:
    """1 less the cosine of the angle to the reference: 0 for the same direction, 2 for the opposite one.

    Raises:
        ArgumentError: a reference of zeros, which has no direction.
    """
    norm = _reference(reference_logits).norm(dim=-1, keepdim=True)
    if bool((norm == 0).any()):
        raise ArgumentError("reference logits that are all 0 have no direction", "Choose another metric.")
    return Metric("cosine", scores.cosine, (_reference(reference_logits) / norm,))


def mse(reference_logits: Logits) -> Metric:
    """Mean over the vocabulary of the squared difference from the reference, in logits squared."""
    return Metric("mse", scores.mse, (_reference(reference_logits),))


# ── by name, and as a share ──────────────────────────────────────────────────────────────────────────

_OF_TOKENS = (logit, logit_diff, probability, probability_diff, log_probability, cross_entropy, rank)
_MAKERS: dict[str, Callable[..., Metric]] = {make.__name__: make for make in (*_OF_TOKENS, kl, js, l2, cosine, mse)}


def resolve(name: Named) -> str:
    """Our name of a metric of any known spelling; of a function its own.

    Raises:
        ArgumentError: there is none; the nearest is named.
    """
    if not isinstance(name, str):
        own: str = getattr(name, "name", "") or getattr(name, "__name__", type(name).__name__)
        return own if own.isidentifier() and own not in NAMES else "own_metric"
    ours = aliases.metric_name(name)
    if ours not in NAMES:
        raise ArgumentError(f"unknown metric {name!r}", nearest(name, (*NAMES, *aliases.METRICS)))
    return ours


def needs(name: Named) -> tuple[str, ...]:
    """What a metric is made of: some of answer, foil and reference; a function of nothing."""
    if not isinstance(name, str):
        return ()
    ours = resolve(name)
    if ours in ("kl", "js", "l2", "cosine", "mse"):
        return ("reference",)
    return ("answer", "foil") if ours in ("logit_diff", "probability_diff") else ("answer",)


def make(name: Named, *, answer: Ids | None = None, foil: Ids | None = None, reference: Logits | None = None) -> Metric:
    """The metric of a name, which takes what it needs of these and leaves the rest.

    Args:
        name: one of `NAMES`, or another tool's name of it; or a function from logits [row, d_vocab] to scores [row].
        answer: the token that is right, of each prompt.
        foil: the token that it is held against.
        reference: the logits that distances are measured from, those of the clean run.

    Raises:
        ArgumentError: unknown name, or without something that it needs.
    """
    if not isinstance(name, str):
        return name if isinstance(name, Metric) else Metric(resolve(name), partial(_scored, name))
    ours = resolve(name)
    given: dict[str, Any] = {"answer": answer, "foil": foil, "reference": reference}
    wanted = {key: given[key] for key in needs(ours)}
    missing = [key for key, value in wanted.items() if value is None]
    if missing:
        alone = "; logit and log_probability need the answer alone" if missing == ["foil"] else ""
        hint = "Pass the logits of the clean run." if "reference" in missing else f"Name the tokens{alone}."
        raise ArgumentError(f"the metric {name!r} needs {' and '.join(missing)}", hint)
    return _MAKERS[ours](*wanted.values())


def recovered(
    score: Float[Tensor, "... batch"] | float,
    clean: Float[Tensor, "batch"] | float,
    corrupted: Float[Tensor, "batch"] | float,
) -> Float[Tensor, "... batch"]:
    """The score as a share of the way from the corrupted run's, 0, to the clean run's, 1; it may lie beyond both.

    Raises:
        ArgumentError: clean and corrupted score the same, to within what rounding leaves in their type.
    """
    value, start, end = (scores.wide(torch.as_tensor(each, dtype=_kind(each))) for each in (score, corrupted, clean))
    gap = end - start
    size = torch.maximum(start.abs(), end.abs()).clamp_min(1)
    flat = ~(gap.abs() > 8 * torch.finfo(gap.dtype).eps * size)
    if bool(flat.any()):
        row = int(flat.reshape(-1).to(torch.int64).argmax())
        one, other = (float(each.broadcast_to(gap.shape).reshape(-1)[row]) for each in (end, start))
        raise ArgumentError(
            f"clean and corrupted score the same on prompt {row}: {one:.6g} and {other:.6g}",
            "Nothing can be recovered: leave it out, corrupt what its answer depends on, or read the raw score.",
        )
    return (value - start) / gap


def rounding(metric: Metric, logits: Float[Tensor, "... token"], scores: Float[Tensor, "... score"]) -> float:
    """The size of a difference of scores that rounding of the logits can make by itself.

    Args:
        logits: those that were read.
        scores: what they score; a probability is rounded as a share of itself.
    """
    eps = torch.finfo(torch.float64 if logits.dtype == torch.float64 else torch.float32).eps
    wide, score = max(1.0, float(logits.abs().max())), float(scores.abs().max())
    return 8 * eps * (wide * score if metric.name.startswith("probability") else max(wide, score))


def _scored(function: Callable[[Tensor], Any], logits: Tensor) -> Tensor:
    found = function(logits)
    if not isinstance(found, Tensor) or found.shape != (len(logits),):
        told = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ArgumentError(f"the metric gave {told} for {len(logits)} rows", "It gives one score a row, as a tensor.")
    return found


def _linear(name: str, reads: Int[Tensor, "batch token"], weights: Float[Tensor, "batch token"]) -> Metric:
    return Metric(name, scores.linear, (reads, weights), reads, weights)


def _reference(logits: Logits) -> Logits:
    if not isinstance(logits, Tensor) or logits.ndim != 2:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError("reference logits are [batch, d_vocab]", "Pass logits[:, -1], say, of the clean run.")
    if not bool(logits.isfinite().all()):
        raise ArgumentError("the reference logits hold values that are not finite", "Load with dtype='float32'.")
    return scores.wide(logits.detach())


def _kind(value: Tensor | float) -> torch.dtype:
    return value.dtype if isinstance(value, Tensor) else torch.float64
