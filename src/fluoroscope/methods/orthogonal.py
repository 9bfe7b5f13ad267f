"""Weights from which a direction is taken out: the ablation of `projection.py` without any edit at run time.

Arditi et al. 2024, "Refusal in Language Models Is Mediated by a Single Direction": every matrix and bias that writes
into the residual stream loses its part along the direction. What is made is held against the edited run first, so that
a family in which weights alone cannot do it is refused.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.errors import ArtifactError, UnavailableError
from fluoroscope.methods import projection
from fluoroscope.methods.directions import Direction
from fluoroscope.modules import required
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.model import Model

Ground = Mapping[Site, Float[Tensor, "d_model"]]

_TOKENS, _CLOSE = 12, 1e-4


@torch.no_grad()
def orthogonalised(model: "Model", unit: Float[Tensor, "d_model"], ground: Ground | None = None) -> nn.Module:
    """A copy of the Hugging Face module that writes nothing along a direction; an unembedding tied to it is parted.

    Args:
        unit: of length 1.
        ground: what is to be left along it, as `projection.means` gives it; it goes into the biases.

    Raises:
        UnavailableError: a weight is no plain matrix (quantised, experts, an adapter), a norm stands behind
            what a block adds, there is no bias for the ground, or the copy does not do what the edited run does.
        ArgumentError: as `projection.ablated`.
    """
    edits = projection.ablated(model, unit, ground)
    arch = model.architecture
    if arch.attn_out is not None or arch.mlp_out is not None:
        raise UnavailableError(
            f"{model.name} has a norm behind what its blocks add, so weights cannot keep a direction out",
            "Take it out at run time: projection.ablated.",
        )
    for layer in range(model.n_layers):
        for kind in ("W_O", "W_out"):
            _ = model.weights[f"{kind}.{layer}"]  # raises with the reason where it is no plain matrix
    copied = _copy(model)
    for path, site in _writing(model):
        level = 0.0 if ground is None or site is None else float(ground[site] @ unit.to(ground[site]))
        _take(required(copied, path, "weight"), unit, level, path)
    _prove(model, copied, edits)
    return copied


def export(model: "Model", found: Direction, folder: str | Path, ground: Ground | None = None) -> Path:
    """Saves `orthogonalised` weights, the tokenizer and the direction as a new folder, which `load` reads.

    Raises:
        ArtifactError: the folder is there already, or cannot be written; nothing is left behind.
        UnavailableError, ArgumentError: as `orthogonalised`.
    """
    folder = fresh(folder)
    made: Any = orthogonalised(model, found.unit, ground)
    temporary = folder.parent / f".fluoroscope-{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        temporary.mkdir()
        made.save_pretrained(temporary)
        if model.tokenizer is not None:
            model.tokenizer.save_pretrained(temporary)
        found.save(temporary / "direction.safetensors")
        temporary.rename(folder)
    except OSError as error:
        raise ArtifactError(
            f"cannot write {str(folder)!r}: {error.strerror or error}", "Choose another place."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def fresh(folder: str | Path) -> Path:
    """A folder that `export` can make.

    Raises:
        ArtifactError: something of that name is there already.
    """
    if Path(folder).exists():
        raise ArtifactError(f"{str(folder)!r} exists already", "Name a new folder.")
    return Path(folder)


def _copy(model: "Model") -> nn.Module:
    """The same weights in a module of their own, without our hooks."""
    hf: Any = model.hf
    config = deepcopy(hf.config)
    config.tie_word_embeddings = False
    config._attn_implementation = model.attention
    with torch.random.fork_rng(devices=[]):
        made: Any = type(hf)(config).to(device=model.device, dtype=model.dtype)
    made.load_state_dict(hf.state_dict())
    if hf.generation_config is not None:
        made.generation_config = deepcopy(hf.generation_config)
    return made.eval()


def _writing(model: "Model") -> Iterator[tuple[str, Site | None]]:
    """Every module that writes into the stream, and the site that it writes alone or first."""
    arch = model.architecture
    yield arch.embed, Site("resid_pre", 0)
    if arch.pos_embed is not None:
        yield arch.pos_embed, None
    for layer in range(model.n_layers):
        yield f"{arch.layers}.{layer}.{arch.o}", Site("attn_out", layer)
        yield f"{arch.layers}.{layer}.{arch.down}", Site("mlp_out", layer)


def _take(module: nn.Module, unit: Tensor, level: float, path: str) -> None:
    """Sets what a module writes along a direction to a level."""
    weight: Any = module.weight
    bias: Any = getattr(module, "bias", None)
    axis = unit.to(weight.device, torch.float64)
    rows = (
        isinstance(module, nn.Embedding) or type(module).__name__ == "Conv1D"
    )  # [in, d_model]; Linear is [d_model, in]
    wide = weight.double() if rows else weight.double().T
    if wide.shape[-1] != len(axis):
        raise UnavailableError(
            f"{path} writes {wide.shape[-1]} values and the stream has {len(axis)}", "Use the edits."
        )
    wide = wide - (wide @ axis)[:, None] * axis
    if isinstance(module, nn.Embedding):
        wide = wide + level * axis
    elif bias is not None:
        bias.copy_(bias.double() + (level - bias.double() @ axis) * axis)
    elif level:
        raise UnavailableError(f"{path} has no bias to keep the mean in", "Take the direction out to zero: no ground.")
    weight.copy_(wide if rows else wide.T)


def _prove(model: "Model", made: nn.Module, edits: Any) -> None:
    """Refuses a copy whose logits are not those of the edited run."""
    drawn = torch.randint(model.n_input, (1, _TOKENS), generator=torch.Generator().manual_seed(0)).to(model.device)
    expected = model.trace(drawn, edits=edits).logits.double()
    logits: Tensor = made(input_ids=drawn, use_cache=False).logits.double()
    slack = _CLOSE * max(1.0, float(expected.abs().max()))
    if model.dtype.itemsize < 4:
        slack *= 500  # the weights themselves are rounded
    off = float((logits - expected).abs().max())
    if not off <= slack:
        raise UnavailableError(
            f"weights of {model.name} without the direction give logits {off:.3g} off those of the edited run",
            "Take it out at run time: projection.ablated.",
        )
