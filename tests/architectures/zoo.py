"""Tiny random models of every described family, with loud settings: nothing in them is neutral.

A case is named `model_type` or `model_type-variant`; its line holds what its config overrides. A model whose
norms are all ones, biases zero and window longer than the prompt would pass tests that a real one fails.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

ROPE = {"rope_type": "default", "rope_theta": 100.0}
HALF = {**ROPE, "partial_rotary_factor": 0.5}
LOCAL = {"sliding_attention": ROPE, "full_attention": {"rope_type": "default", "rope_theta": 1000.0}}
YARN = {
    **ROPE,
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
}
SHORT_YARN = {**YARN, "factor": 16.0, "original_max_position_embeddings": 4, "llama_4_scaling_beta": 0.5}

# Sizes that no two axes share by accident: d_model 32, 4 heads of 12 (not 32 / 4), d_mlp 40, 97 tokens.
SIZES = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4}
BASE = {**SIZES, "vocab_size": 97, "max_position_embeddings": 64, "rope_parameters": ROPE, "bos_token_id": 1}
BASE |= {"eos_token_id": 2, "pad_token_id": 0}
GQA = {**BASE, "num_key_value_heads": 2}
WIDE = {**GQA, "head_dim": 12}
GPT2 = {"vocab_size": 97, "n_positions": 64, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": 1}
GPT2 |= {"eos_token_id": 2, "n_inner": 40}
NEO = {"vocab_size": 97, "hidden_size": 32, "num_layers": 3, "num_heads": 4, "bos_token_id": 1, "eos_token_id": 2}
OPT = {key: value for key, value in BASE.items() if key not in ("rope_parameters", "intermediate_size")}
OPT |= {"ffn_dim": 40, "word_embed_proj_dim": 32, "dropout": 0.0}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "sliding_window": 4}
WINDOW = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
BIASES = {"attention_bias": True, "mlp_bias": True}
MULTIPLIERS = {"embedding_multiplier": 1.7, "residual_multiplier": 0.22, "attention_multiplier": 0.37}
MULTIPLIERS |= {"logits_scaling": 3.0}
FALCON = {key: value for key, value in BASE.items() if key != "intermediate_size"}
FALCON |= {"ffn_hidden_size": 40, "bias": True}
DEEPSEEK = {**BASE, **MOE, "n_routed_experts": 8, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
DEEPSEEK |= {"kv_lora_rank": 12, "qk_rope_head_dim": 6, "qk_nope_head_dim": 8, "v_head_dim": 10}
DEEPSEEK |= {"num_key_value_heads": 4, "attention_bias": True}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 6, "linear_value_head_dim": 10}

CASES: dict[str, dict[str, Any]] = {
    "gpt2": {**GPT2},
    "gpt2-untied": {**GPT2, "tie_word_embeddings": False, "scale_attn_by_inverse_layer_idx": True},
    "gpt_neo": {**NEO, "max_position_embeddings": 64, "intermediate_size": 40, "window_size": 4}
    | {"attention_types": [[["global", "local", "local"], 1]]},
    "gpt_neox": {**BASE, "rope_parameters": HALF, "use_parallel_residual": True},
    "gpt_neox-sequential": {**BASE, "rope_parameters": HALF, "use_parallel_residual": False, "attention_bias": False},
    "gptj": {**GPT2, "rotary_dim": 4},
    "opt": {**OPT},
    "opt-350m": {**OPT, "word_embed_proj_dim": 20, "do_layer_norm_before": False},
    "opt-untied": {**OPT, "enable_bias": False, "tie_word_embeddings": False},
    "bloom": {"vocab_size": 97, "hidden_size": 32, "n_layer": 3, "n_head": 4},
    "falcon": {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon-7b": {**FALCON, "multi_query": True, "parallel_attn": True, "bias": False},
    "falcon-11b": {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    "falcon-alibi": {**FALCON, "alibi": True, "multi_query": False, "parallel_attn": False}
    | {"tie_word_embeddings": False},
    "phi": {**GQA, "rope_parameters": HALF},
    "phi-qk_norm": {**GQA, "rope_parameters": HALF, "qk_layernorm": True},
    "phi3": {**WIDE, "rope_parameters": HALF, "sliding_window": 4, "original_max_position_embeddings": 64},
    "llama": {**WIDE, **BIASES},
    "llama-tied": {**GQA, "tie_word_embeddings": True},
    "mistral": {**WIDE, "sliding_window": 4},
    "mixtral": {**WIDE, **LOCAL_EXPERTS, "sliding_window": 4},
    "qwen2": {**GQA, **WINDOW, "tie_word_embeddings": True},
    "qwen2_moe": {**GQA, **MOE, **WINDOW, "shared_expert_intermediate_size": 20, "mlp_only_layers": [0]},
    "qwen3": {**WIDE, **WINDOW, "attention_bias": True},
    "qwen3_moe": {**WIDE, **MOE, "mlp_only_layers": [0], "norm_topk_prob": True, "attention_bias": True},
    "qwen3_next": {**WIDE, **MOE, **LINEAR, "rope_parameters": HALF, "shared_expert_intermediate_size": 20}
    | {"mlp_only_layers": [1], "layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    "gemma": {**WIDE, "attention_bias": True},
    "gemma2": {**WIDE, **MIXED, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 5.0}
    | {"query_pre_attn_scalar": 7},
    "gemma2-untied": {**WIDE, **MIXED, "attn_logit_softcapping": None, "final_logit_softcapping": 0.5}
    | {"tie_word_embeddings": False, "attention_bias": True},
    "gemma3_text": {**WIDE, **MIXED, "rope_parameters": LOCAL, "final_logit_softcapping": 5.0}
    | {"query_pre_attn_scalar": 7},
    "olmo": {**GQA, "clip_qkv": 0.8, "attention_bias": True},
    "olmo2": {**GQA},
    "olmo3": {**GQA, **MIXED, "rope_parameters": LOCAL, "attention_bias": True},
    "olmoe": {**GQA, **LOCAL_EXPERTS, "clip_qkv": 0.8, "norm_topk_prob": True},
    "cohere": {**GQA, "logit_scale": 0.3, "use_qk_norm": True},
    "cohere-biased": {**GQA, "logit_scale": 0.3, "attention_bias": True, "tie_word_embeddings": False},
    "cohere2": {**WIDE, **MIXED, "logit_scale": 0.3},
    "starcoder2": {**GQA, "sliding_window": 4},
    "stablelm": {**GQA, "rope_parameters": HALF, "use_qkv_bias": True, "use_parallel_residual": False},
    "stablelm-parallel": {**GQA, "rope_parameters": HALF, "qk_layernorm": True, "use_parallel_residual": True},
    "granite": {**GQA, **MULTIPLIERS, **BIASES},
    "granitemoe": {**GQA, **MULTIPLIERS, **LOCAL_EXPERTS, "tie_word_embeddings": True},
    "smollm3": {**GQA, **MIXED, **BIASES, "use_sliding_window": True, "no_rope_layers": [1, 1, 0]},
    "glm": {**WIDE, "rope_parameters": HALF},
    "glm4": {**WIDE, "rope_parameters": HALF},
    "gpt_oss": {**WIDE, **MIXED, **LOCAL_EXPERTS, "rope_parameters": YARN, "swiglu_limit": 1.5},
    "gpt_bigcode": {**GPT2, "multi_query": True},
    "gpt_bigcode-mha": {**GPT2, "multi_query": False, "tie_word_embeddings": False},
    "deepseek_v3": {**DEEPSEEK, "q_lora_rank": 16},
    "deepseek_v3-lite": {**DEEPSEEK, "q_lora_rank": None, "rope_interleave": False, "norm_topk_prob": False},
    "ernie4_5": {**WIDE, "use_bias": True},
    "phimoe": {**GQA, **LOCAL_EXPERTS, "attention_bias": True, "lm_head_bias": True} | {"router_jitter_noise": 0.5},
    "nemotron": {**WIDE, **BIASES, "rope_parameters": HALF},
    "codegen": {**GPT2, "rotary_dim": 4},
    "ministral": {**WIDE, **MIXED},
    "ministral3": {**WIDE, "rope_parameters": SHORT_YARN},
    "seed_oss": {**WIDE, "attention_bias": True, "attention_out_bias": True, "mlp_bias": True},
    "helium": {**GQA, "head_dim": 8, "attention_bias": True, "mlp_bias": True},
    "hunyuan_v1_dense": {**WIDE, "attention_bias": True},
    "cwm": {**WIDE, **MIXED, "mlp_bias": True},
}
"""Case -> keywords of its config."""


def model_type(case: str) -> str:
    """The Hugging Face model type of a case."""
    return case.partition("-")[0]


EAGER_ONLY = {
    "gpt_neo": "its attention classes are eager and flash",
    "gptj": "its attention classes are eager and flash",
    "bloom": "it adds ALiBi inside its own attention",
    "codegen": "it computes attention itself",
    "gemma2": "sdpa has no softcap",
    "gpt_oss": "sdpa has no sinks",
}
ATTENTION: dict[str, tuple[str, ...]] = {
    case: ("eager",) if model_type(case) in EAGER_ONLY else ("eager", "sdpa") for case in CASES
}
"""Case -> implementations of attention that its family supports."""
ATTENTION["falcon-alibi"] = ("sdpa",)  # eager, in transformers 5.23, adds ALiBi twice: in the mask and to the scores


def config(case: str) -> PreTrainedConfig:
    """The config of a case."""
    overrides = deepcopy(CASES[case])  # transformers writes into them
    return AutoConfig.for_model(model_type(case), **overrides)


def build(case: str, dtype: torch.dtype = torch.float32, seed: int = 0, attn: str | None = None) -> PreTrainedModel:
    """A model of the case in eval mode, every parameter random and loud; the same seed gives the same weights.

    Args:
        attn: "sdpa" or "eager"; the last that the family supports by default.
    """
    attn = ATTENTION[case][-1] if attn is None else attn
    if attn not in ATTENTION[case]:
        raise ValueError(f"{case} does not support {attn}: see ATTENTION")
    model = AutoModelForCausalLM.from_config(config(case), attn_implementation=attn, dtype=dtype).eval()
    loud(model, seed)
    return model


@torch.no_grad()
def loud(model: nn.Module, seed: int) -> None:
    """Draws every parameter, and the buffers that choose experts, anew; tied parameters stay tied."""
    generator = torch.Generator().manual_seed(seed)
    drawn: set[int] = set()
    for module in model.modules():
        tensors = dict(module.named_parameters(recurse=False))
        tensors |= {name: b for name, b in module.named_buffers(recurse=False) if name == "e_score_correction_bias"}
        for name, tensor in tensors.items():
            if id(tensor) not in drawn:  # a tied head comes after its embedding and keeps its values
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.copy_(draw(module, name, tensor.float(), noise))
                drawn.add(id(tensor))


def draw(module: nn.Module, name: str, initial: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The loud value of one parameter, from its neutral one."""
    if isinstance(module, nn.Embedding) or name in ("sinks", "A_log"):
        return noise
    if name.endswith("bias"):
        return 0.3 * noise
    if "norm" in type(module).__name__.lower() or initial.ndim == 1:
        return initial + 0.3 * noise
    fan_in = initial.shape[0] if isinstance(module, Conv1D) else initial.shape[-1]
    return 1.5 * noise / fan_in**0.5
