"""Where each site is read and written in Hugging Face's own modules.

A hook that finds no run of its model, or none that looks into its layer, returns at once and changes nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fluoroscope import shares
from fluoroscope.architectures import Architecture, Dims
from fluoroscope.fused import fuse, unfuse
from fluoroscope.modules import required, submodule
from fluoroscope.own_attention import Watched
from fluoroscope.progress import heard, report
from fluoroscope.run import IN_ATTENTION, RUN, Part, Run, outside
from fluoroscope.weights import Weights


class Hooked(Protocol):
    """What the hooks need to know of a model."""

    hf: nn.Module
    architecture: Architecture
    dims: Dims
    blocks: list[nn.Module]
    weights: Weights

    @property
    def attends(self) -> bool: ...


def whole(model: Hooked) -> list[RemovableHandle]:
    """Hooks the model as a whole; removing the returned handles takes all of them away, here and below."""
    entry = model.hf.register_forward_pre_hook(_entry(model), with_kwargs=True)
    return [entry, *_after(model, model.hf, "logits", None)]


def ends(model: Hooked) -> dict[str, nn.Module]:
    """What lies before and behind the blocks, by its site."""
    arch, found = model.architecture, dict[str, nn.Module]()
    if arch.final_norm is not None:
        found["final_norm"] = required(model.hf, arch.final_norm, "final norm")
    if arch.pos_embed is not None:
        found["embed"] = required(model.hf, arch.embed, "token embedding")
        found["pos_embed"] = required(model.hf, arch.pos_embed, "position embedding")
    return found


def part(model: Hooked, which: Part) -> list[RemovableHandle]:
    """Hooks every site of a part."""
    layer, where = which
    if layer is None:
        return [handle for name, module in ends(model).items() for handle in _after(model, module, name, None)]
    arch, block = model.architecture, model.blocks[layer]
    if where == "resid_pre":
        return [block.register_forward_pre_hook(_block_input(model, layer), with_kwargs=True)]
    if where == "resid_post":
        return _after(model, block, "resid_post", layer)
    handles = _projections(model, block, layer)
    handles += _own_attention(model, submodule(block, arch.attn), layer)
    mixing = submodule(block, arch.attn_out or arch.attn) or submodule(block, arch.mixer)
    handles += _after(model, mixing, "attn_out", layer, _attn_out)
    handles += _after(model, submodule(block, arch.mlp_out or arch.mlp), "mlp_out", layer, _mlp_out)
    handles += _before(model, submodule(block, arch.o), "z", layer)
    handles += _hidden(model, block, layer)
    handles += _before(model, submodule(block, arch.down), "neurons", layer)
    handles += _after(model, submodule(block, arch.experts), "experts_out", layer)
    handles += _after(model, submodule(block, arch.shared), "shared_out", layer)
    router = submodule(block, arch.router)
    if router is not None:
        handles.append(router.register_forward_hook(_router(model, layer)))
    return handles


def _current(model: Hooked) -> Run | None:
    run = RUN.get()
    while run is not None and run.owner is not model:
        run = run.outer
    return run


def _looking(model: Hooked, layer: int | None) -> Run | None:
    """The current run, if it keeps or edits anything of a layer: most layers of most runs are left at once."""
    run = _current(model)
    return run if run is not None and layer in run.layers else None


def _entry(model: Hooked) -> Callable[..., Any]:
    """Tells the run how many rows and positions this pass has."""

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        run = _current(model)
        if run is not None:
            named = (kwargs.get(name) for name in ("input_ids", "inputs_embeds"))
            given = next(value for value in (*args, *named, *kwargs.values()) if isinstance(value, Tensor))
            run.shape = (given.shape[0], given.shape[1])

    return hook


def _block_input(model: Hooked, layer: int) -> Callable[..., Any]:
    has_positions = model.architecture.pos_embed is not None
    entrance = [None] if layer == 0 and not has_positions else []

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run = _current(model)
        if run is None:
            return None
        if heard():
            with outside():
                report("forward", layer, model.dims.n_layers)
        if not ({layer, *entrance} & run.layers) and run.calls is None and run.join is None:
            return None
        value = hidden = args[0] if args else kwargs["hidden_states"]
        call = args[1:], {name: given for name, given in kwargs.items() if name != "hidden_states"}
        if run.calls is not None:
            run.calls[layer] = call
        if entrance:
            hidden = run.visit("embed", None, hidden)
        hidden = run.visit("resid_pre", layer, hidden)
        if run.join is not None:
            hidden, call = run.join(layer, hidden, call)
        elif hidden is value:
            return None
        rest, named = call
        return ((hidden, *rest), named) if args else (rest, {**named, "hidden_states": hidden})

    return hook


def _projections(model: Hooked, block: nn.Module, layer: int) -> list[RemovableHandle]:
    """Hooks q_proj, k_proj and v_proj: the output of a projection of each, or of one of them all."""
    arch, dims = model.architecture, model.dims
    counts = {"q_proj": dims.n_heads, "k_proj": dims.n_kv_heads, "v_proj": dims.n_kv_heads}

    def alone(name: str) -> Visit:
        def visit(_model: Hooked, run: Run, layer: int | None, value: Tensor) -> Tensor:
            if (name, layer) not in run.touched:
                return value
            heads = value.unflatten(-1, (counts[name], -1)).transpose(1, 2)
            return run.visit(name, layer, heads).transpose(1, 2).flatten(-2)

        return visit

    def together(_model: Hooked, run: Run, layer: int | None, value: Tensor) -> Tensor:
        if not run.touches(counts, layer):
            return value
        rows = value.movedim(-1, 0)
        parts = [unfuse(rows, part, arch.qkv_layout, dims.n_heads, dims.n_kv_heads) for part in "QKV"]
        heads = [part.permute(2, 0, 3, 1) for part in parts]
        # Each kept view must lie on the path of the gradient, so the pass goes on with all of them, edited or not.
        seen = [run.visit(name, layer, part) for name, part in zip(counts, heads, strict=True)]
        q, k, v = (part.permute(1, 3, 0, 2) for part in seen)
        return fuse(q, k, v, arch.qkv_layout).movedim(0, -1).contiguous()

    if arch.qkv is not None:
        return _after(model, submodule(block, arch.qkv), "qkv", layer, together)
    paths = zip(counts, (arch.q, arch.k, arch.v), strict=True)
    return [
        handle for name, path in paths for handle in _after(model, submodule(block, path), name, layer, alone(name))
    ]


def _hidden(model: Hooked, block: nn.Module, layer: int) -> list[RemovableHandle]:
    """Hooks gate_proj and up_proj: the output of a projection of each, or of one of both, the gate first."""
    arch = model.architecture
    names = ("gate_proj", "up_proj")

    def together(_model: Hooked, run: Run, layer: int | None, value: Tensor) -> Tensor:
        if not run.touches(names, layer):
            return value
        parts = zip(names, value.chunk(2, -1), strict=True)
        return torch.cat([run.visit(name, layer, part) for name, part in parts], -1)

    if arch.gate_up is not None:
        return _after(model, submodule(block, arch.gate_up), "gate_up", layer, together)
    paths = zip(names, (arch.gate, arch.up), strict=True)
    return [handle for name, path in paths for handle in _after(model, submodule(block, path), name, layer)]


def _own_attention(model: Hooked, module: nn.Module | None, layer: int) -> list[RemovableHandle]:
    """Watches an attention module from its entry to its end, on families that do not call ours."""
    if module is None or model.attends:
        return []

    def enter(_module: nn.Module, _args: tuple[Any, ...]) -> None:
        run = _current(model)
        if run is not None and (run.attend is not None or run.touches(IN_ATTENTION, layer)):
            run.inside.enter_context(Watched(run, layer, model.dims))

    def leave(_module: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
        run = _current(model)
        if run is not None:
            run.inside.close()

    return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]


Visit = Callable[[Hooked, Run, int | None, Tensor], Tensor]


def _after(
    model: Hooked, module: nn.Module | None, name: str, layer: int | None, visit: Visit | None = None
) -> list[RemovableHandle]:
    """Hooks the output of a module; `visit` says how the site's value is made from it."""
    if module is None:
        return []
    copied = name in model.architecture.in_place

    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        run = _looking(model, layer)
        if run is None:
            return None
        run.fired.add((name, layer))
        if visit is None and (name, layer) not in run.touched:
            return None
        raw = _tensor(output)
        shaped = _shaped(raw, run)
        value = shaped.clone() if copied and (name, layer) in run.touched else shaped
        new = visit(model, run, layer, value) if visit else run.visit(name, layer, value)
        if value is not shaped:  # the block will overwrite what it gets, so it gets a copy of what is kept
            new = new.clone()
        return None if new is raw else _put(output, new.reshape(raw.shape) if new.numel() == raw.numel() else new)

    return [module.register_forward_hook(hook)]


def _before(model: Hooked, module: nn.Module | None, name: str, layer: int) -> list[RemovableHandle]:
    """Hooks the input of a projection: z (split into heads) and neurons."""
    if module is None:
        return []
    heads = model.dims.n_heads

    def hook(_module: nn.Module, args: tuple[Any, ...]) -> Any:
        run = _looking(model, layer)
        if run is None or not args:
            return None
        run.fired.add((name, layer))
        if (name, layer) not in run.touched:
            return None
        raw: Tensor = args[0]
        value = _shaped(raw, run)
        value = value.unflatten(-1, (heads, -1)) if name == "z" else value
        # The kept view must lie on the path of the gradient, so the pass goes on with it even if unedited.
        return (run.visit(name, layer, value).reshape(raw.shape), *args[1:])

    return [module.register_forward_pre_hook(hook)]


def _router(model: Hooked, layer: int) -> Callable[..., Any]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        run = _looking(model, layer)
        if run is None:
            return None
        logits, weights, choice = output
        run.visit("router", layer, _shaped(logits, run))
        run.visit("router_choice", layer, _shaped(choice, run))
        new = run.visit("router_weights", layer, _shaped(weights, run))
        return logits, new.reshape(weights.shape), choice

    return hook


def _mlp_out(model: Hooked, run: Run, layer: int | None, raw: Tensor) -> Tensor:
    """mlp_out: what is added, the module's output times the family's multiplier."""
    factor = model.architecture.residual_multiplier
    if ("mlp_out", layer) not in run.touched:
        return raw
    value = raw if factor == 1.0 else raw * factor
    return _unscaled(raw, value, run.visit("mlp_out", layer, value), factor)


def _attn_out(model: Hooked, run: Run, layer: int | None, raw: Tensor) -> Tensor:
    """attn_out, and with it what is derived: head_out (read) and resid_mid (read, and written through attn_out)."""
    run.fired |= {("attn_out", layer), ("resid_mid", layer)}
    if not run.touches(("attn_out", "resid_mid", "head_out"), layer):
        return raw
    factor = model.architecture.residual_multiplier
    if ("head_out", layer) in run.touched and ("z", layer) in run.scratch:  # a wrong path may never see z
        split, _ = shares.heads(model, layer or 0, run.scratch["z", layer])
        run.visit("head_out", layer, split.to(raw.dtype))
    value = raw if factor == 1.0 else raw * factor
    new = run.visit("attn_out", layer, value)
    if ("resid_mid", layer) in run.touched:
        before = run.scratch["resid_pre", layer]
        middle = before + new
        edited = run.visit("resid_mid", layer, middle)
        if edited is not middle:
            new = torch.where(edited == middle, new, edited - before)
    return _unscaled(raw, value, new, factor)


def _unscaled(raw: Tensor, value: Tensor, new: Tensor, factor: float) -> Tensor:
    """The module output that makes what is added `new`; untouched entries keep their bits."""
    if factor == 1.0:
        return new
    exact = raw if new is value else torch.where(new == value, raw, new / factor)
    # The kept value must lie on the path of the gradient: the same bits, reached through what is kept.
    return exact.detach() + (new - new.detach()) / factor if new.requires_grad else exact


def _shaped(value: Tensor, run: Run) -> Tensor:
    """Some families flatten batch and position inside the MLP: [batch * pos, d] -> [batch, pos, d]."""
    batch, length = run.shape
    if value.dim() == 2 and value.shape[0] == batch * length:
        return value.view(batch, length, -1)
    # A position embedding may be one row for the whole batch: [1, pos, d] in GPT-2, [pos, d] in nanoGPT.
    value = value[None] if value.dim() == 2 and value.shape[0] == length else value
    return value.expand(batch, -1, -1) if value.shape[0] == 1 < batch else value


def _tensor(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    return output["logits"] if isinstance(output, dict) else output[0]


def _put(output: Any, new: Tensor) -> Any:
    if isinstance(output, Tensor):
        return new
    if isinstance(output, dict):
        output["logits"] = new
        return output
    rest: Iterable[Any] = output[1:]
    return (new, *rest)
