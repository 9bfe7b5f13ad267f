"""From a name, a folder or a module to a Model; nothing missing, unexpected or not finite is tolerated."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluoroscope import architectures, hooks
from fluoroscope.architectures import Architecture, Dims
from fluoroscope.errors import ArchitectureError, ArgumentError, LoadError
from fluoroscope.model import Model

_OFFLINE = (
    "Give the path of a local folder, or fetch it once where there is a network with 'hf download NAME' and set "
    "HF_HUB_OFFLINE=1."
)


def load(
    source: "str | os.PathLike[str] | nn.Module | None" = None,
    *,
    tokenizer: Any = None,
    device: "str | torch.device | None" = None,
    dtype: "str | torch.dtype | None" = None,
    revision: str | None = None,
    architecture: "Architecture | None" = None,
    dims: "Mapping[str, int] | Dims | None" = None,
    **hf_options: Any,
) -> Model:
    """Loads a causal LM and puts it under the X-ray.

    Args:
        source: a local folder, a hub id, or a module (Hugging Face, PEFT-wrapped or plain PyTorch), which is
            switched to eval mode. None names the embedded specimen.
        tokenizer: a tokenizer, or where to load it from; by default the one beside the weights, if any.
        device: where to put it; by default where the weights are (CPU for files).
        dtype: 'float32', torch.bfloat16, …; by default the checkpoint's own.
        revision: hub revision of weights and tokenizer.
        architecture: paths of a model that no architecture file describes.
        dims: sizes that the module's config does not tell.
        hf_options: passed to `AutoModelForCausalLM.from_pretrained`: `device_map`, `quantization_config`,
            `attn_implementation`, `trust_remote_code` (off unless given) and the like.

    Raises:
        LoadError: not found, pickled weights only, or a weight that is missing, unexpected or not finite.
        ArchitectureError: unknown family, or a path that leads nowhere.
    """
    if source is None:
        raise LoadError("no model was named, and no specimen is embedded in this version", "Name a folder or a hub id.")
    if isinstance(source, nn.Module):
        if hf_options or revision is not None:
            raise ArgumentError(
                f"{', '.join([*hf_options, *(['revision'] if revision else [])])} cannot be applied to a loaded module"
            )
        hf, name = _base(source), str(getattr(source, "name_or_path", "") or type(source).__name__)
        hf = hf.to(dtype=_dtype(dtype)) if dtype is not None else hf
    else:
        name = os.fspath(source)
        hf = _from_pretrained(name, _dtype(dtype), revision, hf_options)
        tokenizer = name if tokenizer is None else tokenizer
    if device is not None:
        hf = hf.to(device)
    hf.eval()
    _check_finite(hf, name)
    arch = architectures.find(hf.config) if architecture is None else architecture
    trust = bool(hf_options.get("trust_remote_code", False))
    found = _tokenizer(tokenizer, name, revision, trust)
    return Model(hf, found, name, arch, _dims(hf, arch, dims), _n_ctx(hf))


def _base(module: nn.Module) -> nn.Module:
    """The transformers module inside a PEFT wrapper, which holds the adapters in its own layers."""
    unwrap = getattr(module, "get_base_model", None)
    return unwrap() if callable(unwrap) and hasattr(module, "peft_config") else module


def _dtype(dtype: "str | torch.dtype | None") -> "torch.dtype | None":
    if not isinstance(dtype, str):
        return dtype
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype):
        raise ArgumentError(f"unknown dtype {dtype!r}", "Known: float32, bfloat16, float16, float64.")
    return found


def _from_pretrained(name: str, dtype: "torch.dtype | None", revision: str | None, options: dict[str, Any]) -> nn.Module:
    from transformers import AutoModelForCausalLM

    if Path(name).is_dir() and not any(Path(name).glob("*.safetensors")):
        raise LoadError(
            f"folder {name!r} holds no .safetensors weights",
            "Pickled checkpoints run code when opened and are not read; convert them with save_pretrained first.",
        )
    try:
        hf, info = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype or "auto", revision=revision or "main", use_safetensors=True, output_loading_info=True,
            **{"trust_remote_code": False, **options},
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        local = Path(name).exists()
        raise LoadError(
            f"cannot load {name!r}: {str(error).strip().splitlines()[0]}", "" if local else _OFFLINE
        ) from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            shown = ", ".join(sorted(map(str, info[kind]))[:5])
            raise LoadError(
                f"the checkpoint of {name!r} has {len(info[kind])} {kind.replace('_', ' ')}: {shown}",
                "Hugging Face would fill or drop them in silence; the file and the config do not belong together.",
            )
    return hf


def _check_finite(hf: nn.Module, name: str) -> None:
    for key, tensor in hf.named_parameters():
        if tensor.is_floating_point() and not tensor.is_meta and not bool(torch.isfinite(tensor).all()):
            raise LoadError(f"weight {key!r} of {name!r} holds values that are not finite", "The checkpoint is damaged.")


def _tokenizer(given: Any, name: str, revision: str | None, trust: bool) -> Any:
    if given is None or not isinstance(given, (str, os.PathLike)):
        return given
    from transformers import AutoTokenizer

    folder = Path(given)
    if folder.is_dir() and not any((folder / file).exists() for file in _TOKENIZER_FILES):
        return None
    try:
        return AutoTokenizer.from_pretrained(os.fspath(given), revision=revision or "main", trust_remote_code=trust)
    except (OSError, ValueError, KeyError) as error:
        raise LoadError(
            f"cannot load the tokenizer of {name!r}: {str(error).strip().splitlines()[0]}",
            "Pass tokenizer= with a tokenizer or its folder.",
        ) from error


_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "vocab.txt")


def _n_ctx(hf: nn.Module) -> int | None:
    value = getattr(getattr(hf, "config", None), "max_position_embeddings", None)
    return int(value) if value else None


def _dims(hf: nn.Module, arch: Architecture, given: "Mapping[str, int] | Dims | None") -> Dims:
    """Sizes from the modules where they show them, else from the config, else as given."""
    if isinstance(given, Dims):
        return given
    known = dict(given or {})
    unknown = known.keys() - Dims.__dataclass_fields__.keys()
    if unknown:
        raise ArgumentError(f"unknown dims {sorted(unknown)}", f"Known: {', '.join(Dims.__dataclass_fields__)}.")
    config = getattr(hf, "config", None)
    blocks = list(hooks.required(hf, arch.layers, "list of blocks").children())
    heads = known.get("n_heads") or getattr(config, "num_attention_heads", None)
    embedding = hooks.required(hf, arch.embed, "token embedding").weight
    head = hooks.required(hf, arch.lm_head, "unembedding")
    if heads is None:
        raise ArchitectureError("the module does not tell its number of heads", "Pass dims={'n_heads': …}.")
    d_model = int(embedding.shape[1])  # pyright: ignore[reportArgumentType, reportIndexIssue, reportOptionalSubscript]
    down = (hooks.submodule(block, arch.down) for block in blocks)
    widths = (_inputs(module) for module in down if module is not None)
    found = {
        "n_layers": len(blocks),
        "n_heads": int(heads),
        "n_kv_heads": _kv_heads(config, int(heads)),
        "d_model": d_model,
        "d_head": int(getattr(config, "head_dim", None) or d_model // int(heads)),
        "d_mlp": next((width for width in widths if width), 0),
        "d_vocab": int(getattr(head, "out_features", 0) or getattr(head, "weight").shape[0]),  # noqa: B009
    }
    return Dims(**{**found, **known})


def _inputs(module: nn.Module) -> int:
    """Input width of a Linear, a quantised Linear or a Conv1D (which stores its weight input-first)."""
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
