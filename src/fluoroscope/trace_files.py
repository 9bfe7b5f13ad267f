"""Traces as files. The suffix chooses the format; every format but .json gives the same trace back.

`write` and `read` do the same for any named tensors with what is known about them.
"""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fluoroscope import artifact
from fluoroscope.errors import ArtifactError, FluoroscopeError
from fluoroscope.result import Recipe, number
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.trace import Trace

_SUFFIXES = ".safetensors, .npz, .pt, .json or .pkl"
_KIND = "trace"


def save(trace: "Trace", path: Path, *, allow_pickle: bool) -> Path:
    """Writes `trace` in the format of the suffix; .pkl needs `allow_pickle`.

    Raises:
        ArtifactError: no such format, or values that are not finite (scores may be minus infinity).
    """
    if path.suffix == ".json":
        return artifact.write_json(path, _summary(trace))
    return write(path, _tensors(trace), _meta(trace), allow_pickle=allow_pickle)


def write(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any], *, allow_pickle: bool = False) -> Path:
    """Writes tensors, each of its own memory, and what JSON can say of them, in the format of the suffix.

    Raises:
        ArtifactError: no such format, or a pickle without `allow_pickle`.
    """
    match path.suffix:
        case ".safetensors":
            return artifact.write_tensors(path, tensors, meta, allow_nonfinite=True)
        case ".npz":
            arrays: dict[str, Any] = {name: _numpy(tensor, name) for name, tensor in tensors.items()}
            return artifact.write(path, _bytes(lambda file: np.savez(file, meta=json.dumps(meta), **arrays)))
        case ".pt":
            return artifact.write(path, _bytes(lambda file: torch.save({"meta": meta, "tensors": tensors}, file)))
        case ".pkl" if allow_pickle:
            import pickle

            return artifact.write(path, pickle.dumps({"meta": meta, "tensors": tensors}))
        case ".pkl":
            raise _refused(path)
        case _:
            raise ArtifactError(f"cannot save a trace as {path.suffix!r}", f"Use {_SUFFIXES}.")


def load(path: Path, *, tokenizer: Any, allow_pickle: bool) -> "Trace":
    """Reads what `save` wrote; .pkl needs `allow_pickle`, .json holds no tensors to give back."""
    if path.suffix == ".json":
        raise ArtifactError(f"{path} holds statistics, no tensors", "Save as .safetensors to get the trace back.")
    held = read(path, allow_pickle=allow_pickle)
    try:
        return _trace(*held, tokenizer)
    except ArtifactError:
        raise
    except (FluoroscopeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} holds no trace: {type(error).__name__}: {error}") from error


def read(path: Path, *, allow_pickle: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the meta that `write` wrote.

    Raises:
        ArtifactError: no such format, damaged, foreign, or a pickle without `allow_pickle`.
    """
    match path.suffix:
        case ".safetensors":
            reader = artifact.read_tensors
        case ".npz":
            reader = _read_npz
        case ".pt":
            reader = _read_pt
        case ".pkl" if allow_pickle:
            reader = _read_pickle
        case ".pkl":
            raise _refused(path)
        case _:
            raise ArtifactError(f"cannot load a trace from {path.suffix!r}", f"Use {_SUFFIXES}.")
    try:
        return reader(path)
    except ArtifactError:
        raise
    except (FluoroscopeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{path} holds no trace: {type(error).__name__}: {error}") from error


def _refused(path: Path) -> ArtifactError:
    return ArtifactError(f"{path} is a pickle, which runs code when it is opened", "Pass allow_pickle=True.")


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────


def _meta(trace: "Trace") -> dict[str, Any]:
    return {"kind": _KIND, "recipe": trace.recipe.model_dump(mode="json"), "pad": trace.tokens.pad}


def _tensors(trace: "Trace") -> dict[str, Tensor]:
    values = {str(site): value.detach() for site, value in sorted(trace.values.items())}
    for name, value in values.items():
        masked = value.isneginf() if name.startswith("scores") else torch.zeros((), dtype=torch.bool)
        if not (value.isfinite() | masked.to(value.device)).all():
            raise ArtifactError(f"{name} holds numbers that are not finite", "Look where they come from first.")
    # Each tensor as its own bytes: a view would drag the whole of what it is a view of into the file.
    held = {**values, "ids": trace.tokens.ids, "mask": trace.tokens.mask}
    return {name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in held.items()}


def _summary(trace: "Trace") -> dict[str, Any]:
    """Recipe, texts, shapes and statistics."""

    def plain(statistics: dict[str, Any]) -> dict[str, Any]:
        return {name: number(value) if isinstance(value, float) else value for name, value in statistics.items()}

    return {
        **_meta(trace),
        "pieces": trace.tokens.pieces,
        "statistics": {str(site): plain(trace.statistics(site)) for site in sorted(trace.values)},
    }


def _numpy(tensor: Tensor, name: str) -> "np.ndarray[Any, Any]":
    if tensor.dtype == torch.bfloat16:
        raise ArtifactError(f"{name} is bfloat16, which numpy does not have", "Save as .safetensors, or convert first.")
    return tensor.numpy()


def _bytes(write: Callable[[Any], object]) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    write(buffer)
    return buffer.getvalue()


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────

_Held = tuple[dict[str, Tensor], dict[str, Any]]


def _read_npz(path: Path) -> _Held:
    artifact.refuse_pickle(path)
    _check_archive(path)
    with np.load(path, allow_pickle=False) as file:
        tensors = {name: torch.from_numpy(file[name]) for name in file.files if name != "meta"}
        return tensors, json.loads(str(file["meta"]))


def _read_pt(path: Path) -> _Held:
    _check_archive(path)
    try:
        held = torch.load(path, weights_only=True)
    except Exception as error:  # whatever its unpickler finds; its own words say how to run it all the same
        raise ArtifactError(
            f"{path} holds more than tensors and plain values, which would run code when it is opened",
            "Ask whoever made it for safetensors.",
        ) from error
    return held["tensors"], held["meta"]


def _read_pickle(path: Path) -> _Held:
    import pickle

    try:
        held = pickle.loads(path.read_bytes())  # noqa: S301
    except Exception as error:  # unpickling may raise anything
        raise ArtifactError(f"{path} is damaged: {error}", "Copy or make it again.") from error
    return held["tensors"], held["meta"]


def _check_archive(path: Path) -> None:
    """Both zip formats store members as they are, each with a checksum; a compressed one may be a bomb."""
    if not path.is_file():
        raise ArtifactError(f"there is no file {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            if packed or sum(member.file_size for member in members) > path.stat().st_size:
                raise ArtifactError(f"{path} is compressed, which no trace of ours is")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArtifactError(f"{path} is damaged: {error}", "Copy or make it again.") from error
    if damaged is not None:
        raise ArtifactError(f"{path} is damaged: the checksum of {damaged} does not match", "Copy or make it again.")


def _trace(tensors: dict[str, Tensor], meta: dict[str, Any], tokenizer: Any) -> "Trace":
    from fluoroscope.trace import Trace

    if meta["kind"] != _KIND:
        raise ArtifactError(f"the file holds {meta['kind']!r}, no trace")
    values = dict(tensors)
    tokens = Tokens(ids=values.pop("ids"), mask=values.pop("mask"), pad=meta["pad"], tokenizer=tokenizer)
    return Trace(tokens, {Site.parse(name): v for name, v in values.items()}, Recipe(**meta["recipe"]))
