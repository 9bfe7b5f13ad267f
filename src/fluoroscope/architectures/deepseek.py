"""DeepSeek-V3: multi-head latent attention, dense blocks first, then routed and shared experts."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("deepseek_v3",)


def architecture(config: Any) -> Architecture:
    low_rank = ("W_K", "W_V", "b_K", "b_V")
    if config.q_lora_rank is not None:
        low_rank += ("W_Q", "b_Q")
    return Architecture(
        q=None if config.q_lora_rank is not None else "self_attn.q_proj",
        k=None,
        v=None,
        router="mlp.gate",
        experts="mlp.experts",
        shared="mlp.shared_experts",
        unavailable=dict.fromkeys(low_rank, "multi-head latent attention builds q, k and v from low-rank factors"),
    )
