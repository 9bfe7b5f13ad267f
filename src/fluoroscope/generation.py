"""Continuing a prompt one token at a time, watched and edited like any other forward pass.

Greedy by default; sampling goes through Hugging Face's own warpers. Edits act on absolute positions, so
a cached run, which sees each position once, and an uncached one, which sees it at every step, agree.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope import forward, offer, sampling
from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.progress import heard, report
from fluoroscope.run import Edits, Run, place, running
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt
    from fluoroscope.result import Recipe

Steps = str | int | Sequence[int] | range | slice
Callback = Callable[[int, "int | list[int]", Tensor], bool | None]
"""Called after each choice, which is recorded by then, with (step, token id or the ids of a batch, logits
[batch, d_vocab]); False stops. Stop tokens are looked at afterwards, so it sees them too."""


@dataclass(frozen=True)
class Generation:
    """What was generated, row by row.

    Attributes:
        prompt: as tokens, padded on the left.
        ids: generated ids of each row, the stop token included.
        log_probs: natural-log probability of each of them under the model's own distribution, before any warper.
        stopped: why each row ended: 'stop token', 'length' or 'callback'.
        texts: what each row's continuation adds to its decoded text; special tokens (a stop token, say) show nothing.
        options: the arguments that chose the tokens.
        trace: the sites asked for, over the prompt and every generated token that was fed back (all but the last).
            A row that ended early goes on in it until the last row ends, as it would have without its stop token.
    """

    prompt: Tokens
    ids: list[list[int]]
    log_probs: list[list[float]]
    stopped: list[str]
    texts: list[str]
    options: dict[str, Any]
    recipe: "Recipe"
    trace: Trace | None

    @property
    def text(self) -> str:
        """The continuation of the only row."""
        if len(self.texts) != 1:
            raise ArgumentError(f"{len(self.texts)} rows were generated", "Read .texts.")
        return self.texts[0]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the tensors, ready for JSON."""
        return {
            "prompt": ["".join(row) for row in self.prompt.pieces],
            "texts": self.texts,
            "ids": self.ids,
            "log_probs": self.log_probs,
            "stopped": self.stopped,
            "options": self.options,
            "recipe": self.recipe.model_dump(mode="json"),
        }


def generate(
    model: "Model",
    prompt: "Prompt",
    *,
    max_new_tokens: int = 50,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    stop_tokens: Sequence[int | str] | None = None,
    edits: Edits | None = None,
    edit_tokens: Steps = "all",
    sites: Sequence[str | Site] = (),
    callback: Callback | None = None,
    cache: bool = True,
    bos: bool | None = None,
) -> Generation:
    """Generates a continuation.

    Args:
        prompt: as for `Model.trace`; rows of unequal length are padded on the left.
        max_new_tokens: limit per row.
        temperature: 0 is greedy; otherwise logits are divided by it and sampled.
        top_k: keep the k likeliest tokens (0: all).
        top_p: keep the smallest set of tokens whose probability reaches p.
        seed: of the sampling; the same seed gives the same tokens.
        stop_tokens: ids, or texts of one token, that end a row; by default the model's end-of-sequence ids.
        edits: as for `Model.trace`; positions of `at` count on into the generated tokens, negative ones from the
            end of the prompt. A function sees the positions of one pass: where what it does at one of them depends
            on the others (seeded noise does), cached and uncached differ.
        edit_tokens: where edits act: 'all', 'prompt', 'generated', or steps (int, list, range, slice), where
            step 0 is the pass over the prompt and step k the pass over the k-th generated token.
        sites: kept over all positions, in the same passes.
        callback: sees every step and may stop it; the token it stopped at is kept.
        cache: reuse keys and values. False recomputes everything at each step and gives the same tokens.
        bos: as for `Model.trace`.

    Raises:
        TokenError: prompt and new tokens do not fit the context.
        ArgumentError: a sampling parameter outside of its range, a stop token that is none, steps that will not
            happen, or a callback that is no function.
        UnavailableError: a step whose logits hold NaN.
    """
    tokens = model.tokens(prompt, bos=bos, pad="left")
    _check(model, tokens, max_new_tokens)
    sampling.check(temperature, top_k, top_p)
    gate = _gate(edit_tokens, tokens.ids.shape[1], max_new_tokens)
    if callback is not None and not callable(callback):
        raise ArgumentError(f"callback={callback!r} cannot be called", "Give a function of (step, token id, logits).")
    placed = place(model.placed(edits), tokens, gate, room=max_new_tokens - 1)
    loop = _Loop(model, tokens, frozenset(site.whole for site in offer.expand(model, sites)), placed, cache)
    choose = sampling.chooser(temperature, top_k, top_p, torch.Generator(model.device).manual_seed(seed))
    rows = _Rows(len(tokens), sampling.stops(model, stop_tokens))
    _continue(loop, rows, choose, callback, max_new_tokens)
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop_tokens": sorted(rows.stops), "cache": cache}
    options |= {"temperature": temperature, "top_k": top_k, "top_p": top_p, "edit_tokens": str(edit_tokens)}
    recipe = model.recipe(tokens, seed=None if temperature == 0 else seed, edits=loop.last)
    texts = [_text(model, tokens.row(row).ids[0].tolist(), ids) for row, ids in enumerate(rows.ids)]
    return Generation(tokens, rows.ids, rows.log_probs, rows.stopped, texts, options, recipe, loop.trace(recipe))


def _continue(
    loop: "_Loop", rows: "_Rows", choose: sampling.Choose, callback: Callback | None, max_new_tokens: int
) -> None:
    """One pass over the prompt, then one a token, for which only what they look into has hooks."""
    with ExitStack() as spared:
        for step in range(max_new_tokens):
            report("generate", step, max_new_tokens)
            logits = loop.step(spared=step > 0)
            if bool(logits.sum().isnan()) and bool(logits.isnan().any()):  # the sum costs a tenth of looking at each
                raise UnavailableError(
                    f"the logits of step {step} hold NaN: no token is likeliest", "Look at the edits."
                )
            chosen = choose(logits)
            rows.take(chosen, logits)
            told = chosen.tolist()
            if callback is not None and callback(step, told[0] if len(told) == 1 else told, logits) is False:
                rows.stop("callback")
            if rows.done:
                break
            loop.append(chosen)
            if step == 0 and not heard():  # a listener is told of every block
                spared.enter_context(loop.model.plugs.spared(loop.last.parts))
    rows.stop("length")


def _check(model: "Model", tokens: Tokens, new: int) -> None:
    length = tokens.ids.shape[1]
    if isinstance(new, bool) or not isinstance(new, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"max_new_tokens={new!r} is no integer", "Give a number of tokens, such as 50.")
    if new < 1:
        raise ArgumentError(f"max_new_tokens={new} generates nothing", "Give at least 1.")
    if model.n_ctx is not None and length + new - 1 > model.n_ctx:
        raise TokenError(
            f"{length} prompt tokens and {new} new ones do not fit the context of {model.n_ctx}",
            f"At most {max(0, model.n_ctx - length + 1)} can follow this prompt.",
        )


def _gate(steps: Steps, prompt_length: int, n_steps: int) -> Callable[[int], bool] | None:
    """Whether edits act at a slot; slots below the prompt's length belong to step 0."""
    if isinstance(steps, str):
        named = {"all": range(n_steps), "prompt": range(1), "generated": range(1, n_steps)}
        if steps not in named:
            raise ArgumentError(f"edit_tokens={steps!r} is unknown", "Known: all, prompt, generated, or step numbers.")
        if steps == "all":
            return None
        chosen = frozenset(named[steps])
    elif isinstance(steps, slice):
        if min(steps.start or 0, steps.stop or 0, (steps.step or 1) - 1) < 0:
            raise ArgumentError(f"edit_tokens={steps} counts from an end that is not known", "Use steps from 0 up.")
        chosen = frozenset(range(n_steps)[steps])
    else:
        chosen = frozenset([steps] if isinstance(steps, int) else steps)
    if not chosen or not chosen <= frozenset(range(n_steps)):
        raise ArgumentError(
            f"edit_tokens={steps!r} with max_new_tokens={n_steps}: the steps are 0 … {n_steps - 1}",
            "Step 0 is the pass over the prompt, step k the one over the k-th new token; the last token is not fed.",
        )
    return lambda slot: max(0, slot - prompt_length + 1) in chosen


class _Loop:
    """The forward passes of a generation: one over the prompt, then one per token (or over everything again)."""

    def __init__(self, model: "Model", tokens: Tokens, wanted: frozenset[Site], edits: list[Any], cache: bool) -> None:
        self.model, self.tokens, self.wanted, self.edits, self.cache = model, tokens, wanted, edits, cache
        self.ids, self.mask = tokens.ids, tokens.mask
        self.past: Any = None
        self.fed = 0
        self.passes: list[dict[Site, Tensor]] = []
        self.last = Run(model, wanted, edits)

    def step(self, *, spared: bool) -> Float[Tensor, "batch d_vocab"]:
        start = self.fed if self.cache else 0
        mask = self.mask if self.tokens.padded else None
        positions = None if mask is None else (mask.long().cumsum(1) - 1).clamp_min(0)[:, start:]
        more: dict[str, Any] = {"use_cache": self.cache, "past_key_values": self.past} if self.cache else {}
        if not self.wanted:
            more["logits_to_keep"] = 1
        again = spared and self.last.spared and self.last.outer is None
        run = self.last.again(start) if again else Run(self.model, self.wanted, self.edits, start=start, spared=spared)
        with torch.no_grad(), running(run):
            output = self.model.hf(**forward.inputs(self.model.hf, self.ids[:, start:], mask, positions, **more))
            run.check_complete()
        logits = forward.logits(output)
        if self.wanted:
            kept = {**run.values, Site("logits"): logits}
            self.passes = [*self.passes, kept] if self.cache else [kept]
        if self.cache:
            self.past = getattr(output, "past_key_values", None)
            if self.past is None:
                raise ArgumentError(f"{self.model.name} returns no cache", "Pass cache=False.")
        self.fed, self.last = self.ids.shape[1], run
        return logits[:, -1].float()

    def append(self, chosen: Int[Tensor, "batch"]) -> None:
        self.ids = torch.cat([self.ids, chosen[:, None]], 1)
        if self.tokens.padded:
            self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)

    def trace(self, recipe: "Recipe") -> Trace | None:
        """All passes joined along positions."""
        if not self.wanted:
            return None
        joined = {site: _join([kept[site] for kept in self.passes], site) for site in self.passes[0]}
        ids = self.ids[:, : self.fed]
        mask = self.mask[:, : self.fed] if self.tokens.padded else torch.ones_like(ids, dtype=torch.bool)
        tokens = replace(self.tokens, ids=ids, mask=mask)
        return Trace(tokens, joined, recipe, self.model.site)


def _join(values: list[Tensor], site: Site) -> Tensor:
    """Joins passes along positions; keys that came later than a pass are masked ones in it."""
    if "key" in site.kind.axes:
        masked = torch.finfo(values[0].dtype).min if site.name == "scores" else 0.0
        width = values[-1].shape[-1]
        values = [torch.nn.functional.pad(value, (0, width - value.shape[-1]), value=masked) for value in values]
    return torch.cat(values, site.kind.position_axis)


class _Rows:
    """What each row has generated so far, and why it ended."""

    def __init__(self, batch: int, stops: frozenset[int]) -> None:
        self.stops = stops
        self.ids: list[list[int]] = [[] for _ in range(batch)]
        self.log_probs: list[list[float]] = [[] for _ in range(batch)]
        self.stopped = [""] * batch

    @property
    def done(self) -> bool:
        return all(self.stopped)

    def take(self, chosen: Int[Tensor, "batch"], logits: Float[Tensor, "batch d_vocab"]) -> None:
        log_probs = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0].tolist()
        for row, (token, log_prob) in enumerate(zip(chosen.tolist(), log_probs, strict=True)):
            if self.stopped[row]:
                continue
            self.ids[row].append(token)
            self.log_probs[row].append(log_prob)
            if token in self.stops:
                self.stopped[row] = "stop token"

    def stop(self, why: str) -> None:
        self.stopped = [reason or why for reason in self.stopped]


def _text(model: "Model", prompt: list[int], new: list[int]) -> str:
    """What the new ids add to the text of the whole row, special tokens left out of both.

    Decoded alone they may read otherwise: SentencePiece drops the first space of a text, and a character may have
    begun in the prompt (it then counts to what was generated).
    """
    if model.tokenizer is None:
        return ""
    before, whole = (
        str(model.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
        for ids in (prompt, prompt + new)
    )
    return whole[len(commonprefix([before, whole])) :]  # noqa: RUF071 — characters are what is wanted
