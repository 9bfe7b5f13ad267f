"""Metrics under mlxterp's names: how far a patched output has gone from the corrupted one to the clean one.

0 is the corrupted output and 1 the clean one, whatever the metric, so a larger number is always more recovery. There,
kl and cross-entropy were raw differences, 0 where nothing was lost; `raw=True` gives those.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, nearest
from fluoroscope.interpretable.refusals import SettingError

Logits = Float[Tensor, "*batch d_vocab"]
Score = Float[Tensor, "*batch"]


def logit_diff(
    patched_logits: Logits,
    clean_logits: Logits,
    corrupted_logits: Logits,
    *,
    correct_token: int,
    incorrect_token: int,
    raw: bool = False,
) -> Score:
    """Recovery of the lead of one token over another; raw: the lead itself, in logits."""
    given = {"answer": correct_token, "foil": incorrect_token}
    return _recovery("logit_diff", patched_logits, clean_logits, corrupted_logits, given, raw=raw)


def kl_divergence(
    patched_logits: Logits, clean_logits: Logits, corrupted_logits: Logits, *, raw: bool = False
) -> Score:
    """Recovery of the clean distribution, 1 - KL(clean ‖ patched) / KL(clean ‖ corrupted); raw: -KL, in nats."""
    return _recovery("kl", patched_logits, clean_logits, corrupted_logits, {}, raw=raw)


def cross_entropy_diff(
    patched_logits: Logits,
    clean_logits: Logits,
    corrupted_logits: Logits,
    *,
    target_token: int | None = None,
    raw: bool = False,
) -> Score:
    """Recovery of a token's log-probability; raw: CE(corrupted) - CE(patched), in nats.

    Args:
        target_token: without it the likeliest token of the clean output.
    """
    token = int(_rows(clean_logits)[0].argmax()) if target_token is None else target_token
    given = {"answer": token}
    score = _recovery("log_probability", patched_logits, clean_logits, corrupted_logits, given, raw=raw)
    if not raw:
        return score
    return score - _recovery("log_probability", corrupted_logits, clean_logits, corrupted_logits, given, raw=True)


def l2_distance(patched_logits: Logits, clean_logits: Logits, corrupted_logits: Logits, *, raw: bool = False) -> Score:
    """Recovery by Euclidean distance of all logits; raw: the negative distance to the clean ones."""
    return _recovery("l2", patched_logits, clean_logits, corrupted_logits, {}, raw=raw)


def cosine_distance(
    patched_logits: Logits, clean_logits: Logits, corrupted_logits: Logits, *, raw: bool = False
) -> Score:
    """Recovery by cosine similarity of all logits; raw: the similarity less 1."""
    return _recovery("cosine", patched_logits, clean_logits, corrupted_logits, {}, raw=raw)


def mse(patched_logits: Logits, clean_logits: Logits, corrupted_logits: Logits, *, raw: bool = False) -> Score:
    """Recovery by mean squared difference of all logits; raw: the negative mean."""
    return _recovery("mse", patched_logits, clean_logits, corrupted_logits, {}, raw=raw)


_NAMED: dict[str, Callable[..., Score]] = {
    "logit_diff": logit_diff,
    "kl": kl_divergence,
    "log_probability": cross_entropy_diff,
    "l2": l2_distance,
    "cosine": cosine_distance,
    "mse": mse,
}
_NAMES = ("logit_diff", "kl_divergence", "kl", "cross_entropy_diff", "ce_diff", "l2_distance", "l2", "cosine_distance",
          "cosine", "mse")  # fmt: skip


def get_metric(metric: "str | Callable[..., Any]") -> Callable[..., Any]:
    """The metric of a name; a function is handed back.

    Raises:
        SettingError: an unknown name (a ValueError, too).
    """
    if not isinstance(metric, str):
        return metric
    if metric not in _NAMES:
        raise SettingError(f"unknown metric {metric!r}", nearest(metric, _NAMES))
    return _NAMED[metrics.resolve(metric)]


def _rows(logits: Logits) -> Float[Tensor, "row d_vocab"]:
    """Logits [d_vocab], [batch, d_vocab], or [batch, pos, d_vocab], of which the last position counts."""
    if not isinstance(logits, Tensor) or logits.dim() > 3:  # pyright: ignore[reportUnnecessaryIsInstance]
        told = getattr(logits, "shape", type(logits).__name__)
        raise ArgumentError(f"logits of shape {told}", "They are a tensor [batch, pos, d_vocab], or less of it.")
    return logits[:, -1] if logits.dim() == 3 else logits.reshape(-1, logits.shape[-1])


def _recovery(
    name: str, patched: Logits, clean: Logits, corrupted: Logits, given: dict[str, int], *, raw: bool
) -> Score:
    """Per row; a number for a single one. Differentiable in the patched logits."""
    sides = [_rows(side) for side in (patched, clean, corrupted)]
    if {each.shape[-1] for each in sides} != {sides[0].shape[-1]} or any(bool(each.isnan().any()) for each in sides):
        widths = sorted({each.shape[-1] for each in sides})
        raise SettingError(f"logits of {widths} tokens, or with NaN among them", "Give those of one model's runs.")
    count = len(sides[0])
    ids = {word: [[token]] * count for word, token in given.items()}
    made = metrics.make(name, reference=sides[1].expand(count, -1), **ids)
    scores = [made(side.expand(count, -1)) for side in sides]
    distance = "reference" in metrics.needs(name)
    plain = -scores[0] if distance else scores[0]
    found = plain if raw else metrics.recovered(scores[0], *(side.detach() for side in scores[1:]))
    return found[0] if patched.dim() == 1 or count == 1 else found
