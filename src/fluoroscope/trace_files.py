"""Traces as files. The suffix chooses the format; every format but .json gives the same trace back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fluoroscope import artifact
from fluoroscope.errors import ArtifactError
from fluoroscope.result import Recipe
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.trace import Trace

_SUFFIXES = ".safetensors, .npz, .pt, .json or .pkl"


def save(trace: "Trace", path: Path, *, allow_pickle: bool) -> Path:
    """Writes `trace` in the format of the suffix; .pkl needs `allow_pickle`."""
    tensors = _tensors(trace)
    meta = {"recipe": trace.recipe.model_dump(mode="json"), "pad": trace.tokens.pad}
    match path.suffix:
        case ".safetensors":
            return artifact.write_tensors(path, tensors, meta)
        case ".npz":
            arrays = {name: _numpy(tensor, name) for name, tensor in tensors.items()}
            return artifact.write(path, _bytes(lambda file: np.savez(file, meta=json.dumps(meta), **arrays)))
        case ".pt":
            return artifact.write(path, _bytes(lambda file: torch.save({"meta": meta, "tensors": tensors}, file)))
        case ".json":
            sites = {str(site): trace.statistics(site) for site in trace.sites}
            return artifact.write_json(path, {**meta, "statistics": sites})
        case ".pkl" if allow_pickle:
            import pickle  # noqa: S403

            return artifact.write(path, pickle.dumps({"meta": meta, "tensors": tensors}))
        case ".pkl":
            raise ArtifactError(f"{path} is a pickle, which runs code when it is opened", "Pass allow_pickle=True.")
        case _:
            raise ArtifactError(f"cannot save a trace as {path.suffix or 'a file without suffix'!r}", f"Use {_SUFFIXES}.")


def load(path: Path, *, allow_pickle: bool) -> "Trace":
    """Reads what `save` wrote; .pkl needs `allow_pickle`, .json holds no tensors to give back."""
    match path.suffix:
        case ".safetensors":
            tensors, meta = artifact.read_tensors(path)
        case ".npz":
            artifact.refuse_pickle(path)
            with np.load(path, allow_pickle=False) as file:
                meta = json.loads(str(file["meta"]))
                tensors = {name: torch.from_numpy(file[name]) for name in file.files if name != "meta"}
        case ".pt":
            held = torch.load(path, weights_only=True)
            tensors, meta = held["tensors"], held["meta"]
        case ".pkl" if allow_pickle:
            import pickle  # noqa: S403

            held = pickle.loads(path.read_bytes())  # noqa: S301
            tensors, meta = held["tensors"], held["meta"]
        case ".pkl":
            raise ArtifactError(f"{path} is a pickle, which runs code when it is opened", "Pass allow_pickle=True.")
        case ".json":
            raise ArtifactError(f"{path} holds statistics, no tensors", "Save as .safetensors to get the trace back.")
        case _:
            raise ArtifactError(f"cannot load a trace from {path.suffix!r}", f"Use {_SUFFIXES}.")
    return _trace(tensors, meta)


def _tensors(trace: "Trace") -> dict[str, Tensor]:
    values = {str(site): value.detach() for site, value in trace.values.items()}
    return {**values, "logits": trace.logits.detach(), "ids": trace.tokens.ids, "mask": trace.tokens.mask}


def _trace(tensors: dict[str, Tensor], meta: dict[str, Any]) -> "Trace":
    from fluoroscope.trace import Trace

    values = dict(tensors)
    try:
        tokens = Tokens(ids=values.pop("ids"), mask=values.pop("mask"), pad=meta["pad"])
        logits = values.pop("logits")
        return Trace(tokens, {Site.parse(name): v for name, v in values.items()}, logits, Recipe(**meta["recipe"]))
    except KeyError as error:
        raise ArtifactError(f"the file holds no trace: {error} is missing") from error


def _numpy(tensor: Tensor, name: str) -> "np.ndarray[Any, Any]":
    if tensor.dtype == torch.bfloat16:
        raise ArtifactError(f"{name} is bfloat16, which numpy does not have", "Save as .safetensors, or convert first.")
    return tensor.cpu().numpy()


def _bytes(write: Callable[[Any], object]) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    write(buffer)
    return buffer.getvalue()
