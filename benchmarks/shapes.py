"""The models that are measured: GPT-2-small and a Llama of its size with grouped queries, random weights, float32.

Imports torch and transformers alone, so that every environment builds the same modules with the same weights.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

N_LAYERS, N_HEADS, N_KV_HEADS, D_MODEL, D_VOCAB = 12, 12, 4, 768, 50257
LENGTHS = (16, 64, 256)


@dataclass(frozen=True)
class Shape:
    """A model to measure, and where its modules keep what is captured.

    Args:
        blocks: path of the list of blocks.
        attn, mlp: inside of a block, the modules whose outputs are added to the residual stream.
        o, down: inside of a block, the projections whose inputs are z and the neurons.
    """

    name: str
    blocks: str
    attn: str
    mlp: str
    o: str
    down: str

    def config(self) -> Any:
        from transformers import GPT2Config, LlamaConfig

        if self.name == "GPT-2-small":
            config: Any = GPT2Config(vocab_size=D_VOCAB, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS)
        else:
            config = LlamaConfig(
                vocab_size=D_VOCAB, hidden_size=D_MODEL, intermediate_size=2048, num_hidden_layers=N_LAYERS,
                num_attention_heads=N_HEADS, num_key_value_heads=N_KV_HEADS, max_position_embeddings=1024,
                tie_word_embeddings=False,
            )  # fmt: skip
        config.bos_token_id = config.eos_token_id = 0
        return config

    def build(self) -> nn.Module:
        """The module with seeded weights, in eval mode, with SDPA attention."""
        from transformers import AutoModelForCausalLM

        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(self.config(), attn_implementation="sdpa").eval().float()


SHAPES = (
    Shape("GPT-2-small", "transformer.h", "attn", "mlp", "attn.c_proj", "mlp.c_proj"),
    Shape("Llama GQA 12:4", "model.layers", "self_attn", "mlp", "self_attn.o_proj", "mlp.down_proj"),
)


def twin(module: nn.Module, attention: str = "sdpa") -> Any:
    """A second module over the very same weights, so that no contestant has the memory's caches to itself."""
    copied: Any = deepcopy(module, {id(weight): weight for weight in module.parameters()})
    copied.set_attn_implementation(attention)
    return copied


def prompt(length: int) -> Tensor:
    """Seeded ids [1, length]."""
    return torch.randint(D_VOCAB, (1, length), generator=torch.Generator().manual_seed(length))
