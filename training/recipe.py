"""What is trained and how: one recipe per model."""

from dataclasses import dataclass, field
from typing import Any

from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from training.kernels import ATTENTION
from training.tokenizer import VOCABULARY

CONTEXT = 256


@dataclass(frozen=True)
class Recipe:
    """A model's shape and schedule; `shape` goes to the Hugging Face configuration of `family`.

    The last `silent_mlps` blocks of a GPT-2 have attention only: what they write is written by heads. The rates fall to
    each step of `restarts`, begin again at a part of their height, and fall to the end.
    """

    family: str
    shape: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: int = 20_000
    restarts: tuple[int, ...] = (12_000, 16_000)
    lengths: tuple[int, ...] = (128, 128, 128, 256)
    tokens: int = 4096
    warm_up: int = 100
    muon_rate: float = 0.02
    adam_rate: float = 2e-3
    decay: float = 0.05
    clip: float = 1.0
    random_rows: float = 0.08
    seed: int = 1
    threads: int = 2
    silent_mlps: int = 2
    check_every: int = 500
    score_every: int = 500
    snapshots: tuple[int, ...] = (125, 250, 500, 750, 1000, 1500, 2500, 5000)


RECIPES = {
    "specimen": Recipe("gpt2", {"n_embd": 256, "n_layer": 6, "n_head": 8, "n_inner": 768}),
    "specimen-llama": Recipe(
        "llama",
        {
            "hidden_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "intermediate_size": 512,
        },
        steps=5_000,
        restarts=(),
        silent_mlps=0,
    ),
    "smoke": Recipe(
        "gpt2",
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 128},
        steps=60,
        restarts=(),
        lengths=(64,),
        tokens=1024,
        warm_up=5,
        threads=1,
        silent_mlps=1,
        check_every=20,
        score_every=0,
        snapshots=(),
    ),
}


def untrained(recipe: Recipe) -> PreTrainedModel:
    """A model of this shape with Hugging Face's own start values, under the fast attention."""
    common: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    common |= {"tie_word_embeddings": True, "attn_implementation": ATTENTION, "use_cache": False}
    if recipe.family == "gpt2":
        dropout: dict[str, Any] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        # The same function as gelu_new, in one kernel.
        activation: dict[str, Any] = {"activation_function": "gelu_pytorch_tanh"}
        return GPT2LMHeadModel(GPT2Config(n_positions=CONTEXT, **recipe.shape, **dropout, **activation, **common))
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=CONTEXT, **recipe.shape, **common))
