"""What a model offers is proved at load, on four tokens: sites that fail are unavailable, with the reason.

Identities (sums, one matrix product, one norm) are held to a few roundings of their largest term; logits that
took another path through all layers (attention computed explicitly) to what rounding explains over that many.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fluoroscope import forward, shares
from fluoroscope.errors import ArchitectureError, FluoroscopeError, LoadError
from fluoroscope.modules import submodule
from fluoroscope.run import IN_ATTENTION, Run, running
from fluoroscope.sites import SITES, Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Reasons = dict[tuple[str, int | None], str]
_N_TOKENS = 4
_PROJECTIONS = {"q_proj": "W_Q", "k_proj": "W_K", "v_proj": "W_V"}


def tolerance(dtype: torch.dtype) -> float:
    """Relative error that rounding explains at this precision, over a few hundred operations."""
    return 64 * _rounding(dtype)


def few_roundings(dtype: torch.dtype) -> float:
    """Relative error that rounding explains at this precision in a handful of operations."""
    return 8 * _rounding(dtype)


def _rounding(dtype: torch.dtype) -> float:
    """Of the coarsest operation: Hugging Face computes norms, softmax and routers of float64 models in float32."""
    return max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)


def reference(model: "Model") -> tuple[Tensor, Tensor]:
    """Ids and the untouched module's own logits for them, before any hook exists.

    Raises:
        LoadError: experts in float64, which Hugging Face's grouped product does not multiply.
    """
    length = min(_N_TOKENS, model.n_ctx or _N_TOKENS)
    ids = (torch.arange(length) * 7 + 1).remainder(model.n_input)[None].to(model.device)
    try:
        return ids, _forward(model, ids)
    except RuntimeError as error:
        experts = getattr(getattr(model.hf, "config", None), "_experts_implementation", None)
        if model.dtype != torch.float64 or experts != "grouped_mm" or "Double" not in str(error):
            raise
        raise LoadError(
            f"the experts of {model.name} cannot run in float64: Hugging Face's grouped matrix product has no float64",
            "Load it with dtype='float32', or from Python with experts_implementation='eager' (a loaded module: "
            "set_experts_implementation('eager') before).",
        ) from error


def _forward(model: "Model", ids: Tensor) -> Tensor:
    with torch.no_grad():
        return forward.logits(model.hf(**forward.inputs(model.hf, ids, None, ids)))


def verify(model: "Model", plain: tuple[Tensor, Tensor]) -> Reasons:
    """Proves every site of `model` and returns those that fail.

    Raises:
        LoadError: the hooked module does not give the logits it gave before, or they are not finite.
        ArchitectureError: they are over another number of tokens than the sizes say.
    """
    ids, expected = plain
    if expected.shape[-1] != model.d_vocab:
        raise ArchitectureError(
            f"{model.name} gives logits over {expected.shape[-1]} tokens, not {model.d_vocab}",
            "Correct dims={'d_vocab': …} or the path of the unembedding.",
        )
    if not torch.isfinite(expected).all():
        raise LoadError(f"{model.name} gives logits that are not finite for token ids {ids[0].tolist()}")
    reasons = _declared(model)
    run = _run(model, ids, expected, reasons, exclude=("scores", "pattern"), bits=True)
    inner = _run(model, ids, expected, reasons, exclude=(), bits=False)
    _check_embeddings(model, run, reasons)
    for layer in range(model.n_layers):
        _check_residual(model, run, layer, reasons)
        _check_projections(model, run, layer, reasons)
        _check_attention(model, inner, layer, reasons)
        _check_heads(model, run, layer, reasons)
    _check_unembed(model, run, expected, reasons)
    return reasons


def _declared(model: "Model") -> Reasons:
    """Sites that the family says it cannot offer, or whose parts a block lacks."""
    reasons: Reasons = {}
    arch = model.architecture
    for name, row in SITES.items():
        for layer in range(model.n_layers) if row.layered else [None]:
            why = arch.unavailable.get(name) or arch.unavailable.get(_PROJECTIONS.get(name, ""))
            if why is None and name == "resid_mid" and arch.parallel:
                why = "attention and MLP read the same stream in parallel, so there is no stream between them"
            if why is None and name == "pos_embed" and arch.pos_embed is None:
                why = "positions are not embedded in the residual stream"
            if why is None and name == "final_norm" and arch.final_norm is None:
                why = "this model has no final norm: the last resid_post is the input of W_U"
            if why is None and name == "head_out":
                why = _no_output_projection(model, layer or 0)
            if why is not None:
                reasons[name, layer] = why
    return reasons


def _no_output_projection(model: "Model", layer: int) -> str | None:
    try:
        width = model.weights[f"W_O.{layer}"].shape[-1]
    except FluoroscopeError as error:
        return error.message
    if width != model.d_model:
        return f"{model.architecture.o!r} of block {layer} writes {width} features, not {model.d_model}"
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
        why = "The" if bits else "Its attention, computed explicitly, is another function than its own, or the"
        raise LoadError(
            f"{model.name} gives other logits when it is looked at (relative error {error:.1e})",
            f"{why} module has state or randomness of its own; Fluoroscope cannot watch it exactly.",
        )
    for site in wanted - run.values.keys():
        reasons[site.name, site.layer] = _missing(model, site)
    return run


def _missing(model: "Model", site: Site) -> str:
    arch = model.architecture
    parts = {
        "gate_proj": arch.gate_up or arch.gate, "up_proj": arch.gate_up or arch.up, "neurons": arch.down,
        "z": arch.o, "router": arch.router, "router_choice": arch.router,
        "router_weights": arch.router, "q_proj": arch.qkv or arch.q, "k_proj": arch.qkv or arch.k,
        "v_proj": arch.qkv or arch.v, "experts_out": arch.experts, "shared_out": arch.shared,
        **dict.fromkeys(("q", "k", "v", "scores", "pattern", "attn_out", "resid_mid", "head_out"), arch.attn),
    }  # fmt: skip
    if site.name in parts and parts[site.name] is None:
        return "this family has no such part"
    block = model.blocks[site.layer or 0]
    inside = (*_PROJECTIONS, *IN_ATTENTION, "z", "head_out")
    if site.name in inside and submodule(block, arch.mixer) is not None:
        return f"block {site.layer} has {arch.mixer!r} in attention's place, which has no heads that look at tokens"
    if site.name in IN_ATTENTION and submodule(block, arch.attn) is not None:
        own = "does not call torch for both products around a softmax"
        why = "does not call transformers' AttentionInterface" if model.attends else own
        return f"{arch.attn!r} of block {site.layer} {why}"
    if site.name in ("gate_proj", "up_proj", "neurons") and submodule(block, arch.experts) is not None:
        return f"block {site.layer} has experts for an MLP, whose neurons are no site"
    if site.name in parts:
        return f"block {site.layer} does not call a module {parts[site.name]!r}"
    return "it did not occur in a forward pass"


def _check_embeddings(model: "Model", run: Run, reasons: Reasons) -> None:
    """embed + pos_embed = resid_pre.0."""
    parts = [run.values.get(Site(name)) for name in ("embed", "pos_embed")]
    entry = run.values.get(Site("resid_pre", 0))
    if parts[0] is None or entry is None:
        return
    error = _relative(parts[0] if parts[1] is None else parts[0] + parts[1], entry)
    if error > few_roundings(model.dtype):
        for name in ("embed", "pos_embed"):
            reasons.setdefault((name, None), f"embed + pos_embed misses resid_pre.0 by {error:.1e} of its size")


def _check_residual(model: "Model", run: Run, layer: int, reasons: Reasons) -> None:
    """resid_pre + attn_out + mlp_out = resid_post."""
    parts = [run.values.get(Site(name, layer)) for name in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
    if any(part is None for part in parts):
        return
    before, attn, mlp, after = (part for part in parts if part is not None)
    error = _relative(before + attn + mlp, after, before, attn, mlp)
    if error > few_roundings(model.dtype):
        for name in ("attn_out", "resid_mid", "mlp_out", "head_out"):
            reasons[name, layer] = f"resid_pre + attn_out + mlp_out misses resid_post by {error:.1e} of its size"


def _check_projections(model: "Model", run: Run, layer: int, reasons: Reasons) -> None:
    """What attention reads, times the weights, is q_proj, k_proj and v_proj, where the weights can be read."""
    stream = run.values.get(Site("resid_pre", layer))
    norm = submodule(model.blocks[layer], model.architecture.attn_norm)
    if stream is None or (norm is None and model.architecture.attn_norm is not None):
        return
    with torch.no_grad():
        read = stream if norm is None else norm(stream)
    for name, weight in _PROJECTIONS.items():
        value = run.values.get(Site(name, layer))
        try:
            matrix, bias = model.weights[f"{weight}.{layer}"], model.weights.get(f"{weight.replace('W', 'b')}.{layer}")
        except FluoroscopeError:
            continue
        if value is None:
            continue
        expected = read[:, None] @ matrix + (0 if bias is None else bias[:, None])
        error = _relative(value, expected) if value.shape == expected.shape else float("inf")
        if error > tolerance(model.dtype):
            reasons[name, layer] = f"it misses what {weight}.{layer} makes of the stream by {error:.1e} of its size"


def _check_attention(model: "Model", run: Run, layer: int, reasons: Reasons) -> None:
    """Pattern rows are probabilities, and pattern @ v is z; what was only watched is all of that or nothing."""
    pattern, v, z = (run.values.get(Site(name, layer)) for name in ("pattern", "v", "z"))
    if not model.attends and (pattern is None or v is None):
        for name in IN_ATTENTION:
            reasons[name, layer] = _missing(model, Site(name, layer))
        return
    if pattern is None:
        return
    total = pattern.sum(-1)
    if (pattern < 0).any() or (total > 1 + tolerance(pattern.dtype)).any() or not torch.isfinite(pattern).all():
        reasons["pattern", layer] = reasons["scores", layer] = "pattern rows are no probabilities"
    if v is None or z is None:
        return
    mixed = (pattern @ v.repeat_interleave(pattern.shape[1] // v.shape[1], 1)).transpose(1, 2)
    error = _relative(mixed, z) if mixed.shape == z.shape else None
    if error is None or error > few_roundings(model.dtype):
        why = "its heads have another size" if error is None else f"it misses by {error:.1e}"
        for name in ("z", "head_out") if model.attends else IN_ATTENTION:
            reasons.setdefault((name, layer), f"the input of {model.architecture.o!r} is not pattern @ v: {why}")


def _check_heads(model: "Model", run: Run, layer: int, reasons: Reasons) -> None:
    """The heads' shares and the bias sum to attn_out."""
    z, split, attn = (run.values.get(Site(name, layer)) for name in ("z", "head_out", "attn_out"))
    if z is None or split is None or attn is None or ("head_out", layer) in reasons:
        return
    bias = shares.heads(model, layer, z)[1]
    error = _relative(split.sum(2) + (0 if bias is None else bias), attn, split)
    if error > tolerance(model.dtype):
        reasons["head_out", layer] = f"heads and bias miss attn_out by {error:.1e} of its size"


def _check_unembed(model: "Model", run: Run, expected: Tensor, reasons: Reasons) -> None:
    """The final norm and the unembedding of the last resid_post give the logits; the norm's formula gives the norm."""
    final = Site("resid_post", model.n_layers - 1)
    last = run.values.get(final)
    if last is None:
        for name in ("unembed", "frozen_norm"):
            reasons[name, None] = f"there is no {final}: {reasons[final.name, final.layer]}"
        return
    with torch.no_grad():
        error = _relative(model.unembed(last), expected)
        norm = model.final_norm(last)
        normed = norm.scaled(last.to(norm.inverse.dtype)) + (0 if norm.bias is None else norm.bias)
        norm_error = _relative(normed, run.values.get(Site("final_norm"), normed))
    if error > few_roundings(model.dtype):
        why = f"norm and unembedding of the last resid_post miss the logits by {error:.1e}"
        reasons["unembed", None] = why
        reasons.setdefault(("final_norm", None), why)
    if norm_error > few_roundings(model.dtype):
        reasons["frozen_norm", None] = f"the final norm's formula misses its module by {norm_error:.1e}"


def _relative(value: Tensor, expected: Tensor, *terms: Tensor) -> float:
    """Largest difference, in units of the largest entry of what is expected (or of the terms of a sum)."""
    size = max(float(tensor.abs().max()) for tensor in (expected, *terms))
    return float((value.double() - expected.double()).abs().max()) / max(size, 1e-30)
