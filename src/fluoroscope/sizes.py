"""How large a model is: from its modules where they show it, else from its config, else as the user says."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fluoroscope.architectures import Architecture, Dims
from fluoroscope.errors import ArchitectureError, ArgumentError
from fluoroscope.modules import required, submodule

_CORRECT = "Correct its path in architecture=, or the size in dims=."


def n_ctx(hf: nn.Module, arch: Architecture) -> int | None:
    """Positions that the model has: its config's, else the rows of its learned position embedding, else no limit."""
    value = getattr(getattr(hf, "config", None), "max_position_embeddings", None)
    if not value and arch.pos_embed is not None:
        module = required(hf, arch.pos_embed, "position embedding")
        value = getattr(module, "num_embeddings", 0) - int(getattr(module, "offset", 0))
    return int(value) if value and value > 0 else None


def dims(hf: nn.Module, arch: Architecture, given: "Mapping[str, int] | Dims | None") -> Dims:
    """Sizes from the modules where they show them, else from the config, else as given.

    Raises:
        ArchitectureError: a size that nothing tells, or modules whose shapes contradict each other.
    """
    known = dict(vars(given) if isinstance(given, Dims) else given or {})
    unknown = known.keys() - Dims.__dataclass_fields__.keys()
    if unknown:
        raise ArgumentError(f"unknown dims {sorted(unknown)}", f"Known: {', '.join(Dims.__dataclass_fields__)}.")
    config = getattr(hf, "config", None)
    blocks = _blocks(hf, arch)
    heads = known.get("n_heads") or getattr(config, "num_attention_heads", None)
    if heads is None:
        raise ArchitectureError("the module does not tell its number of heads", "Pass dims={'n_heads': …}.")
    d_model = known.get("d_model") or getattr(config, "hidden_size", None) or _table(hf, arch)[1]
    found = {
        "n_layers": len(blocks),
        "n_heads": int(heads),
        "n_kv_heads": _kv_heads(config, int(heads)),
        "d_model": int(d_model),
        "d_head": _d_head(blocks, arch, int(heads)) or int(getattr(config, "head_dim", None) or d_model // int(heads)),
        "d_mlp": next((width for block in blocks if (width := _inputs(submodule(block, arch.down)))), 0),
        "d_vocab": _d_vocab(hf, arch),
    }
    sized = Dims(**{**found, **known})
    _check_shapes(hf, arch, sized, len(blocks))
    return sized


def _blocks(hf: nn.Module, arch: Architecture) -> list[nn.Module]:
    """The blocks, in order.

    Raises:
        ArchitectureError: the module there is no list.
    """
    named = dict(required(hf, arch.layers, "list of blocks").named_children())
    if not named or list(named) != [str(layer) for layer in range(len(named))]:
        held = ", ".join(list(named)[:4]) or "nothing"
        raise ArchitectureError(f"module {arch.layers!r} is no list of blocks: it holds {held}", _CORRECT)
    return list(named.values())


def _d_vocab(hf: nn.Module, arch: Architecture) -> int:
    head = required(hf, arch.lm_head, "unembedding")
    weight, width = getattr(head, "weight", None), getattr(head, "out_features", None)
    if width is None and isinstance(weight, Tensor) and weight.dim() == 2:
        width = weight.shape[0]
    if width is None:
        raise ArchitectureError(f"module {arch.lm_head!r} is no unembedding: it has no matrix", _CORRECT)
    return int(width)


def _table(hf: nn.Module, arch: Architecture) -> tuple[int, int]:
    """Rows and width of the token embedding.

    Raises:
        ArchitectureError: the module there is no table.
    """
    module = required(hf, arch.embed, "token embedding")
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        raise ArchitectureError(f"module {arch.embed!r} is no table of token embeddings", _CORRECT)
    rows, width = getattr(module, "num_embeddings", weight.shape[0]), getattr(module, "embedding_dim", weight.shape[1])
    return int(rows), int(width)


def _d_head(blocks: list[nn.Module], arch: Architecture, heads: int) -> int:
    """Width of a head's z, from the first projection that reads it; 0 where no block has one."""
    width = next((width for block in blocks if (width := _inputs(submodule(block, arch.o)))), 0)
    if width % heads:
        raise ArchitectureError(f"{arch.o!r} reads {width} features, which {heads} heads do not share evenly", _CORRECT)
    return width // heads


def _check_shapes(hf: nn.Module, arch: Architecture, sized: Dims, n_blocks: int) -> None:
    """Refuses a path whose module cannot be what it is said to be, and sizes that the modules contradict."""
    head, norm = submodule(hf, arch.lm_head), submodule(hf, arch.final_norm)
    _, width = _table(hf, arch)
    narrow = "embed" in arch.unavailable  # a projection lies between embedding and residual stream
    read = _inputs(head) or sized.d_model
    gain = getattr(norm, "weight", None)
    wrong = [
        (sized.n_layers != n_blocks, arch.layers, f"holds {n_blocks} blocks, not {sized.n_layers}"),
        (
            sized.n_heads % sized.n_kv_heads != 0,
            arch.attn,
            f"cannot have {sized.n_kv_heads} kv heads for {sized.n_heads}",
        ),
        (width != sized.d_model and not narrow, arch.embed, f"embeds in {width} dimensions, not {sized.d_model}"),
        (read not in (sized.d_model, width), arch.lm_head, f"reads {read} features, not {sized.d_model}"),
        (
            isinstance(gain, Tensor) and tuple(gain.shape) != (sized.d_model,),
            str(arch.final_norm),
            f"has a weight of shape {list(gain.shape) if isinstance(gain, Tensor) else None}, not [{sized.d_model}]",
        ),
    ]
    for is_wrong, path, why in wrong:
        if is_wrong:
            raise ArchitectureError(f"module {path!r} {why}", _CORRECT)


def _inputs(module: nn.Module | None) -> int:
    """Input width of a Linear, a quantised Linear or a Conv1D (which stores its weight input-first); 0 if unknown."""
    width = getattr(module, "in_features", None)
    return int(width if width is not None else getattr(module, "nx", 0))


def _kv_heads(config: Any, n_heads: int) -> int:
    if getattr(config, "multi_query", False) and not getattr(config, "new_decoder_architecture", False):
        return 1
    for name in ("num_key_value_heads", "num_kv_heads"):
        value = getattr(config, name, None)
        if value:
            return int(value)
    return n_heads
