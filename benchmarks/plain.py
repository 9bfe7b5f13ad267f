"""Plain Hugging Face: the bare forward, its own flags, and plain PyTorch hooks, which are the reference for values."""

from collections.abc import Callable
from typing import Any

import torch
from shapes import N_HEADS, Shape
from torch import Tensor, nn

KINDS = ("resid_pre", "resid_post", "attn_out", "mlp_out", "z")
"""What "all sites" means in these tables, on every layer."""

Values = dict[str, Tensor]


def bare(module: Any, ids: Tensor) -> Tensor:
    """The unit of the ratios: the logits of one forward, without gradient and without cache."""
    with torch.no_grad():
        return module(input_ids=ids, use_cache=False).logits


def attentions(module: Any, ids: Tensor) -> Values:
    """Logits and the patterns of all layers by Hugging Face's own flag; the module must run eager attention."""
    with torch.no_grad():
        output = module(input_ids=ids, use_cache=False, output_attentions=True)
    return {"logits": output.logits, **{f"pattern.{layer}": each for layer, each in enumerate(output.attentions)}}


class PlainHooks:
    """Hooks installed once that keep the inputs and outputs of every block, attention, MLP and the input of W_O."""

    def __init__(self, module: nn.Module, shape: Shape) -> None:
        self.module: Any = module
        self.blocks = shape.blocks
        self.values: Values = {}
        for layer, block in enumerate(module.get_submodule(shape.blocks).children()):
            block.register_forward_pre_hook(self._input(f"resid_pre.{layer}"))
            block.register_forward_hook(self._output(f"resid_post.{layer}"))
            block.get_submodule(shape.attn).register_forward_hook(self._output(f"attn_out.{layer}"))
            block.get_submodule(shape.mlp).register_forward_hook(self._output(f"mlp_out.{layer}"))
            block.get_submodule(shape.o).register_forward_pre_hook(self._input(f"z.{layer}", heads=N_HEADS))

    def _input(self, name: str, heads: int = 0) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            self.values[name] = args[0].unflatten(-1, (heads, -1)) if heads else args[0]

        return hook

    def _output(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            self.values[name] = output if isinstance(output, Tensor) else output[0]

        return hook

    def __call__(self, ids: Tensor) -> Values:
        """Logits and captured values of one forward."""
        self.values = {}
        return {"logits": bare(self.module, ids), **self.values}


class Captured:
    """The last residual and the neurons of one block by two hooks, as `scan.Read` asks for them."""

    def __init__(self, module: nn.Module, shape: Shape, layer: int) -> None:
        self.module: Any = module
        self.values: Values = {}
        block = module.get_submodule(f"{shape.blocks}.{layer}")
        block.register_forward_hook(self._keep)
        block.get_submodule(shape.down).register_forward_pre_hook(self._keep_input)

    def _keep(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        self.values["residual"] = output if isinstance(output, Tensor) else output[0]

    def _keep_input(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        self.values["neurons"] = args[0]

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        bare(self.module, ids)
        return self.values["residual"][:, -1], self.values["neurons"]


def check(who: str, found: Values, expected: Values, tolerance: float = 0.0) -> None:
    """Refuses a contestant whose values are absent, of another shape, or further off than `tolerance` of the largest.

    Raises:
        SystemExit: with the names of the first few.
    """
    wrong = [name for name, value in expected.items() if not _same(found.get(name), value, tolerance)]
    if wrong:
        raise SystemExit(f"{who} does not give the reference's values at {', '.join(wrong[:6])} ({len(wrong)} in all)")


def _same(found: Tensor | None, expected: Tensor, tolerance: float) -> bool:
    if found is None or found.shape != expected.shape:
        return False
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
