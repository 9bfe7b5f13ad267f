"""ModelAnalyzer: one object that generates, records, reads, steers and patches one model, in a few lines each.

The facade of the Mechanistic Interpretability Toolkit. A layer is a block, `transformer.h.5` the stream behind it
(`resid_post.5`), the last layer's reading the model's prediction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fluoroscope.compat import activation_extraction, intervention, model_loader
from fluoroscope.compat.activation_extraction import ActivationRecord
from fluoroscope.compat.intervention import ActivationPatch
from fluoroscope.compat.logit_lens import LogitLens, Prediction, predictions, print_predictions
from fluoroscope.errors import ArgumentError, SiteError, TokenError, UnavailableError
from fluoroscope.generation import Generation
from fluoroscope.render.text import quoted

_TOP_K = 50


class ModelAnalyzer(LogitLens):
    """One model, loaded once, for everything.

    Args:
        model_path: a local folder, a hub id, a module, or a model that is loaded already; "specimen" is embedded.
        device: where to put it; None is a GPU where there is one, and leaves modules where they are.
        load_for_generation: False refuses to generate; the model is the same, head and all.
    """

    def __init__(
        self,
        model_path: "model_loader.Source | model_loader.ModelInspector" = "specimen",
        device: "str | torch.device | None" = None,
        load_for_generation: bool = True,
    ) -> None:
        if device is None and isinstance(model_path, str | Path):
            device = "cuda" if torch.cuda.is_available() else None
        super().__init__(model_path, device)
        self.load_for_generation = load_for_generation

    # ── text ─────────────────────────────────────────────────────────────────────────────────────────

    def tokenize(self, text: str) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` [1, pos], as the module itself takes them."""
        tokens = self.xray.tokens(text)
        return {"input_ids": tokens.ids, "attention_mask": tokens.mask.long()}

    def decode(self, token_ids: "Tensor | Sequence[int]") -> str:
        """The text of ids, special tokens included, so that nothing is lost."""
        return "".join(self.xray.tokens(torch.as_tensor(token_ids)).pieces[0])

    def get_tokens(self, text: str) -> list[str]:
        """What each token of a text shows; joined, they are the text as the model reads it."""
        return self.xray.tokens(text).pieces[0]

    def generate(
        self,
        prompt: str,
        max_new_tokens: int = 50,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int | None = None,
        return_activations: bool = False,
        include_prompt: bool = True,
        **generation_kwargs: Any,
    ) -> "str | tuple[str, ActivationRecord]":
        """The prompt and what follows it.

        Args:
            temperature: 0 takes the likeliest token; otherwise logits are divided by it and sampled, by `seed`.
            top_k: draw from so many tokens; 50 where `temperature` is given.
            return_activations: give all layers as well, of the passes that made the text: positions count over the
                prompt and what was generated, but for the last token, which no pass has read.
            include_prompt: False gives the continuation alone.
            generation_kwargs: what else `Model.generate` takes: `seed`, `stop_tokens`, `cache`, …

        Raises:
            ArgumentError: an unknown option; the nearest is named.
        """
        sampling = {"temperature": temperature, "top_p": top_p}
        sampling["top_k"] = top_k if top_k is not None else _TOP_K if temperature > 0 else 0
        names = activation_extraction.named_sites(self.xray) if return_activations else {}
        if return_activations and "sites" in generation_kwargs:
            raise ArgumentError("return_activations keeps all layers", "Take sites from Model.generate.")
        if return_activations:
            generation_kwargs["sites"] = list(names.values())
        found = self._generated(prompt, [], max_new_tokens, **sampling, **generation_kwargs)
        text = prompt + found.text if include_prompt else found.text
        if found.trace is None or not return_activations:
            return text
        return text, activation_extraction.record(self.xray, found.trace, 0, prompt, names)

    def generate_with_steering(
        self,
        prompt: str,
        positive_examples: Sequence[str],
        negative_examples: Sequence[str],
        layer_name: "str | int | None" = None,
        coefficient: float = 2.0,
        max_new_tokens: int = 50,
        **generation_kwargs: Any,
    ) -> str:
        """The prompt and what follows it while a layer is moved from the negative examples towards the positive ones.

        Args:
            layer_name: the layer to steer; the middle one if not given.
            coefficient: how many times the difference of the mean last-token states is added; a warning says when that
                is longer than the stream itself, and what coefficient is not.
            generation_kwargs: as for `generate`.
        """
        layer = self.get_num_layers() // 2 if layer_name is None else layer_name
        found = intervention.steering_direction(self, None, positive_examples, negative_examples, layer)
        change = replace(found, coefficient=coefficient)
        return prompt + self._generated(prompt, [change], max_new_tokens, **generation_kwargs).text

    def generate_with_patching(
        self, prompt: str, patches: Sequence[ActivationPatch], max_new_tokens: int = 50, **generation_kwargs: Any
    ) -> str:
        """The prompt and what follows it under patches.

        Args:
            generation_kwargs: as for `generate`; `edit_tokens` says at which steps patches act: "all", "prompt",
                "generated", or step numbers. A position counts over the whole sequence, a negative one from the end
                of the prompt.
        """
        return prompt + self._generated(prompt, patches, max_new_tokens, **generation_kwargs).text

    def _generated(
        self, prompt: str, changes: "Sequence[intervention.Change]", max_new_tokens: int, **options: Any
    ) -> Generation:
        if not self.load_for_generation:
            raise UnavailableError("this analyzer was made not to generate", "Make it with load_for_generation=True.")
        return intervention.generated(self.xray, prompt, changes, max_new_tokens, **options)

    # ── activations ──────────────────────────────────────────────────────────────────────────────────

    def extract_activations(
        self,
        text: str,
        layer_names: "Sequence[str] | None" = None,
        layer_indices: "Sequence[int] | None" = None,
        include_attention: bool = False,
        return_logits: bool = False,
        metadata: "dict[str, Any] | None" = None,
    ) -> ActivationRecord:
        """The values of one prompt; see `activation_extraction.extract`."""
        return activation_extraction.extract(
            self.xray, [text], layer_names, layer_indices, include_attention, return_logits, metadata
        )[0]

    def extract_batch_activations(
        self,
        prompts: Sequence[str],
        layer_names: "Sequence[str] | None" = None,
        layer_indices: "Sequence[int] | None" = None,
        include_attention: bool = False,
        show_progress: bool = True,
    ) -> list[ActivationRecord]:
        """The values of several prompts, sixteen in one pass; see `activation_extraction.extract`."""
        return activation_extraction.extract(
            self.xray, prompts, layer_names, layer_indices, include_attention, show_progress=show_progress
        )

    def save_activations(
        self,
        record: "ActivationRecord | Sequence[ActivationRecord]",
        output_path: "str | Path",
        format: "str | None" = None,
        include_tensors: "bool | None" = None,
        compress: bool = False,
    ) -> Path:
        """Writes records; pickle is refused. See `activation_extraction.save_activations`."""
        return activation_extraction.save_activations(record, output_path, format, include_tensors, compress)

    def load_activations(self, path: "str | Path", format: "str | None" = None) -> list[ActivationRecord]:
        """The records of a file, always as a list."""
        return activation_extraction.load_activations(path, format)

    # ── lens ─────────────────────────────────────────────────────────────────────────────────────────

    def logit_lens(
        self,
        text: str,
        layer_indices: "Iterable[int] | None" = None,
        top_k: int = 10,
        apply_ln: bool = True,
        position: int = -1,
    ) -> dict[int, list[Prediction]]:
        """What each layer would predict behind one token: (token, probability), likeliest first.

        Args:
            position: index of the token; `get_layer_predictions` reads all of them.
        """
        layers = model_loader.layer_numbers(self.xray, layer_indices)
        record = self.extract_activations(text, layer_indices=layers)
        return self.logit_lens_on_activation(record, None, top_k, apply_ln, position)

    def print_logit_lens(self, text: str, layer_step: int = 1, top_k: int = 5) -> None:
        """Prints what every `layer_step`-th layer and the last one would predict at the end of a text."""
        layers = model_loader.stepped(self.xray, layer_step)
        print(f"after {quoted(self.get_tokens(text)[-1])}")
        print_predictions(self.logit_lens(text, layers, top_k))

    def logit_lens_on_activation(
        self,
        activation: ActivationRecord,
        layer_indices: "Iterable[int] | None" = None,
        top_k: int = 10,
        apply_ln: bool = True,
        token_position: int = -1,
    ) -> dict[int, list[Prediction]]:
        """The lens on a record: what each layer predicts behind the token at a position.

        What predicted the token itself stands one position before.

        Raises:
            SiteError: the record does not hold a layer.
            TokenError: it has no such position.
        """
        paths, count = self.get_layer_names(), len(activation.tokens)
        if not -count <= token_position < count:
            raise TokenError(f"the record has no token {token_position}", f"It has {count}.")
        held = [layer for layer, path in enumerate(paths) if path in activation.layer_activations]
        layers = held if layer_indices is None else model_loader.layer_numbers(self.xray, layer_indices)
        if not layers:
            raise SiteError("the record holds no layer", "Extract it without layer_names.")
        return {
            layer: predictions(
                self.xray, activation.layer_activations[paths[layer]][0, token_position], top_k, apply_ln
            )
            for layer in layers
        }

    def analyze_generation_token(
        self,
        prompt: str,
        target_token: "str | None" = None,
        token_position: "int | None" = None,
        max_new_tokens: int = 50,
        layer_step: int = 1,
        top_k: int = 5,
        **generation_kwargs: Any,
    ) -> dict[str, Any]:
        """Generates, and shows how the layers came to one of the generated tokens.

        Args:
            target_token: the first generated token that shows this text; white space around it does not count.
            token_position: or its index, counted over prompt and continuation.

        Returns:
            `generated_text`, `all_tokens` of prompt and continuation, `target_token`, `token_position`, `predicted_at`
            (the position before, which is read) and `analysis`: layer -> (token, probability), likeliest first.

        Raises:
            ArgumentError: neither or both of token and position.
            TokenError: no generated token is the target.
        """
        if (target_token is None) == (token_position is None):
            raise ArgumentError("a target is one thing", "Give either target_token or token_position.")
        names = activation_extraction.named_sites(self.xray, layer_indices=model_loader.stepped(self.xray, layer_step))
        found = self._generated(prompt, [], max_new_tokens, sites=list(names.values()), **generation_kwargs)
        assert found.trace is not None
        record = activation_extraction.record(self.xray, found.trace, 0, prompt, names)
        tokens = self.xray.tokens(found.prompt.rows[0] + found.ids[0]).pieces[0]
        start = len(tokens) - len(found.ids[0])
        position = _position(tokens, start, target_token) if token_position is None else token_position
        if not start <= position < len(tokens):
            raise TokenError(
                f"token {position} was not generated", f"Generated tokens run from {start} to {len(tokens) - 1}."
            )
        return {
            "generated_text": prompt + found.text,
            "all_tokens": tokens,
            "target_token": tokens[position],
            "token_position": position,
            "predicted_at": position - 1,
            "analysis": self.logit_lens_on_activation(record, None, top_k, token_position=position - 1),
        }

    # ── causes ───────────────────────────────────────────────────────────────────────────────────────

    def layer_patching(
        self,
        clean_prompt: str,
        corrupted_prompt: str,
        layers_to_test: "Sequence[int] | None" = None,
        direction: intervention.Direction = "corrupted_into_clean",
    ) -> dict[int, float]:
        """How far each layer of one prompt, put into the run of the other, moves its prediction: 0 nothing, 1 all."""
        return intervention.layer_patching(
            self, None, clean_prompt, corrupted_prompt, layers_to_test, direction
        )  # fmt: skip

    path_patching = layer_patching
    """The original's name for it."""


def _position(tokens: Sequence[str], start: int, target: "str | None") -> int:
    """The first generated token that shows the target."""
    wanted = (target or "").strip()
    for position in range(start, len(tokens)):
        if tokens[position].strip() == wanted:
            return position
    raise TokenError(f"no generated token is {target!r}", f"Generated: {''.join(tokens[start:])!r}.")
