"""Linear probes: what a line through the stream can tell of its text, on texts that it was not fitted to.

Logistic regression with a ridge, and the plain mean difference (Marks & Tegmark 2023, "The Geometry of Truth"). A probe
that also learns labels that mean nothing has shown its own capacity, not the model's knowledge: what counts is its
selectivity, accuracy less that on shuffled labels (Hewitt & Liang 2019, "Designing and Interpreting Probes with Control
Tasks"; here labels of whole texts are shuffled).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.methods.erasure import leace

RIDGE = 1e-3
"""Of the logistic probe, on states whose mean squared distance from their mean is 1."""
_SHRINK = 0.1
_STEPS, _NOTHING = 50, 1e-6

Labels = Bool[Tensor, "state"]


@dataclass(frozen=True, eq=False)
class Probe:
    """Says yes where state @ weight + bias is above 0; a logistic probe's log-odds.

    Args:
        weight: in float64.
    """

    weight: Float[Tensor, "d_model"]
    bias: float

    def __call__(self, states: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any"]:
        return states.double() @ self.weight.to(states.device) + self.bias


Fit = Callable[[Float[Tensor, "state d_model"], Labels], Probe]


def mean_difference(states: Float[Tensor, "state d_model"], labels: Labels) -> Probe:
    """Along the difference of the classes' means, with the threshold halfway between them.

    Raises:
        ArgumentError: one class alone.
    """
    _check(states, labels)
    wide = states.double()
    one, other = wide[labels].mean(0), wide[~labels].mean(0)
    weight = one - other
    return Probe(weight, -float(weight @ (one + other) / 2))


def logistic(states: Float[Tensor, "state d_model"], labels: Labels, ridge: float = RIDGE) -> Probe:
    """The least mean logistic loss plus ridge / 2 times the squared weights, by Newton's method; the bias is free.

    Raises:
        ArgumentError: one class alone.
    """
    _check(states, labels)
    wide, mean = states.double(), states.double().mean(0)
    centred = wide - mean
    scale = centred.square().sum(-1).mean().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    _, sizes, axes = torch.linalg.svd(centred / scale, full_matrices=False)  # the weights lie in the states' span
    axes = axes[sizes > sizes.max() * 1e-12]
    x = torch.cat([centred / scale @ axes.T, torch.ones_like(wide[:, :1])], 1)
    penalty = torch.full((x.shape[1],), ridge, dtype=x.dtype, device=x.device)
    penalty[-1] = 0
    y, weight = labels.to(x), torch.zeros(x.shape[1], dtype=x.dtype, device=x.device)
    loss = _loss(x, y, weight, penalty)
    for _ in range(_STEPS):
        p = (x @ weight).sigmoid()
        slope = x.T @ (p - y) / len(x) + penalty * weight
        bend = (x.T * (p * (1 - p)).clamp_min(1e-12)) @ x / len(x) + penalty.diag()
        step = torch.linalg.lstsq(bend, slope[:, None]).solution[:, 0]
        size = 1.0
        while size > 1e-8 and _loss(x, y, weight - size * step, penalty) > loss:
            size /= 2
        weight, before, loss = weight - size * step, loss, _loss(x, y, weight - size * step, penalty)
        if before - loss < 1e-12:
            break
    if float((x[:, :-1] @ weight[:-1]).abs().max()) < _NOTHING:
        weight[:-1] = 0  # else rounding would decide
    slopes = axes.T @ weight[:-1] / scale
    return Probe(slopes, float(weight[-1] - slopes @ mean))


def _loss(x: Tensor, y: Tensor, weight: Tensor, penalty: Tensor) -> float:
    logits = x @ weight
    fit = torch.nn.functional.softplus(logits) - y * logits
    return float(fit.mean() + (penalty * weight.square()).sum() / 2)


def erased(states: Float[Tensor, "state d_model"], labels: Labels) -> Probe:
    """The logistic probe of states from which LEACE has taken the labels; it erases before it reads."""
    eraser = leace(states, labels, _SHRINK)
    probe = logistic(eraser(states.double()), labels)
    weight = probe.weight - eraser.read.T @ (eraser.write.T @ probe.weight)
    return Probe(weight, probe.bias + float(eraser.mean @ (eraser.read.T @ (eraser.write.T @ probe.weight))))


def held_out(
    states: Float[Tensor, "state d_model"], labels: Labels, fit: Fit, folds: Sequence[Sequence[int]]
) -> Bool[Tensor, "state"]:
    """Whether each state is told right by a probe that was fitted to the other folds."""
    right = torch.zeros(len(states), dtype=torch.bool)
    for fold in folds:
        chosen = torch.ones(len(states), dtype=torch.bool, device=states.device)
        chosen[list(fold)] = False
        probe = fit(states[chosen], labels[chosen])
        right[list(fold)] = ((probe(states[list(fold)]) > 0) == labels[list(fold)]).cpu()
    return right


def stratified(labels: Labels, folds: int, seed: int = 0) -> list[list[int]]:
    """A division of the states into folds, drawn by seed, each with its share of both classes.

    Raises:
        ArgumentError: fewer than two folds, or a class with fewer states than folds.
    """
    least = min(int(labels.sum()), int((~labels).sum()))
    if not 2 <= folds <= least:
        raise ArgumentError(
            f"folds={folds} with {least} texts of the smaller side", f"Give 2 to {least}, or more texts."
        )
    found: list[list[int]] = [[] for _ in range(folds)]
    for side in (labels, ~labels):
        states = side.nonzero()[:, 0].cpu()
        order = torch.randperm(len(states), generator=torch.Generator().manual_seed(seed))
        for place, state in enumerate(states[order].tolist()):
            found[place % folds].append(state)
    return found


def shuffled(labels: Labels, seed: int) -> Labels:
    """Labels that mean nothing, as many of each kind up to rounding: the control task.

    They are drawn within each class: a plain shuffle of few labels goes along with the true ones or against them by
    chance, and a probe that can read the true ones would profit either way.
    """
    generator = torch.Generator().manual_seed(seed)
    share, found = float(labels.double().mean()), torch.zeros_like(labels)
    for side in (labels, ~labels):
        states = side.nonzero()[:, 0].cpu()
        order = states[torch.randperm(len(states), generator=generator)]
        found[order[: round(share * len(states))].to(labels.device)] = True
    return found


def _check(states: Tensor, labels: Tensor) -> None:
    if len(states) != len(labels) or not bool(labels.any()) or bool(labels.all()):
        raise ArgumentError(
            f"{len(states)} states with {int(labels.sum())} of {len(labels)} labels true", "A probe needs both classes."
        )
