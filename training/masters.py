"""The weights that are really trained: float32, beside the bfloat16 copies with which the model computes."""

import hashlib
from concurrent.futures import Executor
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from training.recipe import Recipe

SHARES = 6


class Silence(nn.Module):
    """Stands where an MLP writes nothing."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.new_zeros(())


class Part(NamedTuple):
    """One trained tensor: the columns `columns` of a parameter of the model."""

    master: Tensor
    copy: nn.Parameter
    columns: slice


def silent_blocks(model: PreTrainedModel, count: int) -> list[Any]:
    """The last `count` blocks of a GPT-2, whose MLPs are set to zero and kept from training."""
    blocks: list[Any] = list(cast(Any, model).transformer.h)[-count:] if count else []
    for block in blocks:
        for parameter in (*block.mlp.parameters(), *block.ln_2.parameters()):
            parameter.requires_grad_(False)
        for parameter in block.mlp.parameters():
            parameter.data.zero_()
    return blocks


def _take_step(optimiser: torch.optim.Optimizer) -> None:
    optimiser.step()


class Masters:
    """Float32 masters of a bfloat16 model with their optimisers: Muon for matrices, AdamW for the rest."""

    def __init__(self, model: PreTrainedModel, recipe: Recipe) -> None:
        self.recipe = recipe
        self.table = cast(nn.Parameter, model.get_input_embeddings().weight)
        self.parts: dict[str, Part] = {}
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            # A fused projection of queries, keys and values is three matrices to Muon.
            pieces = 3 if name.endswith("c_attn.weight") else 1
            width = parameter.shape[-1] // pieces
            for piece in range(pieces):
                columns = slice(piece * width, (piece + 1) * width)
                master = parameter.detach()[..., columns].float().clone().requires_grad_(True)
                self.parts[f"{name}[{piece}]" if pieces > 1 else name] = Part(master, parameter, columns)
        self.embedding = next(part.master for part in self.parts.values() if part.copy is self.table)
        inner = {name: p.master.ndim == 2 and (".h." in name or ".layers." in name) for name, p in self.parts.items()}
        matrices = [part.master for name, part in self.parts.items() if inner[name]]
        others = [part.master for name, part in self.parts.items() if not inner[name]]
        # Several optimisers, so that several threads can step.
        self.muons = [
            torch.optim.Muon(share, lr=recipe.muon_rate, momentum=0.95, weight_decay=recipe.decay)
            for share in (matrices[i::SHARES] for i in range(SHARES))
            if share
        ]
        self.adam = torch.optim.AdamW(others, lr=recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        model.to(dtype=torch.bfloat16)  # pyright: ignore[reportCallIssue]
        self.table.requires_grad_(False)

    def leaves(self) -> list[Tensor]:
        """The tensors whose gradients a step needs: the copies, and the embedding itself."""
        copies = {id(part.copy): part.copy for part in self.parts.values() if part.copy is not self.table}
        return [*copies.values(), self.embedding]

    def step(self, gradients: list[tuple[Tensor, ...]], rate: float, pool: Executor) -> float:
        """Add up gradients of `leaves()`, step by `rate` of the full rates, renew the copies; the gradient's norm."""
        column = {id(leaf): i for i, leaf in enumerate(self.leaves())}

        def add_up(part: Part) -> None:
            place = column[id(self.embedding if part.copy is self.table else part.copy)]
            # Always in the same order: who computed what must not show.
            total = gradients[0][place][..., part.columns].float()
            for other in gradients[1:]:
                total += other[place][..., part.columns]
            part.master.grad = total

        list(pool.map(add_up, self.parts.values()))
        norm = nn.utils.clip_grad_norm_([part.master for part in self.parts.values()], self.recipe.clip)
        for optimiser, full in (
            *((muon, self.recipe.muon_rate) for muon in self.muons),
            (self.adam, self.recipe.adam_rate),
        ):
            optimiser.param_groups[0]["lr"] = full * rate
        list(pool.map(_take_step, (*self.muons, self.adam)))
        self.write()
        return float(norm)

    @torch.no_grad()
    def write(self, model: PreTrainedModel | None = None) -> None:
        """Copy the masters into the model they were made from, or into another of the same shape."""
        copies = dict(model.named_parameters()) if model else None
        for name, part in self.parts.items():
            copy = copies[name.partition("[")[0]] if copies else part.copy
            copy[..., part.columns] = part.master

    def state(self) -> dict[str, Any]:
        """All that a continuation needs."""
        weights = {name: part.master.detach() for name, part in self.parts.items()}
        return {"weights": weights, "muons": [muon.state_dict() for muon in self.muons], "adam": self.adam.state_dict()}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        for name, part in self.parts.items():
            part.master.copy_(state["weights"][name])
        for muon, its in zip(self.muons, state["muons"], strict=True):
            muon.load_state_dict(its)
        self.adam.load_state_dict(state["adam"])
        self.write()

    def digest(self) -> str:
        """A hash of all weights, bit by bit."""
        digest = hashlib.sha256()
        for name in sorted(self.parts):
            digest.update(name.encode() + self.parts[name].master.detach().numpy().tobytes())
        return digest.hexdigest()
