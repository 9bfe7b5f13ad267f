"""`logit_lens` of the Mechanistic Interpretability Toolkit: what each layer would predict.

Layer i is the stream after block i, so the last layer is the model's own prediction, whatever its norm is. Metrics over
depth have one row more, the embedding first.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.analyses.convergence import Convergence, convergence
from fluoroscope.compat import model_loader
from fluoroscope.compat.model_loader import ModelInspector
from fluoroscope.compat.pictures import saved
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.render.text import quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fluoroscope.model import Model

Prediction = tuple[str, float]
"""A token and its probability."""

_TOP = 5


class LogitLens(ModelInspector):
    """The logit lens on one model (nostalgebraist 2020, "interpreting GPT: the logit lens")."""

    def apply_lens_to_hidden_state(
        self, hidden_state: Float[Tensor, "... d_model"], apply_ln: bool = True
    ) -> Float[Tensor, "... d_vocab"]:
        """Logits of a stream, by the model's own final norm and unembedding; `apply_ln=False` leaves the norm out."""
        with torch.no_grad():
            return self.xray.unembed(hidden_state.to(self.device, self.xray.dtype), norm=apply_ln)

    def get_layer_predictions(self, text: str, layer_indices: Iterable[int] | None = None) -> dict[str, Any]:
        """What each layer predicts at every position.

        Returns:
            `input_text`, `input_tokens`, `input_ids` [pos], `final_logits` [pos, d_vocab], and `layers`: by number
            `logits` and `probs` [pos, d_vocab], the five likeliest as `top_k_indices`, `top_k_probs` [pos, 5] and
            `top_k_tokens`.
        """
        layers = model_loader.layer_numbers(self.xray, layer_indices)
        trace = self.xray.trace(text, sites=[f"resid_post.{layer}" for layer in layers])
        readout.only_slot(trace.tokens, -1)
        found: dict[int, dict[str, Any]] = {}
        for layer in layers:
            logits = self.apply_lens_to_hidden_state(trace[f"resid_post.{layer}"][0]).cpu()
            probs = readout.log_probs(logits).exp()
            top = probs.topk(min(_TOP, probs.shape[-1]))
            found[layer] = {
                "logits": logits,
                "probs": probs,
                "top_k_indices": top.indices,
                "top_k_probs": top.values,
                "top_k_tokens": [[self.xray.token_label(token) for token in row] for row in top.indices.tolist()],
            }
        return {
            "input_text": text,
            "input_tokens": trace.tokens.pieces[0],
            "input_ids": np.array(trace.tokens.rows[0]),
            "layers": found,
            "final_logits": trace.logits[0].cpu(),
        }

    def print_layer_predictions(self, text: str, layer_step: int = 2, max_tokens: int = 10) -> None:
        """Prints what every `layer_step`-th layer and the last one predict behind the first `max_tokens` tokens."""
        found = self.get_layer_predictions(text, model_loader.stepped(self.xray, layer_step))
        final = found["final_logits"].argmax(-1).tolist()
        for layer, row in found["layers"].items():
            print(f"layer {layer}")
            for slot, token in enumerate(found["input_tokens"][:max_tokens]):
                same = "  = final" if row["top_k_indices"][slot, 0] == final[slot] else ""
                guess, p = quoted(row["top_k_tokens"][slot][0]), float(row["top_k_probs"][slot, 0])
                print(f"  {slot:>3} after {quoted(token)}: {guess} {p:.4f}{same}")

    def get_convergence_metrics(self, text: str) -> dict[str, Any]:
        """How near each depth is to the end.

        Returns:
            arrays [depth, pos], row 0 the embedding and row i + 1 layer i: `kl_divergence` (KL(final ‖ depth), in
            nats; NaN where it is infinite), `top1_match` (whether the final prediction leads), `top1_rank` (how many
            tokens lead before it), `top1_logit` (of the depth's own likeliest token). Per position `first_match` and
            `stable_from`, the rows at which it leads first and from which on it leads for good. `rows` and
            `input_tokens` name the axes.
        """
        found = convergence(self.xray, text)
        sites = [depth.site for depth in found.depths]
        rank = np.array([depth.rank for depth in found.depths])
        return {
            "kl_divergence": np.array([depth.kl for depth in found.depths], dtype=float),
            "top1_match": rank == 1,
            "top1_rank": rank - 1,
            "top1_logit": np.array([depth.top_logit for depth in found.depths]),
            "first_match": np.array([sites.index(place.first) for place in found.positions]),
            "stable_from": np.array([sites.index(place.settled) for place in found.positions]),
            **_axes(found),
        }

    def compare_to_input(self, text: str) -> dict[str, Any]:
        """What is left of the token that was read.

        Returns:
            arrays [depth, pos], row 0 the embedding and row i + 1 layer i: `input_token_rank` (how many tokens are
            likelier), `input_token_prob`, `kl_from_input` (KL(depth ‖ embedding), in nats; a measure of change, for the
            embedding is no prediction). `rows` and `input_tokens` name the axes.
        """
        found = convergence(self.xray, text)
        return {
            "input_token_rank": np.array([depth.input_rank for depth in found.depths]) - 1,
            "input_token_prob": np.array([depth.input_probability for depth in found.depths]),
            "kl_from_input": np.array([depth.kl_from_embedding for depth in found.depths], dtype=float),
            **_axes(found),
        }

    def plot_convergence(
        self, text: str, figsize: tuple[float, float] = (12, 8), save_path: "str | Path | None" = None
    ) -> "Figure":
        """Four panels: KL to the end, whether the final prediction leads, its rank, and the favourite's logit."""
        found = convergence(self.xray, text)
        return saved("Convergence", found.summary(), found.convergence_views(), figsize, save_path, abreast=2)

    def plot_input_preservation(
        self, text: str, figsize: tuple[float, float] = (12, 6), save_path: "str | Path | None" = None
    ) -> "Figure":
        """Two panels: the rank of the token that was read, and how far each depth is from the embedding."""
        found = convergence(self.xray, text)
        return saved("Input preservation", found.summary(), found.input_views()[:2], figsize, save_path, abreast=2)


def analyze_text(
    model_path: "model_loader.Source | ModelInspector", text: str, device: "str | torch.device | None" = None
) -> LogitLens:
    """Prints what the layers predict and returns the lens, whose plots show the rest."""
    lens = LogitLens(model_path, device)
    lens.print_layer_predictions(text, layer_step=3, max_tokens=8)
    return lens


def predictions(
    model: "Model", stream: Float[Tensor, "... d_model"], top_k: int, apply_ln: bool = True
) -> list[Prediction]:
    """The likeliest tokens of one vector of the stream, likeliest first.

    Raises:
        ArgumentError: `top_k` below 1.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} keeps nothing", "Give at least 1.")
    with torch.no_grad():
        log_p = readout.log_probs(model.unembed(stream.to(model.device), norm=apply_ln))
    top = log_p.topk(min(top_k, log_p.shape[-1]))
    pairs = zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
    return [(model.token_label(token), probability) for token, probability in pairs]


def print_predictions(found: dict[int, list[Prediction]]) -> None:
    """Prints a line per layer."""
    for layer, row in found.items():
        print(f"layer {layer:>2}  " + "  ".join(f"{quoted(token)} {probability:.4f}" for token, probability in row))


def _axes(found: Convergence) -> dict[str, Any]:
    rows = [depth.label for depth in found.depths]
    return {"rows": rows, "input_tokens": [place.token for place in found.positions]}
