"""What a model offers is proved at load, on four tokens: sites that fail are unavailable, with the reason."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fluoroscope import forward
from fluoroscope.errors import FluoroscopeError, LoadError
from fluoroscope.norms import frozen
from fluoroscope.run import Run, running
from fluoroscope.sites import SITES, Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Reasons = dict[tuple[str, int | None], str]
_N_TOKENS = 4


def tolerance(dtype: torch.dtype) -> float:
    """Relative error that rounding explains at this precision, over a few hundred operations."""
    return 64 * torch.finfo(dtype).eps


def reference(model: "Model") -> tuple[Tensor, Tensor]:
    """Ids and the untouched module's own logits for them, before any hook exists."""
    length = min(_N_TOKENS, model.n_ctx or _N_TOKENS)
    ids = (torch.arange(length) * 7 + 1).remainder(model.n_input)[None].to(model.device)
    return ids, _forward(model, ids)


def _forward(model: "Model", ids: Tensor) -> Tensor:
    with torch.no_grad():
        return forward.logits(model.hf(**forward.inputs(model.hf, ids, None, ids)))


def verify(model: "Model", plain: tuple[Tensor, Tensor]) -> Reasons:
    """Proves every site of `model` and returns those that fail.

    Raises:
        LoadError: the hooked module does not give the logits it gave before, or they are not finite.
    """
    ids, expected = plain
    if not torch.isfinite(expected).all():
        raise LoadError(f"{model.name} gives logits that are not finite for token ids {ids[0].tolist()}")
    reasons = _declared(model)
    run = _run(model, ids, expected, reasons, exclude=("scores", "pattern"), bits=True)
    inner = _run(model, ids, expected, reasons, exclude=(), bits=False)
    for layer in range(model.n_layers):
        _check_residual(model, run, layer, reasons)
        _check_attention(inner, layer, reasons)
    _check_unembed(model, run, expected, reasons)
    return reasons


def _declared(model: "Model") -> Reasons:
    """Sites that the family says it cannot offer, or whose parts a block lacks."""
    reasons: Reasons = {}
    arch = model.architecture
    for name, row in SITES.items():
        for layer in range(model.n_layers) if row.layered else [None]:
            why = arch.unavailable.get(name)
            if why is None and name in ("q", "k", "v", "scores", "pattern") and not model.attends:
                why = "this family's attention does not go through transformers' AttentionInterface"
            if why is None and name == "resid_mid" and arch.parallel:
                why = "attention and MLP read the same stream in parallel, so there is no stream between them"
            if why is None and name == "pos_embed" and arch.pos_embed is None:
                why = "positions are not embedded in the residual stream"
            if why is None and name == "head_out":
                why = _no_output_projection(model, layer or 0)
            if why is not None:
                reasons[name, layer] = why
    return reasons


def _no_output_projection(model: "Model", layer: int) -> str | None:
    try:
        model.weights[f"W_O.{layer}"]
    except FluoroscopeError as error:
        return error.message
    return None


def _run(model: "Model", ids: Tensor, expected: Tensor, reasons: Reasons, exclude: tuple[str, ...], bits: bool) -> Run:
    """One run that keeps everything still available; sites that do not fire become unavailable."""
    wanted = {
        Site(name, layer)
        for name, row in SITES.items()
        if name not in exclude
        for layer in (range(model.n_layers) if row.layered else [None])
        if (name, layer) not in reasons
    }
    run = Run(model, frozenset(wanted))
    with running(run):
        logits = _forward(model, ids)
    error = _relative(logits, expected)
    if (bits and not torch.equal(logits, expected)) or error > tolerance(model.dtype):
        raise LoadError(
            f"{model.name} gives other logits when it is looked at (relative error {error:.1e})",
            "The module has state or randomness of its own; Fluoroscope cannot watch it exactly.",
        )
    for site in wanted - run.values.keys():
        reasons[site.name, site.layer] = _missing(model, site)
    return run


def _missing(model: "Model", site: Site) -> str:
    arch = model.architecture
    parts = {
        "neurons": arch.down, "z": arch.o, "router": arch.router, "router_choice": arch.router,
        "router_weights": arch.router, "experts_out": arch.experts, "shared_out": arch.shared,
        **dict.fromkeys(("q", "k", "v", "scores", "pattern", "attn_out", "resid_mid", "head_out"), arch.attn),
    }  # fmt: skip
    if site.name in parts and parts[site.name] is None:
        return "this family has no such part"
    if site.name in parts:
        return f"block {site.layer} does not call a module {parts[site.name]!r}"
    return "it did not occur in a forward pass"


def _check_residual(model: "Model", run: Run, layer: int, reasons: Reasons) -> None:
    """resid_pre + attn_out + mlp_out = resid_post, and heads sum to attn_out less its bias."""
    parts = [run.values.get(Site(name, layer)) for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
    if any(part is None for part in parts):
        return
    before, attn, mlp, after = (part for part in parts if part is not None)
    error = _relative(before + attn + mlp, after)
    if error > tolerance(model.dtype):
        for name in ("attn_out", "resid_mid", "mlp_out", "head_out"):
            reasons[name, layer] = f"resid_pre + attn_out + mlp_out misses resid_post by {error:.1e} of its size"


def _check_attention(run: Run, layer: int, reasons: Reasons) -> None:
    """Pattern rows are probabilities, and pattern @ v is z (where z is not gated afterwards)."""
    pattern = run.values.get(Site("pattern", layer))
    if pattern is None:
        return
    total = pattern.sum(-1)
    if (pattern < 0).any() or (total > 1 + tolerance(pattern.dtype)).any() or not torch.isfinite(pattern).all():
        reasons["pattern", layer] = reasons["scores", layer] = "pattern rows are no probabilities"


def _check_unembed(model: "Model", run: Run, expected: Tensor, reasons: Reasons) -> None:
    last = run.values.get(Site("resid_post", model.n_layers - 1))
    if last is None:
        return
    with torch.no_grad():
        error = _relative(model.unembed(last), expected)
        norm = frozen(model.architecture, model.hf.get_submodule(model.architecture.final_norm), last)
        normed = norm.scaled(last.to(norm.inverse.dtype)) + (0 if norm.bias is None else norm.bias)
        norm_error = _relative(normed, run.values.get(Site("final_norm"), normed))
    if error > tolerance(model.dtype):
        reasons["unembed", None] = f"norm and unembedding of the last resid_post miss the logits by {error:.1e}"
    if norm_error > tolerance(model.dtype):
        reasons["frozen_norm", None] = f"the final norm's formula misses its module by {norm_error:.1e}"


def _relative(value: Tensor, expected: Tensor) -> float:
    expected = expected.double()
    return float((value.double() - expected).abs().max() / expected.abs().max().clamp_min(1e-30))
