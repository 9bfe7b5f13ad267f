"""A GPT-2 and a Llama with grouped queries, tiny and random, saved and loaded as Hugging Face does it."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from architectures.zoo import build
from fluoroscope.interpretable import InterpretableModel

FAMILIES = ("gpt2", "llama")
IDS = [5, 3, 9, 7, 5, 3, 22, 41]
OTHER = [5, 3, 9, 11, 5, 3, 22, 60]


class Pair:
    """The same files twice: under the X-ray, and as Hugging Face loads them.

    Attributes:
        attn, mlp: the paths of these in a block.
    """

    def __init__(self, folder: Path, family: str) -> None:
        build(family).save_pretrained(folder)
        self.ours = InterpretableModel(str(folder))
        self.plain = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.container = self.ours.xray.architecture.layers
        self.attn, self.mlp = self.ours.xray.architecture.attn, "mlp"

    def hooked(self, ids: list[int], **changes: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Plain logits of ids and every block's, attention's and MLP's output, under hooks: path -> function."""
        kept: dict[str, torch.Tensor] = {}

        def hook(path: str):
            def inner(_module: object, _args: object, output: object) -> object:
                value = output[0] if isinstance(output, tuple) else output
                change = changes.get(path)
                value = value if change is None else change(value)
                kept[path] = value.clone()
                return (value, *output[1:]) if isinstance(output, tuple) else value

            return inner

        container = self.plain.get_submodule(self.container)
        handles = []
        for layer, block in enumerate(container):
            for name, module in (("block", block), ("attn", block.get_submodule(self.attn)), ("mlp", block.mlp)):
                handles.append(module.register_forward_hook(hook(f"{name}{layer}")))
        try:
            with torch.no_grad():
                return self.plain(torch.tensor([ids])).logits, kept
        finally:
            for handle in handles:
                handle.remove()


@pytest.fixture(scope="session", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("saved") / request.param, request.param)


@pytest.fixture(scope="session")
def specimen() -> InterpretableModel:
    return InterpretableModel("specimen")
