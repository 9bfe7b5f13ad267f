"""Fits one affine map per depth so that the output head, behind it, says what the model will say at the end.

Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens": start at the identity, which
is the logit lens; minimise KL(final ‖ lens), in nats per token, by SGD with Nesterov momentum and a rate that falls
linearly to zero. Here the depths share nothing: each has its own loss and its own clipped gradient.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArtifactError, UnavailableError
from fluoroscope.methods import corpus, readout
from fluoroscope.methods.translators import Translators, depth_sites, identity, passes, read
from fluoroscope.progress import report, telling

if TYPE_CHECKING:
    from fluoroscope.model import Model

KIND = "tuned"
MOMENTUM = 0.9
CLIP = 1.0


@dataclass(frozen=True)
class Settings:
    """How to fit: steps, rows in each, the first rate, the seed of their order, momentum, the largest gradient."""

    steps: int
    rows: int
    rate: float
    seed: int
    momentum: float = MOMENTUM
    clip: float = CLIP


def fit(
    model: "Model", rows: list[list[int]], meta: dict[str, Any], settings: Settings, path: str | Path, every: int = 25
) -> tuple[Translators, list[list[float]]]:
    """The lens and its loss by step and depth; the file at `path` holds it after every `every` steps.

    If the file holds an unfinished fit of the same meta, it goes on from there, to the same bits.

    Raises:
        ArtifactError: the file holds another lens.
        UnavailableError: a map no longer leads to finite numbers.
    """
    meta = meta | {"kind": KIND, "steps": settings.steps, "rows": settings.rows, "rate": settings.rate}
    own = {"momentum": settings.momentum, "clip": settings.clip}
    meta |= {name: own[name] for name, usual in (("momentum", MOMENTUM), ("clip", CLIP)) if own[name] != usual}
    lens, momentum, done, losses = _begin(model, meta, path)
    sites = depth_sites(model.n_layers)
    while done < settings.steps:
        with telling(lambda _: losses):
            report("tuned lens", done, settings.steps)
        chosen = corpus.shuffled(rows, settings.seed, done, settings.rows)
        gradients, found = _gradients(model, lens, sites, chosen, settings.clip)
        losses.append(found.tolist())
        rate = settings.rate * (1 - done / settings.steps)
        for value, gradient, speed in zip((lens.weight, lens.bias), gradients, momentum.values(), strict=True):
            speed.mul_(settings.momentum).add_(gradient)
            value.sub_(rate * (gradient + settings.momentum * speed))
        done += 1
        if done % every == 0 or done == settings.steps:
            lens = replace(lens, meta=meta | {"done": done, "losses": losses})
            lens.save(path, {} if done == settings.steps else momentum)
    with telling(lambda _: losses):
        report("tuned lens", done, settings.steps)
    return lens, losses


def _begin(
    model: "Model", meta: dict[str, Any], path: str | Path
) -> tuple[Translators, dict[str, Tensor], int, list[list[float]]]:
    """The state to begin with: the identity, or what the file holds."""
    if not Path(path).exists():
        lens = identity(model, meta)
        return lens, {"speed": torch.zeros_like(lens.weight), "bias_speed": torch.zeros_like(lens.bias)}, 0, []
    lens, extra = read(path, KIND)
    same = {name: lens.meta.get(name) for name in meta}
    if same != meta:
        changed = ", ".join(f"{name} {same[name]}, not {meta[name]}" for name in meta if same[name] != meta[name])
        raise ArtifactError(f"{str(path)!r} holds a lens that was fitted otherwise: {changed}", "Name another file.")
    return (
        lens,
        {name: extra[name] for name in ("speed", "bias_speed") if name in extra},
        lens.meta["done"],
        lens.meta["losses"],
    )


def _gradients(
    model: "Model", lens: Translators, sites: list[str], rows: list[list[int]], clip: float
) -> tuple[tuple[Tensor, Tensor], Float[Tensor, "depth"]]:
    """Clipped gradients of every depth, and its loss: the mean KL over the tokens of the rows."""
    weight, bias = torch.zeros_like(lens.weight), torch.zeros_like(lens.bias)
    losses, total = torch.zeros(len(weight), dtype=torch.float64), sum(map(len, rows))
    for streams, final in passes(model, sites[:-1], rows):
        for depth, stream in enumerate(streams):
            leaves = [part[depth].clone().requires_grad_() for part in (lens.weight, lens.bias)]
            with torch.enable_grad():
                moved = stream.float() @ leaves[0].to(stream.device) + leaves[1].to(stream.device)
                logits = model.unembed(moved.to(stream.dtype))
                if bool(logits.isnan().any()):
                    raise UnavailableError(f"the map of {sites[depth]} leads out of all numbers", "Try a lower rate.")
                loss = readout.kl(final, readout.log_probs(logits)).sum() / total
                found = torch.autograd.grad(loss, leaves)
            weight[depth] += found[0]
            bias[depth] += found[1]
            losses[depth] += loss.item()
    norms = (weight.square().sum((1, 2)) + bias.square().sum(1)).sqrt()
    scale = (clip / norms.clamp_min(clip))[:, None]
    return (weight * scale[..., None], bias * scale), losses
