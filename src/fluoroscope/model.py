"""A Hugging Face causal LM under the X-ray: its sizes, sites, weights, traces and generations."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fluoroscope import attention, forward, generation, hooks, identity, offer, pieces, tokens, verify
from fluoroscope.architectures import Architecture, Dims
from fluoroscope.errors import ArgumentError, EditError, SiteError, UnavailableError
from fluoroscope.modules import required
from fluoroscope.norms import FrozenNorm, frozen
from fluoroscope.plugs import Plugs
from fluoroscope.run import Edits, Run, Seen, outside, place, running
from fluoroscope.sites import Site
from fluoroscope.tokens import Pad, Tokens
from fluoroscope.trace import Trace
from fluoroscope.weights import Weights

if TYPE_CHECKING:
    from fluoroscope.result import Recipe

Prompt = Any
"""Text, texts, token ids (list or tensor, one or many), a chat or chats, or Tokens: see `tokens.tokenize`."""


class Model:
    """One loaded model. Make it with `fluoroscope.load`.

    The hooks are installed here, once, and stay idle until a run of this model; `close()` takes them
    away and gives the module its attention implementation back.

    Attributes:
        hf: the wrapped module, in eval mode, on its own device and in its own dtype.
        tokenizer: its tokenizer, or None.
        name: what it was loaded from.
        unavailable: (site name, layer) -> why this model cannot give it.
    """

    def __init__(
        self, hf: nn.Module, tokenizer: Any, name: str, architecture: Architecture, dims: Dims, n_ctx: int | None
    ) -> None:
        self.hf = hf
        self.tokenizer = tokenizer
        self.name = name
        self.architecture = architecture
        self.dims = dims
        self.n_ctx = n_ctx
        container = required(hf, architecture.layers, "list of blocks")
        self.blocks: list[nn.Module] = list(container.children())
        self.attention_layers: dict[nn.Module, int] = {
            module: layer
            for layer, block in enumerate(self.blocks)
            if (module := hooks.submodule(block, architecture.attn)) is not None
        }
        self.weights = Weights(hf, architecture, dims)
        self.unavailable: dict[tuple[str, int | None], str] = {}
        reference = verify.reference(self)
        self._found_attention = str(getattr(getattr(hf, "config", None), "_attn_implementation", "own"))
        self.attention = self._found_attention.removeprefix(attention.PREFIX)
        if self.attends:
            self._set_attention(attention.register(self.attention))
        self.plugs = Plugs(self)
        try:
            self.unavailable = verify.verify(self, reference)
        except BaseException:
            self.close()
            raise

    # ── sizes ────────────────────────────────────────────────────────────────────────────────────────

    n_layers = property(lambda self: self.dims.n_layers)
    n_heads = property(lambda self: self.dims.n_heads)
    n_kv_heads = property(lambda self: self.dims.n_kv_heads)
    d_model = property(lambda self: self.dims.d_model)
    d_head = property(lambda self: self.dims.d_head)
    d_mlp = property(lambda self: self.dims.d_mlp)
    d_vocab = property(lambda self: self.dims.d_vocab)

    @property
    def device(self) -> torch.device:
        return next(self.hf.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(p.dtype for p in self.hf.parameters() if p.is_floating_point())

    @property
    def attends(self) -> bool:
        """Whether this model's attention runs through ours, so that q, k, v, scores and pattern exist."""
        return self.architecture.interface and hasattr(getattr(self.hf, "config", None), "_attn_implementation")

    def __repr__(self) -> str:
        d = self.dims
        return f"Model({self.name!r}, {d.n_layers} layers x {d.n_heads} heads, d_model {d.d_model}, {self.dtype})"

    # ── sites ────────────────────────────────────────────────────────────────────────────────────────

    def site(self, name: str | Site) -> Site:
        """The site of any known spelling, proved to exist on this model; see `offer.site` for the errors."""
        return offer.site(self, name)

    def sites(self, name: str | None = None) -> list[Site]:
        """Every whole site this model offers, in the order of computation, or only those called `name`."""
        return offer.every(self, name)

    def d_mlp_of(self, layer: int | None) -> int:
        """Hidden units of the MLP of a layer; layers of one model may differ."""
        down = None if layer is None else hooks.submodule(self.blocks[layer], self.architecture.down)
        features = getattr(down, "in_features", None)
        return self.dims.d_mlp if features is None else int(features)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────

    def tokens(
        self,
        prompt: Prompt,
        *,
        bos: bool | None = None,
        pad: Pad | None = None,
        chat_options: Mapping[str, Any] | None = None,
    ) -> Tokens:
        """`prompt` as tokens on this model's device; `tokens.tokenize` says what is accepted."""
        return tokens.tokenize(
            prompt,
            self.tokenizer,
            d_vocab=self.n_input,
            n_ctx=self.n_ctx,
            bos=bos,
            pad=pad,
            device=self.device,
            chat_options=chat_options,
        )

    @cached_property
    def n_input(self) -> int:
        """Rows of the token embedding: ids run below this."""
        embedding = required(self.hf, self.architecture.embed, "token embedding")
        return int(embedding.weight.shape[0])  # pyright: ignore[reportArgumentType, reportOptionalSubscript, reportIndexIssue]

    def token_label(self, token_id: int) -> str:
        """One id as text for people; ids beyond the tokenizer stay numbers."""
        return pieces.label(token_id, self.tokenizer)

    def single_token(self, text: str) -> int:
        """The id of a text that is exactly one token, else TokenError."""
        return pieces.single_token(text, self.tokenizer)

    def trace(
        self,
        prompt: Prompt,
        sites: Sequence[str | Site] = (),
        edits: Edits | None = None,
        *,
        logits: bool = True,
        grad: bool = False,
        watch: Callable[[Site, Tensor], None] | None = None,
        bos: bool | None = None,
        pad: Pad | None = None,
    ) -> Trace:
        """One forward pass: keeps `sites` and the logits, applies `edits`; nothing else is held.

        Args:
            prompt: text, texts, ids, a chat, chats or Tokens.
            sites: any spelling; 'resid_post.*' means every layer.
            edits: site -> intervention or list of them, applied in the stated order.
            logits: False ends the pass behind the last of `sites` and `edits`, which saves all that lies beyond.
            grad: keep values in the autograd graph.
            watch: called with each of `sites` and its value while the pass is under way; what it does is no part of it.
            bos: None as the tokenizer does, True exactly one, False none.
            pad: side on which shorter rows are padded; None is right, and leaves Tokens as they are.

        Raises:
            ArgumentError: neither sites nor logits are asked for.
            SiteError, UnavailableError, EditError, TokenError: nothing is ignored.
            Cancelled: the progress listener asked to stop; checked before every block.
        """
        wanted = offer.expand(self, sites)
        if not (wanted or logits):
            raise ArgumentError("a trace without sites and without logits holds nothing", "Name sites=[…].")
        prompt_tokens = self.tokens(prompt, bos=bos, pad=pad)
        placed = place(self.placed(edits), prompt_tokens)
        run = Run(self, frozenset(site.whole for site in wanted), placed, brief=not logits, watch=watch)
        with torch.set_grad_enabled(grad), running(run), suppress(Seen):
            run.values[Site("logits")] = forward.logits(self.hf(**self.inputs(prompt_tokens)))
        run.check_complete()
        return Trace(prompt_tokens, run.values, self.recipe(prompt_tokens, edits=run), self.site)

    def inputs(self, prompt: Tokens) -> dict[str, Any]:
        """Keyword arguments of the wrapped module's forward for a full pass without cache."""
        return forward.inputs(self.hf, prompt.ids, prompt.mask if prompt.padded else None, prompt.position_ids)

    @contextmanager
    def editing(self, edits: Edits) -> Generator[None]:
        """Applies `edits` to every forward of the wrapped module inside the block, whoever calls it, in this thread.

        Traces and generations inside the block apply them before their own. `at` with positions is refused: only
        `trace` and `generate` know where a prompt begins.

        Raises:
            UnavailableError: at the end of the block, if a forward ran in which an edited site did not occur.
        """
        run = Run(self, edits=place(self.placed(edits), None), lasting=True)
        with running(run):
            yield
        if run.fired:
            run.check_complete()

    def placed(self, edits: Edits | None) -> dict[Site, Any]:
        if edits is not None and not isinstance(edits, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise EditError(f"edits is a {type(edits).__name__}", "Pass {'L2H3': zero()}: functions by site.")
        placed: dict[Site, Any] = {}
        for name, functions in (edits or {}).items():
            for site in offer.expand(self, [name]):
                if site in placed:
                    raise SiteError(
                        f"{name!r} names {site}, which is edited already", "Give both functions in one list."
                    )
                placed[site] = functions
        return placed

    generate = generation.generate

    def unembed(
        self,
        stream: Float[Tensor, "... d_model"],
        *,
        norm: bool = True,
        tokens: Int64[Tensor, "... token"] | None = None,
    ) -> Float[Tensor, "... d_vocab"]:
        """Logits of a residual stream: final norm, unembedding, scale and softcap, by the model's own modules.

        Args:
            norm: without it the stream goes into the unembedding as it is.
            tokens: the only ones whose logits are computed, with the stream's leading axes or ones that broadcast.
        """
        if ("unembed", None) in self.unavailable:
            raise UnavailableError(f"{self.name} cannot be unembedded exactly: {self.unavailable['unembed', None]}")
        arch = self.architecture
        final = None if arch.final_norm is None or not norm else required(self.hf, arch.final_norm, "final norm")
        head = required(self.hf, arch.lm_head, "unembedding")
        with outside():  # a lens is no part of the run
            normed = stream if final is None else final(stream)
            logits = (head(normed) if tokens is None else self._some_logits(normed, tokens)) * arch.logit_multiplier
        return logits if arch.softcap is None else arch.softcap * torch.tanh(logits / arch.softcap)

    def _some_logits(self, normed: Float[Tensor, "... d_model"], tokens: Int64[Tensor, "... token"]) -> Tensor:
        if "W_U" not in self.weights:  # quantized, say
            logits = required(self.hf, self.architecture.lm_head, "unembedding")(normed)
            return logits.gather(-1, tokens.expand(*logits.shape[:-1], -1))
        logits = (self.weights["W_U"].T[tokens] @ normed[..., None])[..., 0]
        bias = self.weights.get("b_U")
        return logits if bias is None else logits + bias[tokens]

    def final_norm(self, stream: Float[Tensor, "... d_model"]) -> FrozenNorm:
        """The final norm with its statistics on `stream` frozen."""
        path = self.architecture.final_norm
        norm = None if path is None else required(self.hf, path, "final norm")
        return frozen(self.architecture, norm, stream)

    # ── what it is ───────────────────────────────────────────────────────────────────────────────────

    def recipe(self, prompt: Tokens | None = None, seed: int | None = None, edits: Run | None = None) -> "Recipe":
        """All that a result depends on: model, weights, tokenizer, dtype, attention, versions, seed, edits."""
        return identity.recipe(self, prompt, seed, edits)

    def summary(self) -> dict[str, Any]:
        """Type, sizes, norm, positions, block shape, attention, parameter counts and remarks."""
        return identity.summary(self)

    def remarks(self) -> list[str]:
        """What to know before the first number, such as a precision that is slow on this device; empty for most."""
        return identity.remarks(self)

    def layer_names(self) -> list[str]:
        """Module path of every block, in order."""
        prefix = self.architecture.layers
        names = [name for name, _ in required(self.hf, prefix, "list of blocks").named_children()]
        return [f"{prefix}.{name}" for name in names]

    def close(self) -> None:
        """Takes every hook away and gives the module its own attention implementation back."""
        self.plugs.close()
        if self.attends:
            self._set_attention(self._found_attention)

    def _set_attention(self, implementation: str) -> None:
        choose = getattr(self.hf, "set_attn_implementation", None)
        if choose is not None:
            choose(implementation)
        else:
            self.hf.config._attn_implementation = implementation  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
