"""OLMo 2 and 3: no norm before a sublayer, one after it."""

from typing import Any

from fluoroscope.architectures import Architecture

MODEL_TYPES = ("olmo2", "olmo3")


def architecture(config: Any) -> Architecture:
    return Architecture(attn_norm=None, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")
