"""Causes by plain Hugging Face: one run a patch, one backward pass for all slopes, one product for every reader.

The slow reference of `causes.py` and of the peers, and the units of its ratios; imports torch alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from plain import PlainHooks, Values, bare
from shapes import D_MODEL, D_VOCAB, N_HEADS, N_LAYERS, Shape, prompt, twin
from torch import Tensor, nn

LENGTH, ANSWER, FOIL, STEPS = 16, 11, 12, 5
D_HEAD = D_MODEL // N_HEADS
HEADS, RESIDUALS = f"each head's z at the end ({N_LAYERS * N_HEADS} runs)", f"resid_pre ({N_LAYERS * LENGTH} runs)"
ONE_BACKWARD = "2 forward + 1 backward"
ALL_STEPS = f"2 forward + {STEPS} (forward + backward)"

Pair = tuple[Tensor, Tensor]
"""Ids [1, pos] of the clean and of the corrupted prompt. Values of the first are put into runs of the second."""


def pair(first: int) -> Pair:
    """Two prompts that are the same before token `first`, and differ at every token from there on."""
    clean = prompt(LENGTH)
    corrupted = torch.randint(D_VOCAB, clean.shape, generator=torch.Generator().manual_seed(5))
    corrupted[:, :first] = clean[:, :first]
    return clean, corrupted


def difference(logits: Tensor) -> Tensor:
    """What is asked for: by how much one token is likelier than another at the end."""
    return (logits[:, -1, ANSWER] - logits[:, -1, FOIL]).sum()


class Patched:
    """Runs of the corrupted prompt with one part of the clean one, each a forward pass of its own."""

    def __init__(self, module: nn.Module, shape: Shape) -> None:
        self.module: Any = twin(module)
        self.captured = PlainHooks(twin(module), shape)
        self.write: Callable[[str, Tensor], None] = lambda _name, _value: None
        for layer, block in enumerate(self.module.get_submodule(shape.blocks).children()):
            block.register_forward_pre_hook(self._hook(f"resid_pre.{layer}"))
            block.get_submodule(shape.o).register_forward_pre_hook(self._hook(f"z.{layer}"))

    def _hook(self, name: str) -> Callable[..., Any]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> Any:
            value = args[0].clone()
            self.write(name, value)
            return (value, *args[1:])

        return hook

    def heads(self, sides: Pair) -> Tensor:
        """[layer, head]: the head's z at the last token."""
        given, scores = self.captured(sides[0]), torch.zeros(N_LAYERS, N_HEADS)
        for layer, head in torch.cartesian_prod(torch.arange(N_LAYERS), torch.arange(N_HEADS)).tolist():

            def write(name: str, value: Tensor, site: str = f"z.{layer}", head: int = head) -> None:
                if name == site:
                    value.unflatten(-1, (N_HEADS, -1))[:, -1, head] = given[site][:, -1, head]

            self.write = write
            scores[layer, head] = difference(bare(self.module, sides[1]))
        return scores

    def residuals(self, sides: Pair) -> Tensor:
        """[layer, position]: what enters a block at one token."""
        given, scores = self.captured(sides[0]), torch.zeros(N_LAYERS, LENGTH)
        for layer, slot in torch.cartesian_prod(torch.arange(N_LAYERS), torch.arange(LENGTH)).tolist():

            def write(name: str, value: Tensor, site: str = f"resid_pre.{layer}", slot: int = slot) -> None:
                if name == site:
                    value[:, slot] = given[site][:, slot]

            self.write = write
            scores[layer, slot] = difference(bare(self.module, sides[1]))
        return scores


# ── gradients; weights are frozen ────────────────────────────────────────────────────────────────────


def slope(module: Any, embedded: Tensor) -> Tensor:
    """One forward and one backward pass, down to the token embeddings."""
    leaf = embedded.detach().requires_grad_()
    score = difference(module(inputs_embeds=leaf, use_cache=False).logits)
    return torch.autograd.grad(score, leaf)[0]


def one_backward(module: Any, sides: Pair) -> None:
    """The unit of attribution patching."""
    bare(module, sides[0])
    slope(module, module.get_input_embeddings()(sides[1]))


def all_steps(module: Any, sides: Pair) -> None:
    """The unit of integrated gradients."""
    clean, corrupted = (module.get_input_embeddings()(side) for side in sides)
    bare(module, sides[0])
    bare(module, sides[1])
    for step in range(STEPS):
        slope(module, corrupted + (step + 0.5) / STEPS * (clean - corrupted))


class Sloped:
    """Values of both runs, and gradients at them, by hooks that retain them."""

    def __init__(self, module: nn.Module, shape: Shape) -> None:
        self.module: Any = twin(module)
        self.fused = "GPT" in shape.name
        self.norms = ("ln_1", "ln_2") if self.fused else ("input_layernorm", "post_attention_layernorm")
        self.shape, self.values = shape, Values()
        self.blocks: Any = list(self.module.get_submodule(shape.blocks).children())
        projections = ["attn.c_attn"] if self.fused else [f"self_attn.{letter}_proj" for letter in "qkv"]
        self.final: Any = self.module.get_submodule("transformer.ln_f" if self.fused else "model.norm")
        self.final.register_forward_pre_hook(self._input("end"))
        for layer, block in enumerate(self.blocks):
            block.register_forward_pre_hook(self._input(f"resid_pre.{layer}"))
            block.get_submodule(self.norms[1]).register_forward_pre_hook(self._input(f"resid_mid.{layer}"))
            block.get_submodule(shape.o).register_forward_pre_hook(self._input(f"z.{layer}"))
            block.get_submodule(shape.down).register_forward_pre_hook(self._input(f"neurons.{layer}"))
            block.get_submodule(shape.mlp).register_forward_hook(self._output(f"mlp_out.{layer}"))
            for number, path in enumerate(projections):
                block.get_submodule(path).register_forward_hook(self._output(f"read.{layer}.{number}"))

    def _keep(self, name: str, value: Tensor) -> None:
        self.values[name] = value
        if value.requires_grad:
            value.retain_grad()

    def _input(self, name: str) -> Callable[..., None]:
        return lambda _module, args: self._keep(name, args[0])

    def _output(self, name: str) -> Callable[..., None]:
        return lambda _module, _args, output: self._keep(name, output)

    def run(self, embedded: Tensor) -> Values:
        """Values of a run that has been differentiated."""
        self.values = {}
        leaf = embedded.detach().requires_grad_()
        difference(self.module(inputs_embeds=leaf, use_cache=False).logits).backward()
        found, self.values = self.values, {}  # modules that are called again write into another place
        return found

    def _embedded(self, sides: Pair) -> Pair:
        return tuple(self.module.get_input_embeddings()(side) for side in sides)  # type: ignore[return-value]

    def units(self, sides: Pair) -> tuple[Tensor, Tensor]:
        """Attribution patching: [layer, head] and [layer, neuron], summed over tokens."""
        given, own = (self.run(side) for side in self._embedded(sides))
        z, neurons = (
            torch.stack([((given[f"{name}.{n}"] - own[f"{name}.{n}"]) * own[f"{name}.{n}"].grad)[0].sum(0)
                         for n in range(N_LAYERS)])
            for name in ("z", "neurons")
        )  # fmt: skip
        return z.unflatten(-1, (N_HEADS, -1)).sum(-1).detach(), neurons.detach()

    def edges(self, sides: Pair, steps: int = 0) -> Tensor:
        """[sender, receiver] of EAP in the order of `fluoroscope.methods.graph`, with 0 steps at the corrupted run."""
        clean, corrupted = self._embedded(sides)
        added = self._written(self.run(clean), clean) - self._written(self.run(corrupted), corrupted)
        shares = [(step + 0.5) / steps for step in range(steps)] or [0.0]
        runs = [self.run(corrupted + share * (clean - corrupted)) for share in shares]
        slopes = torch.stack([self._read(values) for values in runs]).mean(0)
        return torch.einsum("spd,rpd->sr", added, slopes)

    @torch.no_grad()
    def _written(self, values: Values, embedded: Tensor) -> Tensor:
        """[sender, pos, d_model]: what each sender adds."""
        parts = [embedded[0], *([values["resid_pre.0"][0] - embedded[0]] if self.fused else [])]
        for layer, block in enumerate(self.blocks):
            weight = block.get_submodule(self.shape.o).weight
            by_head = (weight if self.fused else weight.T).unflatten(0, (N_HEADS, -1))
            z = values[f"z.{layer}"][0].unflatten(-1, (N_HEADS, -1))
            parts += [*torch.einsum("phd,hdm->hpm", z, by_head), values[f"mlp_out.{layer}"][0]]
        return torch.stack(parts)

    def _read(self, values: Values) -> Tensor:
        """[receiver, pos, d_model]: gradients with respect to what each alone reads, one product each."""
        found: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            stream = values[f"resid_pre.{layer}"].detach().requires_grad_()
            normed = block.get_submodule(self.norms[0])(stream)
            names = [name for name in values if name.startswith(f"read.{layer}.")]
            for name in names:
                path = "attn.c_attn" if self.fused else f"self_attn.{'qkv'[int(name[-1])]}_proj"
                made, gradient = block.get_submodule(path)(normed), values[name].grad
                for first in range(0, made.shape[-1], D_HEAD):
                    part = slice(first, first + D_HEAD)
                    slope = torch.autograd.grad(made[..., part], stream, gradient[..., part], retain_graph=True)[0]  # type: ignore[index]
                    found.append(slope[0])
            middle = values[f"resid_mid.{layer}"].detach().requires_grad_()
            made = block.get_submodule(self.shape.mlp)(block.get_submodule(self.norms[1])(middle))
            found.append(torch.autograd.grad(made, middle, values[f"mlp_out.{layer}"].grad)[0][0])
        return torch.stack([*found, values["end"].grad[0]])  # type: ignore[index]


def compare(who: str, found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Refuses an answer that is further off than `tolerance` of the spread of what is expected.

    Raises:
        SystemExit: with how far.
    """
    error = off(found, expected)
    if not error <= tolerance:
        raise SystemExit(f"{who} misses the reference by {error:.1e} of its spread")


def off(found: Tensor, expected: Tensor) -> float:
    """The largest error, as a share of the spread of what is expected."""
    return float((found.double() - expected.double()).abs().max() / (expected.max() - expected.min()).double())
