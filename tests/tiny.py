"""A random GPT-2 of two blocks that reads characters, saved as a folder like any other model."""

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from fluoroscope.loading import load
from fluoroscope.methods.translators import Translators, provenance

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,!?<>[]/|`*$\n\t\x1b"
"""Some of them are markup or control characters, so that predictions of this model are hostile text."""

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}|{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

PROMPT = "Why [red]\x1b[31m<b>?"


def save(folder: Path) -> str:
    """Writes the model; its biases and norms are off neutral, so that nothing cancels by accident."""
    vocabulary = {char: number for number, char in enumerate(CHARACTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="."))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=".", chat_template=TEMPLATE).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(CHARACTERS) + 3, n_embd=24, n_layer=2, n_head=3, n_positions=64, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return str(folder)


def save_lenses(folder: str) -> None:
    """Writes a lens of every kind beside the weights: maps that change nothing."""
    model = load(folder)
    for kind, distances in (("tuned", ()), ("jacobian", ()), ("future", (2,))):
        depths = model.n_layers + len(distances)
        weight = torch.eye(model.d_model).expand(*distances, depths, -1, -1)
        meta = provenance(model, "none", [], 0) | {"kind": kind}
        lens = Translators(weight.clone(), torch.zeros(*distances, depths, model.d_model), meta)
        lens.save(Path(folder) / f"{kind}_lens.safetensors")
