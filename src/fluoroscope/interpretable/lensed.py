"""Lenses of one model under mlxterp's names: what its layers predict."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.errors import ArtifactError
from fluoroscope.identity import fingerprint
from fluoroscope.interpretable import lenses, pictures
from fluoroscope.interpretable.lenses import LayerPredictions, TunedLens
from fluoroscope.interpretable.opened import numbered
from fluoroscope.interpretable.refusals import SettingError
from fluoroscope.interpretable.tokenized import Tokenized
from fluoroscope.methods import tuned_lens as fitting


class Lensed(Tokenized):
    """The logit lens, the tuned lens, and the output projection by itself."""

    def get_token_predictions(
        self,
        hidden_state: Float[Tensor, "*batch d_model"],
        top_k: int = 10,
        return_scores: bool = False,
        embedding_layer: "nn.Module | None" = None,
        lm_head: "nn.Module | None" = None,
    ) -> list[Any]:
        """The likeliest tokens of a hidden state by the output projection alone; `logit_lens` norms it before.

        Args:
            hidden_state: [d_model], or [batch, d_model], which gives a list for each row.
            return_scores: (token id, logit) instead of ids.
            embedding_layer: project by this embedding's weight instead.
            lm_head: project by this module instead; it goes before `embedding_layer`.

        Raises:
            SettingError: `top_k` below 1.
        """
        if top_k < 1:
            raise SettingError(f"top_k={top_k} keeps nothing", "Give at least 1.")
        if not isinstance(hidden_state, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SettingError(f"a {type(hidden_state).__name__} is no hidden state", "Give a tensor of a trace.")
        if hidden_state.dim() not in (1, 2) or hidden_state.shape[-1] != self.xray.d_model:
            raise SettingError(
                f"a hidden state of shape {list(hidden_state.shape)}",
                f"It is [d_model] or [batch, d_model], and d_model is {self.xray.d_model}.",
            )
        states = hidden_state.to(self.xray.device, self.xray.dtype).reshape(-1, hidden_state.shape[-1])
        with torch.no_grad():
            if lm_head is not None:
                scores: Tensor = lm_head(states)
            elif embedding_layer is not None:
                scores = states @ torch.as_tensor(embedding_layer.weight).T
            else:
                scores = self.xray.unembed(states, norm=False)
        if bool(scores.isnan().any()):
            raise SettingError("the hidden state gives logits that are NaN, of which none is likeliest", "See its NaN.")
        top = scores.float().topk(min(top_k, scores.shape[-1]))
        rows = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        found = [list(zip(*row, strict=True)) if return_scores else row[0] for row in rows]
        return found[0] if hidden_state.dim() == 1 else found

    def logit_lens(
        self,
        text: str,
        top_k: int = 1,
        layers: Sequence[int] | None = None,
        position: int | None = None,
        plot: bool = False,
        max_display_tokens: int = 15,
        figsize: tuple[float, float] = (16, 10),
        cmap: str = "viridis",
        font_family: str | None = None,
        final_norm: "nn.Module | None" = None,
        skip_norm: bool = False,
    ) -> LayerPredictions:
        """Layer -> positions -> (token id, logit, token), likeliest first: what each layer would predict.

        The last layer's are the model's own (nostalgebraist 2020, "interpreting GPT: the logit lens").

        Args:
            layers: which; None for all. Negative ones count from the end.
            position: the only token to read behind; None for all.
            plot: shows a heat map of the last `max_display_tokens`: as a figure in a notebook, as text elsewhere.
            final_norm: norm by this module instead of the model's own.
            skip_norm: do not norm.

        Raises:
            LayerError: no such layer.
            SettingError: `top_k` below 1, or both a norm and none.
            TokenError: no such position.
        """
        head = self._head(final_norm, skip_norm)
        found = lenses.read(
            self.xray, text, numbered(self.xray, layers), top_k, position, head, lambda _, stream: stream
        )
        if plot:
            pictures.lens("Logit lens", found.view, max_display_tokens, figsize, cmap, font_family)
        return found

    def tuned_lens(
        self,
        text: str,
        tuned_lens: TunedLens,
        top_k: int = 1,
        layers: Sequence[int] | None = None,
        position: int | None = None,
        plot: bool = False,
        max_display_tokens: int = 15,
        figsize: tuple[float, float] = (16, 10),
        cmap: str = "viridis",
        font_family: str | None = None,
        final_norm: Any = None,
        skip_norm: bool = False,
    ) -> LayerPredictions:
        """The same, each layer's stream through its map of a tuned lens before; raises as `logit_lens` does.

        Raises:
            SettingError: a lens of another size.
        """
        if tuned_lens.num_layers != self.xray.n_layers:
            raise SettingError(f"this lens has {tuned_lens.num_layers} layers", f"{self.xray!r} has another number.")

        def moved(layer: int, stream: Tensor) -> Tensor:
            return tuned_lens(stream, layer)

        head = self._head(final_norm, skip_norm)
        found = lenses.read(self.xray, text, numbered(self.xray, layers), top_k, position, head, moved)
        if plot:
            pictures.lens("Tuned lens", found.view, max_display_tokens, figsize, cmap, font_family)
        return found

    def train_tuned_lens(
        self,
        dataset: Sequence[str],
        num_steps: int = 250,
        learning_rate: float = 1.0,
        momentum: float = 0.9,
        max_seq_len: int = 2048,
        gradient_clip: float = 1.0,
        save_path: "str | Path | None" = None,
        verbose: bool = True,
        callback: Callable[[int, float], object] | None = None,
    ) -> TunedLens:
        """Fits a map per layer to texts: SGD with Nesterov momentum on KL(final ‖ lens), the rate falling to zero.

        Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens".

        Args:
            dataset: texts; longer ones are cut into pieces of `max_seq_len` tokens, or as many as the model reads.
            gradient_clip: the largest norm of a layer's gradient.
            save_path: writes the lens there, as `TunedLens.save` does.
            verbose: prints the loss (nats per token, mean over layers) ten times on the way.
            callback: called with (step, loss) after each step.

        Raises:
            SettingError: no text, fewer tokens than `max_seq_len`, one below 10, or a number out of its range.
        """

        def told(step: int, loss: float) -> None:
            if verbose and (step % max(1, num_steps // 10) == 0 or step == num_steps - 1):
                print(f"step {step}: {loss:.4f} nats per token")
            if callback is not None:
                callback(step, loss)

        settings = fitting.Settings(num_steps, 1, learning_rate, 0, momentum, gradient_clip)
        found = lenses.train(self.xray, dataset, settings, max_seq_len, told)
        if save_path is not None:
            found.save(save_path)
        return found

    def load_tuned_lens(self, path: "str | Path") -> TunedLens:
        """Reads a lens that was fitted to this model.

        Raises:
            ArtifactError: damaged, or of other weights.
        """
        found = TunedLens.load(path)
        if found.maps.meta.get("weights") not in (fingerprint(self.xray.hf), None):
            raise ArtifactError(f"{str(path)!r} was fitted to other weights than those of {self.xray.name}")
        return found

    def _head(self, final_norm: Any, skip_norm: bool) -> Callable[[Tensor], Tensor]:
        """A stream to logits, by the model's own norm, another, or none."""
        if final_norm is None:
            return lambda stream: self.xray.unembed(stream, norm=not skip_norm)
        if skip_norm:
            raise SettingError("final_norm names a norm, and skip_norm says there is none", "Give one of them.")
        return lambda stream: self.xray.unembed(final_norm(stream), norm=False)
