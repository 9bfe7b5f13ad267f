"""Other people's names for sites, weights, models and metrics: TransformerLens, module paths, mlxterp, HexRay.

The only place that knows a foreign name. A foreign name may claim more than its letters say (a module path means *that
module's output*); the claim is returned beside the site, and `Model.site` refuses it on families where it does not
hold.
"""

import re
from dataclasses import dataclass

from fluoroscope.errors import ArgumentError, SiteError, nearest
from fluoroscope.sites import SITES, Site


@dataclass(frozen=True)
class Claim:
    """What a foreign name says beyond the site.

    Args:
        module: that it is the output of this path.
        role: that it is the output of the block's attention or MLP, whatever path that has.
    """

    module: str = ""
    role: bool = False


_SHORT = [
    (re.compile(r"L(\d+)\.?H(\d+)", re.I), "z"),
    (re.compile(r"(?:head )?(\d+)\.(\d+)"), "z"),
    (re.compile(r"L(\d+)\.?N(\d+)", re.I), "neurons"),
    (re.compile(r"(?:MLP )L(\d+)", re.I), "mlp_out"),
    (re.compile(r"(?:Attn )L(\d+)", re.I), "attn_out"),
]

_LENS_GLOBAL = {"hook_embed": "embed", "hook_pos_embed": "pos_embed"}
_LENS_BLOCK = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_q": "q_proj",
    "attn.hook_k": "k_proj",
    "attn.hook_rot_q": "q",
    "attn.hook_rot_k": "k",
    "attn.hook_v": "v",
    "attn.hook_z": "z",
    "attn.hook_result": "head_out",
    "attn.hook_attn_scores": "scores",
    "attn.hook_pattern": "pattern",
    "mlp.hook_pre_linear": "up_proj",
    "mlp.hook_post": "neurons",
}
_LENS_REFUSED = {
    "mlp.hook_pre": "what the activation reads is 'gate_proj' on MLPs with a gate and 'up_proj' on others",
    "ln1.hook_normalized": "it is before the norm's gain and bias, which no site is",
    "ln2.hook_normalized": "it is before the norm's gain and bias, which no site is",
    "ln_final.hook_normalized": "it is before the norm's gain and bias; 'final_norm' is after them",
}
_LENS = re.compile(r"blocks\.(\d+)\.((?:\w+\.)?hook_\w+|ln\d\.hook_\w+)")

_BLOCK = re.compile(r"(?:\w+\.)*?(?:layers|h|blocks|block)\.(\d+)(?:\.(.+?))?(?:\.output)?")
_ATTENTION = {"self_attn", "attn", "attention", "self_attention", "attn.attention"}
_ROLES = {"self_attn", "attn", "mlp", "self_attn.o_proj", "mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"} | {
    f"self_attn.{part}_proj" for part in "qkv"
}
"""What mlxterp calls these parts on every family: layers.3.self_attn."""
_MLP = {"mlp", "feed_forward", "ffn", "block_sparse_moe", "moe"}
_HIDDEN = {"gate_proj", "up_proj", "c_fc", "fc_in", "fc1", "dense_h_to_4h"}
_OUTPUT_PROJECTIONS = {"o_proj", "c_proj", "out_proj", "dense"}
_NORMED = {
    "post_attention_layernorm": "attn_out",
    "post_self_attn_layernorm": "attn_out",
    "post_feedforward_layernorm": "mlp_out",
    "post_mlp_layernorm": "mlp_out",
}
_FUSED_PROJECTIONS = ("c_attn", "query_key_value", "qkv_proj")
_EMBEDDINGS = {"embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings"}
_POSITIONS = {"wpe", "embed_positions"}
_NORMS = {"norm", "ln_f", "final_layer_norm", "final_layernorm"}
_HEADS = {"lm_head", "embed_out"}


def resolve(name: "str | Site") -> Site:
    """The site of any known spelling.

    Raises:
        SiteError: no known spelling; the nearest match is named.
    """
    return resolve_claim(name)[0]


def resolve_claim(name: "str | Site") -> tuple[Site, Claim]:
    """The site of any known spelling, and what the spelling claims beyond it."""
    if isinstance(name, Site):
        return name, Claim()
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SiteError(f"{name!r} is no site", "Name one as text, such as 'resid_post.5'.")
    text = name.strip()
    for pattern, kind in _SHORT:
        match = pattern.fullmatch(text)
        if match:
            return Site(kind, *(int(part) for part in match.groups())), Claim()
    if text.partition(".")[0] in SITES:
        return Site.parse(text), Claim()
    found = _transformer_lens(text) or _module_path(text)
    if found is None:
        raise SiteError(f"{name!r} names no site", _suggest(text))
    return found


def _transformer_lens(text: str) -> tuple[Site, Claim] | None:
    if text in _LENS_GLOBAL:
        return Site(_LENS_GLOBAL[text]), Claim()
    match = _LENS.fullmatch(text)
    layer, hook = (int(match[1]), match[2]) if match else (None, text)
    if hook in _LENS_REFUSED and "hook_" in text:
        why = _LENS_REFUSED[hook]
        raise SiteError(f"{text!r} has no site", f"{why[0].upper()}{why[1:]}.")
    if layer is None or hook not in _LENS_BLOCK:
        return None
    return Site(_LENS_BLOCK[hook], layer), Claim()


def _module_path(text: str) -> tuple[Site, Claim] | None:
    if text in ("output", "model.output"):
        return Site("logits"), Claim()
    match = _BLOCK.fullmatch(text)
    if match:
        return _block_part(text, int(match[1]), match[2] or "")
    last = text.rpartition(".")[2]
    for names, site in ((_EMBEDDINGS, "embed"), (_POSITIONS, "pos_embed"), (_NORMS, "final_norm"), (_HEADS, "logits")):
        if last in names:
            return Site(site), Claim(module=text)
    return None


def _block_part(text: str, layer: int, part: str) -> tuple[Site, Claim] | None:
    first, _, last = part.rpartition(".")
    if part in ("", "resid_post", "resid_pre", "output"):
        return Site(part if part.startswith("resid") else "resid_post", layer), Claim()
    if last == "attention_weights":
        return Site("pattern", layer), Claim()
    role = part in _ROLES and re.match(r"(layers\.)?\d", text) is not None
    if part in _ATTENTION or (first in _ATTENTION and last in _OUTPUT_PROJECTIONS):
        return Site("attn_out", layer), Claim(module=part, role=role)
    if part in _MLP or (first in _MLP and last in ("down_proj", "c_proj", "fc_out", "dense_4h_to_h")):
        return Site("mlp_out", layer), Claim(module=part, role=role)
    if part in _NORMED:
        return Site(_NORMED[part], layer), Claim(module=part, role=role)
    if first in _ATTENTION and last in ("q_proj", "k_proj", "v_proj"):
        return Site(last, layer), Claim(module=part, role=role)
    if first in _MLP and last in _HIDDEN:
        return Site("gate_proj" if last == "gate_proj" else "up_proj", layer), Claim(module=part, role=role)
    if first in _ATTENTION and last in _FUSED_PROJECTIONS:
        raise SiteError(
            f"{text!r} gives queries, keys and values in one",
            f"Name 'q_proj.{layer}', 'k_proj.{layer}' or 'v_proj.{layer}'.",
        )
    return None


_COMPONENTS = {
    "attn": "attn_out", "self_attn": "attn_out", "attention": "attn_out", "attn_head": "z", "mlp": "mlp_out",
    "output": "resid_post",
}  # fmt: skip


def component(name: str, layer: int) -> tuple[Site, Claim]:
    """The site of a part of one block: a kind of site, mlxterp's name of one ("mlp"), or a path ("self_attn.o_proj").

    Raises:
        SiteError: no known part; the nearest is named.
    """
    kind = _COMPONENTS.get(name, name)
    if kind in SITES:
        return Site(kind, layer), Claim()
    found = _block_part(f"{layer}.{name}", layer, name)
    if found is None:
        known = [*_COMPONENTS, *(each for each, row in SITES.items() if row.layered)]
        raise SiteError(f"{name!r} names no site of a block", nearest(name, known))
    return found


_WEIGHTS = [
    re.compile(r"(?P<sublayer>attn|mlp)\.L(?P<layer>\d+)\.(?P<name>[Wb]_[A-Za-z]+)(?:\.(?P<head>\d+))?"),
    re.compile(r"blocks\.(?P<layer>\d+)\.(?P<sublayer>attn|mlp)\.(?P<name>[Wb]_[A-Za-z]+)(?:\.(?P<head>\d+))?"),
]
_MODEL_WEIGHTS = {
    "embed.W_E": "W_E",
    "pos_embed.W_pos": "W_pos",
    "unembed.W_U": "W_U",
    "unembed.b_U": "b_U",
}
_SUBLAYER = {"in": "mlp", "gate": "mlp", "out": "mlp", "Q": "attn", "K": "attn", "V": "attn", "O": "attn"}


def weight_address(text: str) -> str:
    """The address of a weight in our form: `attn.L10.W_Q` and `blocks.10.attn.W_Q` are W_Q.10; others stay as they are.

    Raises:
        ArgumentError: a foreign form that puts a weight where it is not, such as mlp.L6.W_Q.
    """
    if text in _MODEL_WEIGHTS:
        return _MODEL_WEIGHTS[text]
    match = next((found for pattern in _WEIGHTS if (found := pattern.fullmatch(text))), None)
    if match is None:
        return text
    name, sublayer = match["name"], match["sublayer"]
    address = ".".join(part for part in (name, match["layer"], match["head"]) if part is not None)
    if _SUBLAYER.get(name[2:], sublayer) != sublayer:
        raise ArgumentError(f"{text!r}: {name} is no weight of {sublayer!r}", f"Write {address!r}.")
    return address


_MODELS = {
    "gpt2-small": "gpt2",
    "distillgpt2": "distilgpt2",
    "gpt-neo-small": "EleutherAI/gpt-neo-125M",
    "gpt-neo-medium": "EleutherAI/gpt-neo-1.3B",
    "gpt-neo-large": "EleutherAI/gpt-neo-2.7B",
    "gpt-j": "EleutherAI/gpt-j-6B",
    "neox": "EleutherAI/gpt-neox-20b",
    "bloom": "bigscience/bloom-560m",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
}
_OWNERS = {
    "pythia-": "EleutherAI",
    "gpt-neo-": "EleutherAI",
    "gpt-j-": "EleutherAI",
    "opt-": "facebook",
    "bloom-": "bigscience",
    "gemma-": "google",
    "phi-": "microsoft",
}


def model_name(text: str) -> str:
    """The hub id of a name of TransformerLens, such as gpt2-small or pythia-70m; others stay as they are."""
    owner = next((owner for start, owner in _OWNERS.items() if text.startswith(start) and "/" not in text), None)
    return _MODELS.get(text) or (text if owner is None else f"{owner}/{text}")


METRICS = {
    "kl_divergence": "kl",
    "kl_div": "kl",
    "js_divergence": "js",
    "js_div": "js",
    "jensen_shannon": "js",
    "cross_entropy_diff": "log_probability",  # CE(corrupted) - CE(patched) is the change of this, with its sign
    "ce_diff": "log_probability",
    "ce": "cross_entropy",
    "l2_distance": "l2",
    "cosine_distance": "cosine",
    "logit_difference": "logit_diff",
    "prob": "probability",
    "prob_diff": "probability_diff",
    "log_prob": "log_probability",
    "logprob": "log_probability",
}
"""Names of metrics in mlxterp, TransformerLens, EAP-IG and auto-circuit -> ours."""


def metric_name(text: str) -> str:
    """Our name of a metric; names that are nobody else's stay as they are."""
    return METRICS.get(text, text)


def _suggest(text: str) -> str:
    known = [*SITES, *_LENS_BLOCK, *_LENS_GLOBAL, "layers"]
    head = re.sub(r"[\d.]+$", "", text)
    lens = text.partition(".hook")[0]
    if lens != text:
        head = "hook" + text.partition(".hook")[2]
    return nearest(head or text, known) + " A site reads name.layer[.unit], such as 'resid_post.5' or 'L9H6'."
