"""What attention heads do by their weights alone: what they read, what they write, and what becomes of a token in them.

A head reads the stream through W_V and writes W_O: its OV circuit. What it looks at is W_Q against W_K: its QK circuit
(Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"). Gains and centring of the norms on the way
are folded in; their scale, which depends on the run, and all biases are left out. Everything is float64.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.interventions import Intervention, zero
from fluoroscope.methods import rotary
from fluoroscope.modules import required, submodule
from fluoroscope.norms import FrozenNorm, frozen, unscaled
from fluoroscope.progress import track
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Part = Literal["Q", "K", "V"]
Embedding = Literal["token", "block_0"]
"""A token as W_E has it, or with what the MLP of the first block makes of it, which is what later heads read of it."""

_PROMPTS = 256

_AT_ONCE = 1 << 24
"""Entries of the largest intermediate tensor."""


# ── what a head reads and writes ─────────────────────────────────────────────────────────────────────


def layers(model: "Model") -> list[int]:
    """The blocks whose heads have an OV circuit.

    Raises:
        UnavailableError: no block has; with the reason.
    """
    stream = model.architecture.unavailable.get("attn_out")
    if stream is not None:
        raise UnavailableError(f"heads of {model.name} have no circuits between them: {stream}")
    names = [(f"W_V.{layer}", f"W_O.{layer}") for layer in range(model.n_layers)]
    gated = model.architecture.unavailable.get("z")
    found = [layer for layer, pair in enumerate(names) if all(name in model.weights for name in pair)]
    if gated is not None or not found:
        why = gated if found else _why_not(model, names[0])
        raise UnavailableError(f"heads of {model.name} have no OV circuit of weights alone: {why}")
    return found


def _why_not(model: "Model", names: tuple[str, str]) -> str:
    for name in names:
        try:
            model.weights[name]
        except UnavailableError as error:
            return error.message
    return "other blocks have other parts"


def head(model: "Model", name: str) -> Site:
    """The head of any spelling, with a circuit of weights alone.

    Raises:
        ArgumentError: it is no head, or its block has no such circuits.
        SiteError, UnavailableError: this model has no such site, or no head with circuits.
    """
    site = model.site(name)
    if site.name not in ("z", "pattern") or site.unit is None:
        raise ArgumentError(f"head={name!r} is no head", "Write it as L3H0.")
    known = layers(model)
    if site.layer not in known:
        raise ArgumentError(f"head={name!r} has no circuit of weights alone", f"Blocks whose heads have one: {known}.")
    return Site("z", site.layer, site.unit)


def reads(model: "Model", layer: int, part: Part) -> Float[Tensor, "head d_model d_head"]:
    """What multiplies the residual stream to give queries, keys or values; shared ones once per query head.

    Rotary positions turn queries and keys afterwards; between a token and itself that cancels.

    Raises:
        UnavailableError: this family has no such matrix, or norms queries and keys after they are turned.
    """
    weight = model.weights[f"W_{part}.{layer}"].double()
    folded = _input_norm(model, layer).read_by(weight)
    if part != "V":
        folded = _headed(model, layer, part, folded)
    return folded.repeat_interleave(model.n_heads // len(folded), dim=0)


def writes(model: "Model", layer: int) -> Float[Tensor, "head d_head d_model"]:
    """What z is multiplied by to give what the stream receives, in as far as any later norm reads it."""
    arch = model.architecture
    weight = model.weights[f"W_O.{layer}"].double()
    if arch.attn_out not in (None, arch.attn, arch.o):
        weight = unscaled(arch, required(model.blocks[layer], str(arch.attn_out), "post-norm")).scaled(weight)
    return weight - weight.mean(-1, keepdim=True) if centred(model) else weight


def centred(model: "Model") -> bool:
    """Whether nothing reads the mean of the stream: every norm is a LayerNorm, which takes it off."""
    arch = model.architecture
    return arch.norm == "layer" and arch.attn_norm is not None and arch.final_norm is not None


def _input_norm(model: "Model", layer: int) -> FrozenNorm:
    return unscaled(model.architecture, _input_module(model, layer))


def _input_module(model: "Model", layer: int) -> nn.Module | None:
    path = model.architecture.attn_norm
    return None if path is None else required(model.blocks[layer], path, "norm before attention")


def _headed(
    model: "Model", layer: int, part: Part, weight: Float[Tensor, "head d_model d_head"]
) -> Float[Tensor, "head d_model d_head"]:
    """Queries or keys behind the norm that some families give each head, its gain and centring folded in."""
    arch, block = model.architecture, model.blocks[layer]
    named = [submodule(block, path) for path in (arch.q_norm, arch.k_norm)]
    attention = required(block, arch.attn, "attention")
    known = {id(part) for module in named if module is not None for part in module.modules()}
    strange = [name for name, part in attention.named_modules() if "norm" in name and id(part) not in known]
    if strange:
        raise UnavailableError(
            f"queries and keys of block {layer} pass a norm {strange[0]!r} that cannot be folded into their weights",
            "Look at the pattern on a prompt instead.",
        )
    norm = named["QK".index(part)]
    if norm is None:
        return weight
    gains = [unscaled(arch, each).gain for each in (getattr(norm, "norms", None) or [norm])]
    weight = weight - weight.mean(-1, keepdim=True) if arch.norm == "layer" else weight
    if gains[0] is None:
        return weight
    return weight * torch.cat([gain for gain in gains if gain is not None]).reshape(-1, 1, weight.shape[-1])


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────


def embeddings(model: "Model", kind: Embedding) -> Float[Tensor, "token d_model"]:
    """What the stream holds of every token that has both an embedding and a logit, in the dtype of the model.

    Positions are left out, and so is the attention of the first block.

    Raises:
        UnavailableError: what enters the first block is not W_E but for a factor.
    """
    ids = torch.arange(min(model.n_input, model.d_vocab), device=model.device)
    rows = model.weights["W_E"][: len(ids)]
    said = rows.any(-1)  # the row of a pad token is zero, and points nowhere
    probes, silent = said.nonzero()[:4, 0], (~said).nonzero()[:1, 0]
    alike = torch.cosine_similarity(_streams(model, probes, "resid_pre.0").double(), rows[probes].double(), dim=-1)
    if not bool((alike > 1 - 1e-4).all()) or (len(silent) and bool(_streams(model, silent, "resid_pre.0").any())):
        raise UnavailableError(
            f"what enters the first block of {model.name} is not W_E but for a factor",
            "Its embedding passes a norm or a projection; look at heads on a prompt instead.",
        )
    return rows if kind == "token" else _streams(model, ids, "resid_post.0")


def _streams(model: "Model", ids: Int[Tensor, "token"], site: str) -> Float[Tensor, "token d_model"]:
    """The stream over each token by itself, without its position and without attention of the first block."""
    removed: dict[str | Site, Intervention] = {} if site == "resid_pre.0" else {"attn_out.0": zero()}
    if model.architecture.pos_embed is not None:
        removed["pos_embed"] = zero()
    return torch.cat(
        [
            model.trace(chunk, sites=[site], edits=removed, logits=False)[site][:, 0].clone()
            for chunk in track(ids[:, None].split(_PROMPTS), "tokens")
        ]
    )


def sized(model: "Model", layer: int, rows: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
    """Rows at the size at which a block's norm hands them to its heads; gain and centring are in what reads them."""
    wide = rows.double()
    return wide * frozen(model.architecture, _input_module(model, layer), wide).inverse


def unembedding(model: "Model", tokens: range) -> Float[Tensor, "d_model token"]:
    """W_U of some tokens, with gain and centring of the final norm folded in."""
    path = model.architecture.final_norm
    norm = unscaled(model.architecture, None if path is None else required(model.hf, path, "final norm"))
    return norm.read_by(model.weights["W_U"][:, tokens.start : tokens.stop].double())


# ── the circuits of tokens ───────────────────────────────────────────────────────────────────────────


def token_map(model: "Model", table: Float[Tensor, "token d_model"]) -> Float[Tensor, "d_model d_model"]:
    """W_U @ W_E over all tokens, about which the eigenvalues of every head's OV circuit turn."""
    total = torch.zeros(model.d_model, model.d_model, dtype=torch.float64, device=table.device)
    for chunk in _chunks(len(table), 4096):
        total += unembedding(model, chunk) @ table[chunk.start : chunk.stop].double()
    return total


def copying(model: "Model", layer: int, through: Float[Tensor, "d_model d_model"]) -> Float[Tensor, "head"]:
    """Of each head: sum of the real parts of the eigenvalues of W_E W_V W_O W_U over the sum of their sizes.

    1 where all that it reads comes out as itself, -1 where it comes out as its opposite, NaN where nothing does. The
    eigenvalues that are not 0 are those of W_O W_U W_E W_V, which is d_head x d_head (Elhage et al. 2021).

    Args:
        through: of `token_map`.
    """
    return positive_share(torch.linalg.eigvals(writes(model, layer) @ through @ reads(model, layer, "V")))


def positive_share(eigenvalues: Complex[Tensor, "*circuit value"]) -> Float[Tensor, "*circuit"]:
    """The sum of the real parts of eigenvalues over the sum of their sizes; NaN where all are 0."""
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)


def own_first(
    model: "Model", layer: int, table: Float[Tensor, "token d_model"], ids: Int[Tensor, "sample"]
) -> Float[Tensor, "head"]:
    """The share of the tokens `ids` whose own logit each head, reading them, raises above that of every other token."""
    z, out = table[ids].double() @ reads(model, layer, "V"), writes(model, layer)
    best = torch.full((len(out), len(ids)), -torch.inf, dtype=torch.float64, device=table.device)
    own = best.clone()
    for chunk in _chunks(len(table), max(1, _AT_ONCE // best.numel())):
        logits = z @ (out @ unembedding(model, chunk))
        here = ((ids >= chunk.start) & (ids < chunk.stop)).nonzero()[:, 0]
        places = ids[here] - chunk.start
        own[:, here] = logits[:, here, places]
        logits[:, here, places] = -torch.inf
        best = torch.maximum(best, logits.amax(-1))
    return (own > best).double().mean(-1)


def promoted(
    model: "Model", layer: int, head: int, table: Float[Tensor, "token d_model"], ids: Int[Tensor, "source"], count: int
) -> tuple[Float[Tensor, "source count"], Int[Tensor, "source count"]]:
    """For each token that a head reads, the tokens whose logits it raises most over the mean token's.

    Sources are read at the size that the norm gives them alone; the logits are those before the final norm's scale.
    """
    z = sized(model, layer, table[ids]) @ reads(model, layer, "V")[head]
    out = writes(model, layer)[head]
    blocks = ((chunk.start, out @ unembedding(model, chunk)) for chunk in _wide_chunks(table, ids))
    return _strongest(z, blocks, count)


def preferred(
    model: "Model",
    layer: int,
    head: int,
    table: Float[Tensor, "token d_model"],
    ids: Int[Tensor, "query"],
    count: int,
    distance: int | None = None,
) -> tuple[Float[Tensor, "query count"], Int[Tensor, "query count"]]:
    """For each query token the key tokens that a head scores highest over the mean key, by the tokens alone.

    Query times key, before the model's factor on scores; what positions add to a score is left out.

    Args:
        distance: how many tokens the key is before the query, where positions turn both.

    Raises:
        ArgumentError, UnavailableError: as `rotary.turned`.
    """
    q, k = rotary.turned(model, layer, distance, *(reads(model, layer, part)[head] for part in ("Q", "K")))
    blocks = (
        (chunk.start, (sized(model, layer, table[chunk.start : chunk.stop]) @ k).T)
        for chunk in _wide_chunks(table, ids)
    )
    return _strongest(sized(model, layer, table[ids]) @ q, blocks, count)


def _strongest(
    left: Float[Tensor, "row d_head"], blocks: Iterable[tuple[int, Float[Tensor, "d_head other"]]], count: int
) -> tuple[Float[Tensor, "row count"], Int[Tensor, "row count"]]:
    """The largest entries of each row of left @ right, over the mean of the row, and where they are.

    Args:
        blocks: of columns of `right`, each with the index of its first.
    """
    values = left.new_empty(len(left), 0)
    places = torch.empty(len(left), 0, dtype=torch.long, device=left.device)
    total, seen = left.new_zeros(len(left)), 0
    for start, right in blocks:
        found = left @ right
        total, seen = total + found.sum(-1), seen + found.shape[1]
        best = found.topk(min(count, found.shape[1]))
        values, places = torch.cat((values, best.values), 1), torch.cat((places, best.indices + start), 1)
        kept = values.topk(min(count, values.shape[1]))
        values, places = kept.values, places.gather(1, kept.indices)
    return values - total[:, None] / seen, places


def _chunks(count: int, width: int) -> list[range]:
    return [range(start, min(start + width, count)) for start in range(0, count, width)]


def _wide_chunks(table: Tensor, ids: Tensor) -> Iterable[range]:
    return track(_chunks(len(table), max(1, _AT_ONCE // max(len(ids), table.shape[1]))), "token pairs")
