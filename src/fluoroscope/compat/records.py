"""What one forward pass over one prompt left behind, and files of one such record or several, without pickle."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fluoroscope import artifact, trace_files
from fluoroscope.errors import ArtifactError, SiteError, nearest
from fluoroscope.result import Recipe
from fluoroscope.trace import described

FORMATS = ("safetensors", "npz", "pt", "json")
"""Kinds of files that hold records; the last one holds shapes and statistics, no tensors."""

_KIND = "activation records"


class Activations(dict[str, Tensor]):
    """Values by name; a name that is not there is an error that says what is."""

    def __missing__(self, name: str) -> Tensor:
        raise SiteError(f"this record does not hold {name!r}", nearest(str(name), self))


@dataclass(frozen=True, eq=False)
class ActivationRecord:
    """What one forward pass over one prompt left behind.

    Args:
        prompt: the text.
        tokens: what each of its tokens shows.
        token_ids: their ids.
        layer_activations: name -> value, [1, pos, ...] for everything but what has heads or queries before positions.
        attention_weights: attention_layer_5 -> pattern of block 5 [1, head, query, key], if that was asked for.
        metadata: what the caller wants to keep beside it; what JSON can say.
        logits: [1, pos, d_vocab], if they were asked for.
        recipe: all that the values depend on.
    """

    prompt: str
    tokens: list[str]
    token_ids: list[int]
    layer_activations: Activations
    attention_weights: Activations | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    logits: Tensor | None = None
    recipe: Recipe | None = None

    def layer(self, name: str | int) -> Tensor:
        """The value of a layer by its name, or by its number: `5` is the one whose path ends in `.5`.

        Raises:
            SiteError: this record does not hold it.
        """
        text = str(name)
        ends = [key for key in self.layer_activations if text.isdecimal() and key.rpartition(".")[2] == text]
        return self.layer_activations[ends[0] if len(ends) == 1 else text]

    def to_dict(self, include_tensors: bool = False) -> dict[str, Any]:
        """What JSON can say of it: shapes and statistics, or all numbers as nested lists."""

        def told(value: Tensor) -> Any:
            return value.tolist() if include_tensors else {"shape": list(value.shape), **described(value[0])}

        groups = {"layer_activations": self.layer_activations, "attention_weights": self.attention_weights}
        return {
            **_meta(self),
            **{name: group and {key: told(value) for key, value in group.items()} for name, group in groups.items()},
            "logits": None if self.logits is None else told(self.logits),
        }


def save_activations(
    record: ActivationRecord | Sequence[ActivationRecord],
    path: str | Path,
    format: str | None = None,
    include_tensors: bool | None = None,
    compress: bool = False,
) -> Path:
    """Writes one record or several; `load_activations` gives them back from every format but json.

    Args:
        format: safetensors (exact, checksummed), npz, pt or json (shapes and statistics); None is as the suffix says.
        include_tensors: None is as the format can: all but json hold them.
        compress: refused; see below.

    Raises:
        ArtifactError: pickle, which runs code when it is opened; another format; a format that is not the suffix's;
            compression, since a small compressed file may unpack to any size.
    """
    records = [record] if isinstance(record, ActivationRecord) else list(record)
    path, kind = Path(path), _format(Path(path), format)
    if not records:
        raise ArtifactError("there is no record to save")
    if compress:
        raise ArtifactError("compressed files are not written, for none is read", "Leave compress out.")
    if include_tensors is not None and include_tensors != (kind != "json"):
        raise ArtifactError(
            f"{kind} holds {'no' if kind == 'json' else 'all'} tensors",
            "json holds shapes and statistics; safetensors, npz and pt hold the tensors.",
        )
    if kind == "json":
        return artifact.write_json(path, {"kind": _KIND, "records": [each.to_dict() for each in records]})
    tensors, told = dict[str, Tensor](), list[dict[str, Any]]()
    for number, each in enumerate(records):
        groups = {"layers": each.layer_activations, "attention": each.attention_weights}
        groups["logits"] = None if each.logits is None else Activations(all=each.logits)
        told.append(_meta(each) | {name: None if group is None else list(group) for name, group in groups.items()})
        for name, group in groups.items():
            tensors |= {f"{number}/{name}/{key}": value for key, value in (group or {}).items()}
    own = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    return trace_files.write(path, own, {"kind": _KIND, "records": told})


def load_activations(path: str | Path, format: str | None = None) -> list[ActivationRecord]:
    """The records of a file, always as a list.

    Raises:
        ArtifactError: a pickle, json (which holds no tensors), or a file that is damaged or holds something else.
    """
    path = Path(path)
    if _format(path, format) == "json":
        raise ArtifactError(f"{path} holds shapes, no tensors", "Save as .safetensors to get the records back.")
    tensors, meta = trace_files.read(path)
    if meta.get("kind") != _KIND:
        raise ArtifactError(f"{path} holds {meta.get('kind')!r}, no {_KIND}", "Trace.load reads traces.")
    try:
        return [_read(number, told, tensors) for number, told in enumerate(meta["records"])]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: {type(error).__name__}: {error}", "Copy or make it again.") from error


def _format(path: Path, format: str | None) -> str:
    kind = (path.suffix[1:].lower() if format is None else format).removeprefix(".")
    if kind in ("pickle", "pkl"):
        raise ArtifactError(f"{str(path)!r}: a pickle runs code when it is opened", f"Use one of {', '.join(FORMATS)}.")
    if kind not in FORMATS:
        raise ArtifactError(f"unknown format {kind!r}", nearest(kind, FORMATS))
    if path.suffix != f".{kind}":
        raise ArtifactError(f"{str(path)!r} does not end in .{kind}", "The suffix says what a file holds.")
    return kind


def _meta(record: ActivationRecord) -> dict[str, Any]:
    return {
        "prompt": record.prompt,
        "tokens": record.tokens,
        "token_ids": record.token_ids,
        "metadata": record.metadata,
        "recipe": None if record.recipe is None else record.recipe.model_dump(mode="json"),
    }


def _read(number: int, told: dict[str, Any], tensors: dict[str, Tensor]) -> ActivationRecord:
    def group(name: str) -> Activations | None:
        keys = told[name]
        return None if keys is None else Activations({key: tensors[f"{number}/{name}/{key}"] for key in keys})

    logits = group("logits")
    return ActivationRecord(
        prompt=told["prompt"],
        tokens=told["tokens"],
        token_ids=told["token_ids"],
        layer_activations=group("layers") or Activations(),
        attention_weights=group("attention"),
        metadata=told["metadata"],
        logits=None if logits is None else logits["all"],
        recipe=None if told["recipe"] is None else Recipe(**told["recipe"]),
    )
