"""Continuing a prompt one token at a time, watched and edited like any other forward pass.

Greedy by default; sampling goes through Hugging Face's own warpers. Edits act on absolute positions, so
a cached run, which sees each position once, and an uncached one, which sees it at every step, agree.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope import forward, offer
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.progress import report
from fluoroscope.run import Edits, Run, place, running
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model, Prompt
    from fluoroscope.result import Recipe

Steps = str | int | Sequence[int] | range | slice
Callback = Callable[[int, "int | list[int]", Tensor], bool | None]
"""Called after each choice with (step, token id, or ids of a batch, logits [batch, d_vocab]); False stops."""


@dataclass(frozen=True)
class Generation:
    """What was generated, row by row.

    Attributes:
        prompt: as tokens, padded on the left.
        ids: generated ids of each row, the stop token included.
        log_probs: natural-log probability of each of them under the model's own distribution, before any warper.
        stopped: why each row ended: 'stop token', 'length' or 'callback'.
        texts: decoded continuation of each row, without the prompt.
        trace: the sites asked for, over the prompt and every generated token that was fed back (all but the last).
    """

    prompt: Tokens
    ids: list[list[int]]
    log_probs: list[list[float]]
    stopped: list[str]
    texts: list[str]
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
    stop_tokens: Sequence[int] | None = None,
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
        stop_tokens: ids that end a row; by default the model's end-of-sequence ids.
        edits: site -> interventions, as for `Model.trace`; positions are absolute.
        edit_tokens: where edits act: 'all', 'prompt', 'generated', or steps (int, list, range, slice), where
            step 0 is the pass over the prompt and step k the pass over the k-th generated token.
        sites: kept over all positions, in the same passes.
        callback: sees every step and may stop it; the token it stopped at is kept.
        cache: reuse keys and values. False recomputes everything at each step and gives the same tokens.

    Raises:
        TokenError: prompt and new tokens do not fit the context.
        ArgumentError: a sampling parameter outside of its range.
    """
    tokens = model.tokens(prompt, bos=bos, pad="left")
    _check(model, tokens, max_new_tokens, temperature, top_p, top_k)
    gate = _gate(edit_tokens, tokens.ids.shape[1])
    placed = place(model.placed(edits), tokens, gate, generating=True)
    loop = _Loop(model, tokens, frozenset(site.whole for site in offer.expand(model, sites)), placed, cache)
    choose = _chooser(temperature, top_k, top_p, torch.Generator(model.device).manual_seed(seed))
    stops = frozenset(_stop_tokens(model) if stop_tokens is None else stop_tokens)
    rows = _Rows(len(tokens.ids), stops)
    for step in range(max_new_tokens):
        report("generate", step, max_new_tokens)
        logits = loop.step()
        chosen = choose(logits)
        rows.take(chosen, logits)
        told = chosen.tolist()
        if callback is not None and callback(step, told[0] if len(told) == 1 else told, logits) is False:
            rows.stop("callback")
        if rows.done:
            break
        loop.append(chosen)
    rows.stop("length")
    recipe = model.recipe(tokens, seed=None if temperature == 0 else seed, edits=loop.last)
    texts = [_decode(model, ids) for ids in rows.ids]
    return Generation(tokens, rows.ids, rows.log_probs, rows.stopped, texts, recipe, loop.trace(recipe))


def _check(model: "Model", tokens: Tokens, new: int, temperature: float, top_p: float, top_k: int) -> None:
    length = tokens.ids.shape[1]
    if new < 1:
        raise ArgumentError(f"max_new_tokens={new} generates nothing", "Give at least 1.")
    if model.n_ctx is not None and length + new - 1 > model.n_ctx:
        raise TokenError(
            f"{length} prompt tokens and {new} new ones do not fit the context of {model.n_ctx}",
            f"At most {max(0, model.n_ctx - length + 1)} can follow this prompt.",
        )
    if temperature < 0 or not 0 < top_p <= 1 or top_k < 0:
        raise ArgumentError(
            f"temperature={temperature}, top_p={top_p}, top_k={top_k}",
            "temperature and top_k are 0 or more, top_p is above 0 and at most 1.",
        )


def _gate(steps: Steps, prompt_length: int) -> Callable[[int], bool] | None:
    """Whether edits act at a slot. Slots below the prompt's length belong to step 0."""
    if isinstance(steps, str):
        named: dict[str, Callable[[int], bool] | None] = {
            "all": None,
            "prompt": lambda slot: slot < prompt_length,
            "generated": lambda slot: slot >= prompt_length,
        }
        if steps not in named:
            raise ArgumentError(f"edit_tokens={steps!r} is unknown", "Known: all, prompt, generated, or step numbers.")
        return named[steps]

    def step(slot: int) -> int:
        return max(0, slot - prompt_length + 1)

    if isinstance(steps, slice):
        if (steps.start or 0) < 0 or (steps.stop or 0) < 0 or (steps.step or 1) < 1:
            raise ArgumentError(f"edit_tokens={steps} counts from an end that is not known", "Use steps from 0 up.")
        limits = range(steps.start or 0, 1 << 30 if steps.stop is None else steps.stop, steps.step or 1)
        return lambda slot: step(slot) in limits
    chosen = frozenset([steps] if isinstance(steps, int) else steps)
    if any(number < 0 for number in chosen):
        raise ArgumentError(f"edit_tokens={steps} counts from an end that is not known", "Use steps from 0 up.")
    return lambda slot: step(slot) in chosen


class _Loop:
    """The forward passes of a generation: one over the prompt, then one per token (or over everything again)."""

    def __init__(self, model: "Model", tokens: Tokens, wanted: frozenset[Site], edits: list[Any], cache: bool) -> None:
        self.model, self.tokens, self.wanted, self.edits, self.cache = model, tokens, wanted, edits, cache
        self.ids, self.mask = tokens.ids, tokens.mask
        self.past: Any = None
        self.fed = 0
        self.passes: list[dict[Site, Tensor]] = []
        self.last = Run(model, wanted, edits)

    def step(self) -> Float[Tensor, "batch d_vocab"]:
        start = self.fed if self.cache else 0
        positions = (self.mask.long().cumsum(1) - 1).clamp_min(0)[:, start:]
        mask = self.mask if self.tokens.padded else None
        more: dict[str, Any] = {"use_cache": self.cache, "past_key_values": self.past} if self.cache else {}
        if not self.wanted:
            more["logits_to_keep"] = 1
        run = Run(self.model, self.wanted, self.edits, start=start)
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
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], 1)

    def trace(self, recipe: "Recipe") -> Trace | None:
        """All passes joined along positions."""
        if not self.wanted:
            return None
        joined = {site: _join([kept[site] for kept in self.passes], site) for site in self.passes[0]}
        logits = joined.pop(Site("logits"))
        tokens = replace(self.tokens, ids=self.ids[:, : self.fed], mask=self.mask[:, : self.fed])
        return Trace(tokens, joined, logits, recipe, self.model.site)


def _join(values: list[Tensor], site: Site) -> Tensor:
    """Joins passes. Keys that a pass did not see, for they came later or had left the window, are masked ones."""
    axis = site.kind.position_axis
    if "key" in site.kind.axes:
        ends = list(accumulate(value.shape[axis] for value in values))
        masked = torch.finfo(values[0].dtype).min if site.name == "scores" else 0.0
        values = [
            torch.nn.functional.pad(value, (end - value.shape[-1], ends[-1] - end), value=masked)
            for value, end in zip(values, ends, strict=True)
        ]
    return torch.cat(values, axis)


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


def _chooser(
    temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> Callable[[Float[Tensor, "batch d_vocab"]], Int[Tensor, "batch"]]:
    """Greedy, or sampling through Hugging Face's warpers in its own order."""
    if temperature == 0:
        return lambda logits: logits.argmax(-1)
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    warpers: list[Any] = [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []

    def choose(logits: Tensor) -> Tensor:
        for warper in warpers:
            logits = warper(None, logits)
        return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]

    return choose


def _stop_tokens(model: "Model") -> Iterable[int]:
    """End-of-sequence ids as Hugging Face finds them: generation config, then config, then tokenizer."""
    sources = (getattr(model.hf, "generation_config", None), getattr(model.hf, "config", None), model.tokenizer)
    for source in sources:
        found = getattr(source, "eos_token_id", None)
        if found is not None:
            return [found] if isinstance(found, int) else found
    return []


def _decode(model: "Model", ids: list[int]) -> str:
    return "" if model.tokenizer is None else str(model.tokenizer.decode(ids, skip_special_tokens=True))
