"""InterpretableModel: one model under mlxterp's names, each method a few lines onto the rest of this package."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from fluoroscope.interpretable import causal, generation, pictures
from fluoroscope.interpretable.conversation import ConversationTrace
from fluoroscope.interpretable.core.module_resolver import DEFAULT, blocks_path, described
from fluoroscope.interpretable.core.proxies import LayerListProxy, OutputProxy
from fluoroscope.interpretable.core.trace import Trace
from fluoroscope.interpretable.lensed import Lensed
from fluoroscope.interpretable.refusals import SettingError, valued
from fluoroscope.loading import load
from fluoroscope.model import Model

Interventions = Mapping[str, Callable[[Tensor], Tensor]]
"""Module path or site -> what becomes of its value."""


class InterpretableModel(Lensed):
    """A causal language model whose activations can be read and changed.

    Args:
        model: a Hugging Face module, a local folder, a hub id, "specimen" (embedded), or a `fluoroscope.Model`.
        tokenizer: for a module; files bring theirs along.
        layer_attr: path of the list of blocks, whole or its end ("h"); "layers" is wherever the family has it.
        embedding_path, norm_path, lm_head_path: paths of modules with other names than the family's.

    Attributes:
        xray: the `fluoroscope.Model`.
        model: the Hugging Face module.
        tokenizer: its tokenizer, or None.
        layers: the blocks, as proxies.

    Raises:
        SourceError: a model that cannot be loaded whole (a ValueError, too).
        PathError: a path that leads nowhere (an AttributeError, too).
    """

    def __init__(
        self,
        model: "nn.Module | str | Model",
        tokenizer: Any = None,
        layer_attr: str = DEFAULT,
        embedding_path: str | None = None,
        norm_path: str | None = None,
        lm_head_path: str | None = None,
    ) -> None:
        given = {"embed": embedding_path, "final_norm": norm_path, "lm_head": lm_head_path}
        paths = {name: path for name, path in given.items() if path}
        with valued():
            self.xray = _loaded(model, tokenizer, layer_attr, paths)
        self.model = self.xray.hf
        self.tokenizer = self.xray.tokenizer
        self.layers = LayerListProxy(self.xray)

    def __call__(self, inputs: Any) -> Float[Tensor, "batch pos d_vocab"]:
        """The logits, as the module itself computes them."""
        with valued():
            return self.xray.trace(inputs).logits

    def __repr__(self) -> str:
        return f"Interpretable{self.xray!r}"

    @property
    def output(self) -> OutputProxy:
        """The model's own output in a trace."""
        return OutputProxy(self.xray, "", "")

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """(path, module) of every module."""
        return self.model.named_modules()

    def parameters(self) -> dict[str, Tensor]:
        """Every weight by its path; they share the model's memory."""
        return dict(self.model.named_parameters())

    def trainable_parameters(self) -> dict[str, Tensor]:
        """Those that have gradients."""
        return {name: weight for name, weight in self.parameters().items() if weight.requires_grad}

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────

    def trace(
        self, inputs: Any, interventions: Interventions | None = None, *, sites: Sequence[str] | None = None
    ) -> Trace:
        """One forward pass over text, texts, ids or a tensor of ids [batch, pos], as the block of a `with`.

        Args:
            interventions: module path or site -> what becomes of its value there.
            sites: what to keep; every value of the pass if not given, but for `scores` and `head_out`.

        Raises:
            SiteError, UnavailableError, EditError: when the block begins: an intervention that cannot act.
            InputError: likewise, of inputs that are none (a ValueError, too).
        """
        return Trace(self.xray, inputs, interventions, sites)

    generate = generation.generate

    def conversation_trace(self, messages: Sequence[Mapping[str, str]]) -> ConversationTrace:
        """One pass over a chat, as the block of a `with`, with what each turn gives the others."""
        return ConversationTrace(self.xray, messages)

    def causal_trace(self, clean: Any, corrupted: Any) -> causal.CausalTrace:
        """A pair of prompts for several patches at once."""
        return causal.CausalTrace(self.xray, clean, corrupted)

    def activation_patching(
        self,
        clean_text: str,
        corrupted_text: str,
        component: str = "mlp",
        layers: Sequence[int] | None = None,
        metric: str = "l2",
        plot: bool = False,
        figsize: tuple[float, float] = (12, 8),
        cmap: str = "RdBu_r",
    ) -> dict[int, float]:
        """Layer -> how much of the way to the clean output its clean value brings the corrupted one, in percent.

        Args:
            component: "mlp", "self_attn", or a projection of theirs ("mlp.gate_proj", "self_attn.q_proj").
            metric: "l2", "cosine", "mse", or any that `causal.activation_patching` knows.
            plot: shows the bars: as a figure in a notebook, as text elsewhere.

        Raises:
            ArgumentError: prompts of unequal length or with one output; as `causal.activation_patching`.
        """
        found = causal.activation_patching(self.xray, clean_text, corrupted_text, layers, component, metric)
        if found.heads is not None:
            raise SettingError(
                f"component={component!r} has a number for each head", "causal.activation_patching gives the matrix."
            )
        if plot:
            pictures.shown("Activation patching", found.summary(), found.views(), figsize, cmap)
        return {layer: 100.0 * effect for layer, effect in zip(found.layers, found.effect_matrix.tolist(), strict=True)}


def _loaded(source: "nn.Module | str | Model", tokenizer: Any, layer_attr: str, paths: dict[str, str]) -> Model:
    """The model, by the paths that were given where its own are others."""
    if isinstance(source, nn.Module):
        found, module = None, source
    else:
        found = source if isinstance(source, Model) else load(source, tokenizer=tokenizer)
        module = found.hf
    if layer_attr != DEFAULT:
        paths = {"layers": blocks_path(module, layer_attr), **paths}
    if found is not None and all(getattr(found.architecture, name) == path for name, path in paths.items()):
        return found
    architecture = described(module, paths, found and found.architecture) if paths else None
    if found is not None:
        tokenizer = found.tokenizer if tokenizer is None else tokenizer
        found.close()
    return load(module, tokenizer=tokenizer, architecture=architecture)
