"""Lenses as mlxterp has them: likeliest tokens by layer and position, through the model's own output head."""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope import artifact
from fluoroscope.errors import ArtifactError
from fluoroscope.interpretable.refusals import SettingError
from fluoroscope.methods import readout, translators, tuned_lens
from fluoroscope.methods.translators import Translators
from fluoroscope.progress import listening, so_far
from fluoroscope.tokens import tokenize
from fluoroscope.views import Heatmap, Mark

if TYPE_CHECKING:
    from fluoroscope.model import Model

Prediction = tuple[int, float, str]
"""(token id, logit, token)."""
Moved = Callable[[int, Tensor], Tensor]
"""(layer, stream) to what the output head reads of it."""

_LEAST = 10


class TunedLens:
    """An affine map per layer, behind which the output head reads a stream (Belrose et al. 2023, arXiv:2303.08112).

    A new one changes nothing, so it is the logit lens. The stream behind the last layer is what the head reads, so
    its map stays the identity.

    Args:
        num_layers: how many layers the model has.
        hidden_dim: d_model.
    """

    def __init__(self, num_layers: int, hidden_dim: int) -> None:
        self.maps = translators.unchanged(num_layers, hidden_dim, {"kind": tuned_lens.KIND})

    @classmethod
    def of(cls, maps: Translators) -> "TunedLens":
        """The one of fitted maps."""
        found = cls(1, 1)
        found.maps = maps
        return found

    @property
    def num_layers(self) -> int:
        """How many layers it has a map for."""
        return len(self.maps.weight)

    @property
    def hidden_dim(self) -> int:
        """d_model."""
        return self.maps.bias.shape[-1]

    @property
    def translators(self) -> list[nn.Linear]:
        """The map of each layer, as copies."""
        return [_linear(*self._map(layer)) for layer in range(self.num_layers)]

    def __call__(self, h: Float[Tensor, "... d_model"], layer_idx: int) -> Float[Tensor, "... d_model"]:
        """What the map of a layer makes of the stream behind it.

        Raises:
            SettingError: no such layer, or a stream of another width.
        """
        if not 0 <= layer_idx < self.num_layers or h.shape[-1] != self.hidden_dim:
            raise SettingError(
                f"a stream of width {h.shape[-1]} behind layer {layer_idx} has no map",
                f"This lens has {self.num_layers} layers of width {self.hidden_dim}.",
            )
        return self.maps(layer_idx + 1, h)

    def save(self, path: str | Path) -> None:
        """Writes `path`.npz, which holds the maps, and `path`.json, which says what they are and of which file."""
        data = io.BytesIO()
        np.savez(data, weight=self.maps.weight.numpy(), bias=self.maps.bias.numpy())
        found = data.getvalue()
        where = _files(path)
        artifact.write(where[0], found)
        meta = self.maps.meta | {"sha256": hashlib.sha256(found).hexdigest()}
        artifact.write_json(where[1], meta | {"num_layers": self.num_layers, "hidden_dim": self.hidden_dim})

    @classmethod
    def load(cls, path: str | Path) -> "TunedLens":
        """Reads what `save` wrote; with or without the suffix.

        Raises:
            ArtifactError: a file is missing, damaged or not of the other one.
        """
        where = _files(path)
        meta: Any = artifact.read_json(where[1])
        if not where[0].is_file():
            raise ArtifactError(f"there is no file {str(where[0])!r}", "A tuned lens is an .npz and a .json file.")
        data = where[0].read_bytes()
        if not isinstance(meta, dict) or meta.get("sha256") != hashlib.sha256(data).hexdigest():
            raise ArtifactError(f"{str(where[0])!r} is not the file that {where[1].name!r} speaks of", "Save it again.")
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            weight, bias = (torch.from_numpy(held[name]) for name in ("weight", "bias"))
        told = {name: meta[name] for name in meta if name not in ("sha256", "num_layers", "hidden_dim")}
        return cls.of(Translators(weight, bias, told))

    def _map(self, layer: int) -> tuple[Tensor, Tensor]:
        if layer + 1 == self.num_layers:
            return torch.eye(self.hidden_dim), torch.zeros(self.hidden_dim)
        return self.maps.weight[layer + 1], self.maps.bias[layer + 1]


class LayerPredictions(dict[int, list[list[Prediction]]]):
    """Layer -> positions -> likeliest tokens, likeliest first.

    Attributes:
        view: the likeliest token of each layer and position, with its probability, as a picture.
    """

    view: Heatmap


def read(
    model: "Model",
    text: Any,
    layers: Sequence[int],
    top_k: int,
    position: int | None,
    head: Callable[[Tensor], Tensor],
    moved: Moved,
) -> LayerPredictions:
    """What each layer predicts behind the tokens of one prompt.

    Args:
        position: the only token to read behind; None for all.
        head: a stream to logits.
        moved: what is done to the stream of a layer before.

    Raises:
        SettingError: `top_k` below 1.
        TokenError: no such position.
    """
    if top_k < 1:
        raise SettingError(f"top_k={top_k} keeps nothing", "Give at least 1.")
    trace = model.trace(text, sites=[f"resid_post.{layer}" for layer in layers], logits=False)
    last = readout.only_slot(trace.tokens, -1)
    slots = list(range(last + 1)) if position is None else [readout.only_slot(trace.tokens, position)]
    found = LayerPredictions()
    shown: list[tuple[list[float], list[str]]] = []
    for layer in layers:
        with torch.no_grad():
            logits = head(moved(layer, trace[f"resid_post.{layer}"][0, slots])).float()
        top = logits.topk(min(top_k, logits.shape[-1]))
        best = readout.log_probs(logits).max(-1).values.exp().tolist()
        found[layer] = [
            [(token, score, model.token_label(token)) for token, score in zip(*row, strict=True)]
            for row in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]
        shown.append((best, [row[0][2] for row in found[layer]]))
    found.view = Heatmap(
        title="What each layer would say",
        caption="The likeliest token after each token of the text, and its probability.",
        unit="probability",
        maximum=1.0,
        rows=tuple(Mark(label=f"L{layer}", site=f"resid_post.{layer}") for layer in layers),
        columns=tuple(Mark(label=trace.tokens.labels[0][slot], token=True) for slot in slots),
        values=tuple(tuple(values) for values, _ in shown),
        tokens=tuple(tuple(names) for _, names in shown),
    )
    return found


def train(
    model: "Model",
    dataset: Sequence[str],
    settings: tuned_lens.Settings,
    max_seq_len: int,
    told: Callable[[int, float], object],
) -> TunedLens:
    """Fits a map per layer to texts, by KL to the model's own prediction.

    Args:
        settings: `rows` is set here, so that a step sees about `max_seq_len` tokens.
        told: called with (step, loss: KL in nats per token, mean over the layers).

    Raises:
        SettingError: no text, fewer tokens than `max_seq_len`, one below 10, or a number of 0 or less.
    """
    small = [f"{name}={getattr(settings, name)}" for name in ("steps", "rate", "clip") if getattr(settings, name) <= 0]
    small += [] if 0 <= settings.momentum < 1 else [f"momentum={settings.momentum}"]
    small += [] if max_seq_len >= _LEAST else [f"max_seq_len={max_seq_len}"]
    if small:
        raise SettingError(
            f"{small[0]} is out of range",
            f"Steps, rate and clip are above 0, momentum from 0 to below 1, max_seq_len at least {_LEAST}.",
        )
    texts = [text for text in dataset if text.strip()]
    if not texts:
        raise SettingError("the dataset holds no text", "Give some thousand tokens of text.")
    length = min(max_seq_len, model.n_ctx or max_seq_len)
    ids = [tokenize(text, model.tokenizer, d_vocab=model.n_input, n_ctx=None).rows[0] for text in texts]
    rows = [row[start : start + length] for row in ids for start in range(0, len(row), length)]
    total = sum(map(len, rows))
    if total < max_seq_len:
        raise SettingError(f"the dataset has {total} tokens, fewer than max_seq_len={max_seq_len}", "Give more text.")
    digest = hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]
    meta = translators.provenance(model, digest, rows, settings.seed)

    def heard(_label: str, done: int, _total: int | None) -> None:
        losses: list[list[float]] = so_far() or []
        if done and len(losses) == done:
            told(done - 1, sum(losses[-1]) / len(losses[-1]))

    count = max(1, min(len(rows), max_seq_len * len(rows) // total))
    with TemporaryDirectory() as folder, listening(heard):
        chosen = tuned_lens.Settings(**(vars(settings) | {"rows": count}))
        maps, _ = tuned_lens.fit(model, rows, meta, chosen, Path(folder) / "lens.safetensors", every=settings.steps)
    return TunedLens.of(maps)


def _files(path: str | Path) -> tuple[Path, Path]:
    stem = Path(path)
    stem = stem.with_suffix("") if stem.suffix in (".npz", ".json") else stem
    return stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.json")


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    found = nn.Linear(weight.shape[0], weight.shape[1])
    with torch.no_grad():
        found.weight.copy_(weight.T)
        found.bias.copy_(bias)
    return found
