"""Generation against Hugging Face's own, cached against uncached, and every edit against forwards written out."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import getdoc, signature
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from architectures.common import ids, model, plain, relative
from architectures.zoo import build
from fluoroscope import generation, sampling
from fluoroscope import interventions as iv
from fluoroscope.errors import (
    ArgumentError,
    Cancelled,
    EditError,
    FluoroscopeError,
    SiteError,
    TokenError,
    UnavailableError,
)
from fluoroscope.generation import Generation
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.progress import listening
from fluoroscope.sites import Site
from tokenizer_kinds import TEXTS, every_tokenizer, tokenizer_of

HF_CASES = ["gpt2", "llama", "mistral", "gemma2", "falcon", "bloom", "deepseek_v3", "qwen3_moe", "granite", "gpt_oss"]
HF_CASES += ["opt", "gpt_neo", "qwen3_next"]
WATCHED = ["gpt2", "llama", "mistral", "gemma2", "gpt_oss", "deepseek_v3", "falcon", "cohere2"]
"""Full attention, windows of 4, windows and full in turns, sinks, latent attention, attention of its own."""


def prompts(batch: int) -> list[list[int]]:
    """Nine tokens, more than two windows, and shorter ones: 9 or 9, 1, 5."""
    return [row[:length] for row, length in zip(ids(batch), [9, 1, 5], strict=False)]


def hugging_face(case: str, prompt: list[list[int]], **options: Any) -> Any:
    """`generate` of the module without us, padded on the left."""
    width = max(len(row) for row in prompt)
    padded = torch.tensor([[0] * (width - len(row)) + row for row in prompt])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompt])
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": 1000}
    settings |= {"return_dict_in_generate": True, "output_scores": True, **options}
    return plain(case).generate(padded, attention_mask=mask, **settings)


def generated_ids(output: Any, prompt: list[list[int]]) -> list[list[int]]:
    return output.sequences[:, max(len(row) for row in prompt) :].tolist()


def with_logits(found: Model, prompt: Any, **options: Any) -> tuple[Generation, Tensor]:
    """A generation and the logits of every step, [step, batch, d_vocab]."""
    steps: list[Tensor] = []
    options = {"max_new_tokens": 8, "stop_tokens": [], **options}
    done = found.generate(prompt, callback=lambda _step, _token, logits: steps.append(logits), **options)
    return done, torch.stack(steps)


# ── Hugging Face's generate ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", HF_CASES)
def test_greedy_is_hugging_faces(case: str, batch: int) -> None:
    expected = hugging_face(case, prompts(batch))
    done, logits = with_logits(model(case), prompts(batch))
    assert done.ids == generated_ids(expected, prompts(batch))
    assert relative(logits, torch.stack(expected.scores)) < 1e-6
    assert done.stopped == ["length"] * batch


SAMPLING = [
    {"temperature": 1.0, "top_k": 0, "top_p": 1.0},
    {"temperature": 0.7, "top_k": 0, "top_p": 1.0},
    {"temperature": 1.3, "top_k": 5, "top_p": 1.0},
    {"temperature": 1.0, "top_k": 0, "top_p": 0.6},
    {"temperature": 0.9, "top_k": 10, "top_p": 0.8},
    {"temperature": 2.0, "top_k": 200, "top_p": 0.05},
]


@contextmanager
def drawn_from(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Collects the probabilities that `torch.multinomial` is given."""
    seen: list[Tensor] = []
    original = torch.multinomial

    def watched(probabilities: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(probabilities.clone())
        return original(probabilities, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "multinomial", watched)
        yield seen


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("options", SAMPLING, ids=str)
@pytest.mark.parametrize("case", ["gpt2", "mistral"])
def test_sampling_is_hugging_faces_token_by_token(
    case: str, options: dict[str, Any], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same warped probabilities to the bit, and the same tokens from the same stream of random numbers."""
    plain(case)  # building it draws random numbers
    with drawn_from(monkeypatch) as theirs, torch.random.fork_rng():
        torch.manual_seed(11)
        expected = hugging_face(case, prompts(batch), do_sample=True, **options)
    with drawn_from(monkeypatch) as ours:
        done = model(case).generate(prompts(batch), max_new_tokens=8, stop_tokens=[], seed=11, **options)
    assert done.ids == generated_ids(expected, prompts(batch))
    assert len(ours) == 8
    if batch == 1:  # where rows are padded we pass the positions, they count them: the same numbers, other rounding
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
    assert all(torch.allclose(mine, other, atol=1e-6) for mine, other in zip(ours, theirs, strict=True))
    assert done.recipe.seed == 11


def test_seeds_decide_and_the_global_generator_does_not() -> None:
    found = model("gpt2")
    state = torch.get_rng_state()

    def tokens(seed: int) -> list[list[int]]:
        return found.generate(prompts(1), max_new_tokens=20, temperature=1.5, seed=seed, stop_tokens=[]).ids

    first = tokens(1)
    torch.rand(3)
    assert tokens(1) == first
    assert tokens(2) != first
    torch.set_rng_state(state)
    tokens(3)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.generate(prompts(1), max_new_tokens=2).recipe.seed is None


# ── the choice of a token ────────────────────────────────────────────────────────────────────────────


def warped(probabilities: list[float], monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[float]:
    """The probabilities that a token is drawn from."""
    choose = sampling.chooser(**({"temperature": 1.0, "top_k": 0, "top_p": 1.0} | options), generator=torch.Generator())
    with drawn_from(monkeypatch) as seen:
        choose(torch.tensor([probabilities]).log())
    return seen[0][0].tolist()


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [(0.3, 1), (0.39, 1), (0.41, 2), (0.7, 2), (0.74, 2), (0.76, 3), (0.94, 3), (0.96, 4), (0.05, 1), (1.0, 4)],
)
def test_nucleus_is_the_smallest_set_that_reaches_p(top_p: float, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that crosses p is in; a first token above p alone is the whole set."""
    probabilities = [0.4, 0.35, 0.2, 0.05]
    total = sum(probabilities[:kept])
    expected = [p / total if rank < kept else 0.0 for rank, p in enumerate(probabilities)]
    assert warped(probabilities, monkeypatch, top_p=top_p) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    weights=st.lists(st.integers(1, 1000), min_size=2, max_size=12, unique=True),
    top_p=st.floats(0.02, 0.98),
)
def test_nucleus_of_any_distribution(weights: list[int], top_p: float) -> None:
    p = [weight / sum(weights) for weight in weights]
    with pytest.MonkeyPatch.context() as patch:
        kept = [number for number, value in enumerate(warped(p, patch, top_p=top_p)) if value > 0]
    mass = sum(p[number] for number in kept)
    least = min(p[number] for number in kept)
    assert all(p[number] >= least for number in kept)
    assert all(value <= least for number, value in enumerate(p) if number not in kept)
    assert mass >= top_p - 1e-6
    assert mass - least < top_p + 1e-6


def test_top_k_and_temperature_in_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    p = [0.4, 0.05, 0.35, 0.2]
    assert warped(p, monkeypatch, top_k=2) == pytest.approx([0.4 / 0.75, 0, 0.35 / 0.75, 0])
    squared = [value**2 for value in p]
    assert warped(p, monkeypatch, temperature=0.5) == pytest.approx([value / sum(squared) for value in squared])
    assert warped(p, monkeypatch, temperature=2) == pytest.approx(
        [value**0.5 / sum(v**0.5 for v in p) for value in p], rel=1e-5
    )
    choose = sampling.chooser(1.0, 0, 0.7, torch.Generator().manual_seed(0))
    drawn = torch.cat([choose(torch.tensor([p]).log().expand(1000, -1)) for _ in range(10)])
    counts = drawn.bincount(minlength=4) / 10_000
    assert counts.tolist() == pytest.approx([0.4 / 0.75, 0, 0.35 / 0.75, 0], abs=0.02)


BAD_NUMBERS: list[dict[str, Any]] = [
    {"temperature": -0.1}, {"temperature": float("nan")}, {"temperature": float("inf")}, {"top_p": 0.0},
    {"top_p": 1.01}, {"top_p": float("nan")}, {"top_k": -1}, {"max_new_tokens": 0}, {"max_new_tokens": -3},
    {"edit_tokens": "prompts"}, {"edit_tokens": -1}, {"edit_tokens": [0, -1]}, {"edit_tokens": 8},
    {"edit_tokens": [1, 8]}, {"edit_tokens": range(9)}, {"edit_tokens": slice(-2, None)}, {"edit_tokens": []},
    {"edit_tokens": slice(None, -1)}, {"edit_tokens": slice(8, 12)}, {"edit_tokens": slice(None, None, -1)},
]  # fmt: skip


@pytest.mark.parametrize("options", BAD_NUMBERS, ids=str)
def test_parameters_out_of_range_are_refused_before_anything_runs(options: dict[str, Any]) -> None:
    found = model("gpt2")
    with pytest.raises(ArgumentError), listening(lambda *_: pytest.fail("it ran")):
        found.generate(prompts(1), **({"max_new_tokens": 8} | options))


def test_what_it_does_not_know_is_refused() -> None:
    found = model("gpt2")
    with pytest.raises(TypeError, match="max_length"):
        found.generate(prompts(1), max_length=5)
    with pytest.raises(SiteError, match="Did you mean"):
        found.generate(prompts(1), sites=["resid_posst.1"])
    with pytest.raises(SiteError):
        found.generate(prompts(1), edits={"layers.99.mlp": iv.zero()})
    with pytest.raises(EditError, match="read-only"):
        found.generate(prompts(1), edits={"head_out.1": iv.zero()})
    with pytest.raises(TokenError, match="needs a tokenizer"):
        found.generate("text")


def test_the_method_shows_and_explains_every_option() -> None:
    shown = signature(model("gpt2").generate).parameters
    assert {"max_new_tokens", "temperature", "edits", "sites", "cache", "bos"} < set(shown)
    assert all(option.kind in (option.POSITIONAL_OR_KEYWORD, option.KEYWORD_ONLY) for option in shown.values())
    assert all(f"    {name}: " in (getdoc(Model.generate) or "") for name in shown)


def test_the_context_is_not_overrun() -> None:
    found = model("gpt2")  # reads 64 tokens
    prompt = (ids(1)[0] * 5)[:60]
    assert len(found.generate(prompt, max_new_tokens=5, stop_tokens=[]).ids[0]) == 5  # the fifth is not fed
    with pytest.raises(TokenError, match=r"60 prompt tokens and 6 new ones do not fit the context of 64\. At most 5"):
        found.generate(prompt, max_new_tokens=6)


# ── cached and uncached ──────────────────────────────────────────────────────────────────────────────


def halved_first_key(pattern: Tensor) -> Tensor:
    """Looks the key up by its slot: a window's cache must not shift it."""
    pattern = pattern.clone()
    pattern[..., 0] = pattern[..., 0] * 0.5
    return pattern


def barred(scores: Tensor) -> Tensor:
    """No attention to slot 5, which is never all that a query of these prompts can see."""
    scores = scores.clone()
    scores[..., 5:6] = torch.finfo(scores.dtype).min
    return scores


VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(0))
EDITS: dict[str, dict[str, Any]] = {
    "none": {},
    "resid": {"resid_pre.1": iv.add(VECTOR)},
    "head": {"z.1.2": iv.zero(), "z.0.1": iv.scale(2.0)},
    "mlp and neuron": {"mlp_out.0": iv.scale(-1.0), "neurons.1.7": iv.replace(3.0)},
    "resid_mid": {"resid_mid.1": iv.scale(1.5)},
    "k": {"k.1": iv.scale(2.0), "k.0.1": lambda x: x.flip(-1)},
    "v": {"v.1": iv.add(0.5), "v.2.0": iv.zero()},
    "q": {"q.1": iv.scale(-1.0)},
    "pattern": {"pattern.1": iv.scale(0.5), "pattern.0.2": iv.zero(), "pattern.2": halved_first_key},
    "scores": {"scores.1": iv.scale(0.5), "scores.0": barred},
    "last prompt token": {"resid_pre.1": iv.at(iv.zero(), -1)},
    "an early token everywhere": {site: iv.at(iv.scale(0.3), 3) for site in ("k.1", "v.1", "resid_post.0", "z.2.1")},
    "tokens on both sides": {"resid_pre.1": iv.at(iv.add(VECTOR), [0, 9, 12]), "k.1": iv.at(iv.scale(2.0), [0, 10])},
    "open slice": {"resid_pre.1": iv.at(iv.scale(0.5), slice(-1, None)), "v.1": iv.at(iv.zero(), slice(9, None))},
    "range": {"mlp_out.1": iv.at(iv.scale(3.0), range(7, 14)), "pattern.1.1": iv.at(iv.zero(), range(9, 11))},
    "logits": {"logits": iv.add(torch.arange(97) / 30)},
    "logits of one step": {"logits": iv.at(iv.scale(-1.0), [8, 11])},
    "list": {"resid_pre.1": [iv.scale(2.0), iv.at(iv.add(VECTOR), -1), iv.compose(iv.clamp(-2.0, 2.0))]},
}


def offered(found: Model, edits: dict[str, Any]) -> dict[str, Any]:
    """Those of `edits` that the family has sites for."""
    return {name: function for name, function in edits.items() if name in offers(found)}


def offers(found: Model) -> set[str]:
    sites = found.sites()
    units = {"z": 4, "pattern": 4, "scores": 4, "q": 4, "k": found.n_kv_heads, "v": found.n_kv_heads, "neurons": 20}
    return {str(site) for site in sites} | {f"{s}.{u}" for s in sites for u in range(units.get(s.name, 0))}


@functools.cache
def unedited(case: str) -> Tensor:
    return with_logits(model(case), prompts(1))[1]


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("case", WATCHED)
def test_cached_equals_uncached(case: str, name: str) -> None:
    found = model(case)
    edits = offered(found, EDITS[name])
    if name != "none" and not edits:
        pytest.skip(f"{case} has none of these sites")
    (cached, steps), (_, again) = (with_logits(found, prompts(1), edits=edits, cache=cache) for cache in (True, False))
    assert relative(steps, again) < 2e-5
    assert torch.equal(steps, unedited(case)) == (name == "none")
    assert cached.recipe.edits == tuple(cached.recipe.edits)
    assert bool(cached.recipe.edits) == (name != "none")


@pytest.mark.parametrize("name", ["none", "resid", "k", "v", "last prompt token", "list", "head", "logits"])
@pytest.mark.parametrize("case", WATCHED)
def test_padded_batch_generates_what_single_prompts_do(case: str, name: str) -> None:
    found = model(case)
    edits = offered(found, EDITS[name])
    together = with_logits(found, prompts(3), edits=edits)
    for row, prompt in enumerate(prompts(3)):
        alone = with_logits(found, prompt, edits=edits)
        assert relative(together[1][:, row], alone[1][:, 0]) < 2e-5
        assert together[0].ids[row] == alone[0].ids[0]


def test_a_window_that_let_a_key_go_does_not_pretend_to_have_it() -> None:
    found = model("mistral")
    look_back = {"pattern.1": iv.replace(0.1)}
    assert found.generate(prompts(1), max_new_tokens=3, edits=look_back, cache=False).ids[0]
    with pytest.raises(EditError, match=r"keys that have left the cache\. Pass cache=False"):
        found.generate(prompts(1), max_new_tokens=3, edits=look_back)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("case", ["mistral", "gemma2"])
def test_pattern_edits_see_one_key_per_slot(case: str, cache: bool) -> None:
    shapes: list[tuple[int, ...]] = []
    edits = {"pattern.0": lambda p: shapes.append(tuple(p.shape)) or p, "scores.0": lambda s: s}
    model(case).generate(prompts(1), max_new_tokens=4, edits=edits, cache=cache, stop_tokens=[])
    queries = [9, 1, 1, 1] if cache else [9, 10, 11, 12]
    assert shapes == [(1, 4, query, key) for query, key in zip(queries, [9, 10, 11, 12], strict=True)]


# ── where edits act ──────────────────────────────────────────────────────────────────────────────────

STEPS: list[tuple[Any, set[int]]] = [
    ("all", set(range(8))), ("prompt", {0}), ("generated", set(range(1, 8))), (0, {0}), (1, {1}), (7, {7}),
    ([0, 2], {0, 2}), (range(1, 4), {1, 2, 3}), (slice(2, None), set(range(2, 8))), (slice(None, 2), {0, 1}),
    (slice(1, 100, 3), {1, 4, 7}), ((3,), {3}),
]  # fmt: skip


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize(("edit_tokens", "steps"), STEPS, ids=[str(steps) for steps, _ in STEPS])
@pytest.mark.parametrize("length", [1, 9])
def test_edit_tokens_against_forwards_written_out(length: int, edit_tokens: Any, steps: set[int], cache: bool) -> None:
    """Each step by one trace over everything so far, edited at exactly the tokens that the steps have fed."""
    found = model("mistral")
    prompt = ids(1)[0][:length]
    functions: dict[str, iv.Intervention] = {"resid_pre.1": iv.add(3 * VECTOR), "k.1": iv.scale(1.5)}
    done, logits = with_logits(found, prompt, edits=functions, edit_tokens=edit_tokens, cache=cache)
    so_far = list(prompt)
    for step in range(8):
        fed = [token for token in range(len(so_far)) if max(0, token - length + 1) in steps]
        edits = {site: iv.at(function, fed) for site, function in functions.items()} if fed else None
        expected = found.trace(so_far, edits=edits).logits[0, -1]
        assert relative(logits[step, 0], expected) < 2e-5
        so_far.append(done.ids[0][step])
    assert done.options["edit_tokens"] == str(edit_tokens)


@pytest.mark.parametrize("edit_tokens", ["prompt", "generated", 1])
def test_logits_edits_follow_the_steps_too(edit_tokens: Any) -> None:
    """Logits of step k are those after its last token; the module gives only these."""
    found = model("llama")
    clean = with_logits(found, prompts(1), edits={"logits": iv.scale(1.0)})[1]
    step = {"prompt": 0, 1: 1}.get(edit_tokens)
    for cache in (True, False):
        # Adding one number to all logits changes no choice.
        edited = with_logits(found, prompts(1), edits={"logits": iv.add(5.0)}, edit_tokens=edit_tokens, cache=cache)[1]
        changed = [bool(((mine - other).abs() > 4).all()) for mine, other in zip(edited, clean, strict=True)]
        assert changed == ([False] + [True] * 7 if step is None else [number == step for number in range(8)])


@pytest.mark.parametrize("positions", [16, [0, 17], -10, range(10, 17), slice(0, 17)])
def test_positions_that_will_not_come_are_refused(positions: Any) -> None:
    """Nine prompt tokens and eight new ones, of which seven are fed: the last position is 15."""
    found = model("gpt2")
    with pytest.raises(TokenError, match="at most 7 tokens follow"):
        found.generate(prompts(1), max_new_tokens=8, edits={"resid_pre.1": iv.at(iv.zero(), positions)})
    last = with_logits(found, prompts(1), edits={"resid_pre.1": iv.at(iv.zero(), 15)})[1]
    clean = with_logits(found, prompts(1))[1]
    assert [torch.equal(a, b) for a, b in zip(last, clean, strict=True)] == [True] * 7 + [False]


def test_rows_are_chosen_for_the_whole_generation() -> None:
    found = model("llama")
    clean, edited = (
        with_logits(found, prompts(3), edits=edits)[1]
        for edits in (None, {"resid_pre.1": iv.at(iv.add(VECTOR), rows=1)})
    )
    assert torch.equal(edited[0][[0, 2]], clean[0][[0, 2]])
    alone = with_logits(found, prompts(3)[1], edits={"resid_pre.1": iv.add(VECTOR)})[1]
    assert relative(edited[:, 1], alone[:, 0]) < 1e-5


STEERED = {
    "gpt2": "transformer.h.1",
    "llama": "model.layers.1",
    "mistral": "model.layers.1",
    "falcon": "transformer.h.1",
    "gemma2": "model.layers.1",
    "deepseek_v3": "model.layers.1",
    "bloom": "transformer.h.1",
}


@contextmanager
def plain_hook(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        return function(output) if isinstance(output, Tensor) else (function(output[0]), *output[1:])

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("case", STEERED)
def test_steering_is_a_plain_hook_in_hugging_faces_generate(case: str, batch: int) -> None:
    with plain_hook(plain(case).get_submodule(STEERED[case]), lambda x: x + 2.0 * VECTOR):
        expected = hugging_face(case, prompts(batch))
    done, logits = with_logits(model(case), prompts(batch), edits={"resid_post.1": iv.add(VECTOR, 2.0)})
    assert done.ids == generated_ids(expected, prompts(batch))
    assert relative(logits, torch.stack(expected.scores)) < 1e-6
    assert not torch.equal(logits, with_logits(model(case), prompts(batch))[1])


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("edits", [None, {"resid_pre.1": iv.add(VECTOR), "z.0.1": iv.zero()}], ids=["clean", "edited"])
@pytest.mark.parametrize("case", WATCHED)
def test_activations_of_generated_tokens_are_those_of_one_forward(case: str, edits: Any, cache: bool) -> None:
    found = model(case)
    sites = [site for site in found.sites() if site.name not in ("router_choice", "router_weights")]
    done = found.generate(
        prompts(1), max_new_tokens=6, sites=[*sites, "logits"], edits=edits, cache=cache, stop_tokens=[]
    )
    trace = done.trace
    assert trace is not None
    whole = found.trace(prompts(1)[0] + done.ids[0][:-1], sites=sites, edits=edits)
    assert torch.equal(trace.tokens.ids, whole.tokens.ids)
    assert trace.sites == whole.sites
    for site in [*sites, Site("logits")]:
        value, expected = (torch.where(one[site] < -1e30, 0, one[site]) for one in (trace, whole))
        assert relative(value, expected) < 3e-5, str(site)
    assert trace.recipe == done.recipe


def test_nothing_is_kept_unless_asked_for() -> None:
    done = model("gpt2").generate(prompts(1), max_new_tokens=3)
    assert done.trace is None
    kept = model("gpt2").generate(prompts(1), max_new_tokens=3, sites=["L1H2"], stop_tokens=[]).trace
    assert kept is not None
    assert kept["L1H2"].shape == (1, 11, 8)
    assert kept.logits.shape == (1, 11, 97)


def test_log_probs_are_the_models_own() -> None:
    """Before temperature and nucleus, and of the edited logits where these are edited."""
    for options in ({}, {"temperature": 1.4, "top_p": 0.5}, {"edits": {"logits": iv.scale(0.5)}}):
        done, logits = with_logits(model("gpt2"), prompts(3), seed=4, **options)
        expected = logits.double().log_softmax(-1)
        for row in range(3):
            of_row = [float(expected[step, row, token]) for step, token in enumerate(done.ids[row])]
            assert done.log_probs[row] == pytest.approx(of_row, abs=1e-5)


# ── how it ends ──────────────────────────────────────────────────────────────────────────────────────


def test_stop_tokens_are_recorded_and_end_their_row() -> None:
    found = model("gpt2")
    free = found.generate(prompts(3), max_new_tokens=8, stop_tokens=[]).ids
    stop = [free[0][3], free[2][1]]
    done = found.generate(prompts(3), max_new_tokens=8, stop_tokens=stop)
    for row in range(3):
        ends = [step for step, token in enumerate(free[row]) if token in stop]
        assert done.ids[row] == free[row][: ends[0] + 1 if ends else None]
        assert done.stopped[row] == ("stop token" if ends else "length")
        assert len(done.log_probs[row]) == len(done.ids[row])
    assert "stop token" in done.stopped


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_stop_tokens_are_hugging_faces_in_a_batch(case: str) -> None:
    free = model(case).generate(prompts(3), max_new_tokens=8, stop_tokens=[]).ids
    stop = [free[0][3], free[2][1]]
    expected = generated_ids(hugging_face(case, prompts(3), eos_token_id=stop), prompts(3))
    done = model(case).generate(prompts(3), max_new_tokens=8, stop_tokens=stop)
    for mine, other in zip(done.ids, expected, strict=True):
        assert mine == other[: len(mine)]
        assert not any(other[len(mine) :])  # padding


def test_a_batch_ends_with_its_last_row() -> None:
    found = model("gpt2")
    free = found.generate(prompts(3), max_new_tokens=8, stop_tokens=[]).ids
    steps: list[int] = []
    stop = {row[2] for row in free}
    last = max(min(step for step, token in enumerate(row) if token in stop) for row in free)
    found.generate(prompts(3), max_new_tokens=8, stop_tokens=list(stop), callback=lambda step, *_: steps.append(step))
    assert steps == list(range(last + 1))


def test_default_stop_tokens_are_those_of_the_model() -> None:
    found = load(build("gpt2"))  # its config names token 2
    token = found.generate(prompts(1), max_new_tokens=5, stop_tokens=[]).ids[0][2]
    assert found.generate(prompts(1), max_new_tokens=5).options["stop_tokens"] == [2]
    found.hf.generation_config.eos_token_id = [token, 2]
    done = found.generate(prompts(1), max_new_tokens=5)
    assert done.ids[0][-1] == token
    assert done.options["stop_tokens"] == sorted([token, 2])
    found.hf.generation_config.eos_token_id = None
    found.hf.config.eos_token_id = token
    assert found.generate(prompts(1), max_new_tokens=5).stopped == ["stop token"]
    found.hf.config.eos_token_id = None
    assert found.generate(prompts(1), max_new_tokens=5).stopped == ["length"]


def test_callback_sees_every_step_and_keeps_the_token_it_stops_at() -> None:
    found = model("gpt2")
    free, logits = with_logits(found, prompts(1))
    seen: list[tuple[int, int]] = []

    def callback(step: int, token: Any, step_logits: Tensor) -> bool:
        seen.append((step, token))
        assert torch.equal(step_logits, logits[step])
        return step < 3

    done = found.generate(prompts(1), max_new_tokens=8, callback=callback, stop_tokens=[])
    assert done.ids == [free.ids[0][:4]]
    assert seen == list(enumerate(free.ids[0][:4]))
    assert done.stopped == ["callback"]
    assert found.generate(prompts(1), max_new_tokens=2, callback=lambda *_: None, stop_tokens=[]).stopped == ["length"]
    with pytest.raises(ArgumentError, match="callback=3 cannot be called"):
        found.generate(prompts(1), callback=3)


def test_callback_of_a_batch_gets_every_rows_token() -> None:
    found = model("gpt2")
    free = found.generate(prompts(3), max_new_tokens=4, stop_tokens=[]).ids
    seen: list[Any] = []
    found.generate(prompts(3), max_new_tokens=4, stop_tokens=[], callback=lambda _s, token, _l: seen.append(token))
    assert seen == [[row[step] for row in free] for step in range(4)]


def test_callback_sees_the_stop_token_and_the_stop_token_is_the_reason() -> None:
    found = model("gpt2")
    stop = found.generate(prompts(1), max_new_tokens=1, stop_tokens=[]).ids[0][0]
    seen: list[int] = []
    done = found.generate(
        prompts(1), max_new_tokens=8, stop_tokens=[stop], callback=lambda _s, token, _l: seen.append(token) or False
    )
    assert seen == [stop]
    assert done.stopped == ["stop token"]


def test_a_generation_can_be_cancelled_at_every_step_and_layer() -> None:
    found = model("gpt2")
    reports: list[tuple[str, int]] = []
    with listening(lambda label, done, _total: reports.append((label, done))):
        found.generate(prompts(1), max_new_tokens=3, stop_tokens=[])
    layers = [("forward", layer) for layer in range(3)]
    assert reports == [report for step in range(3) for report in [("generate", step), *layers]]
    for stop in range(len(reports)):
        count = iter(range(len(reports)))
        with listening(lambda *_, count=count, stop=stop: next(count) < stop), pytest.raises(Cancelled):
            found.generate(prompts(1), max_new_tokens=3, stop_tokens=[])


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────


def shown(tokenizer: Any, numbers: list[int]) -> str:
    return tokenizer.decode(numbers, skip_special_tokens=True, clean_up_tokenization_spaces=False)


@every_tokenizer
@settings(max_examples=60, deadline=None)
@given(text=TEXTS, data=st.data())
def test_prompt_and_continuation_together_are_the_whole_text(name: str, text: str, data: Any) -> None:
    """Of every cut of every text, in the middle of characters too."""
    tokenizer = tokenizer_of(name)
    whole = tokenizer(text)["input_ids"] + [tokenizer.eos_token_id] * (tokenizer.eos_token_id is not None)
    cut = data.draw(st.integers(0, len(whole)))
    model_with_it: Any = SimpleNamespace(tokenizer=tokenizer)
    added = generation._text(model_with_it, whole[:cut], whole[cut:])
    before, everything = shown(tokenizer, whole[:cut]), shown(tokenizer, whole)
    assert everything.endswith(added)
    if everything.startswith(before):
        assert before + added == everything
    else:  # the cut is inside a character, which then is part of what was added
        assert before.startswith(everything[: len(everything) - len(added)])


def test_text_keeps_the_space_that_sentencepiece_would_drop() -> None:
    tokenizer = tokenizer_of("byte-fallback")
    numbers = tokenizer("he he", add_special_tokens=False)["input_ids"]
    assert shown(tokenizer, numbers[1:]) == "he"
    assert generation._text(SimpleNamespace(tokenizer=tokenizer), numbers[:1], numbers[1:]) == " he"  # type: ignore[arg-type]


def test_generated_text_follows_the_prompt(tiny_model: Model) -> None:
    done = tiny_model.generate("Why [red]", max_new_tokens=6, stop_tokens=[])
    tokenizer = tiny_model.tokenizer
    assert "Why [red]" + done.text == shown(tokenizer, done.prompt.ids[0].tolist() + done.ids[0])
    several = tiny_model.generate(["Why", "Who is it"], max_new_tokens=4, stop_tokens=[])
    assert len(several.texts) == 2
    with pytest.raises(ArgumentError, match="2 rows were generated"):
        _ = several.text
    assert model("gpt2").generate(prompts(1), max_new_tokens=2).text == ""


def test_json_is_complete(tiny_model: Model) -> None:
    done = tiny_model.generate(
        ["Why", "Who is it"], max_new_tokens=4, temperature=0.8, top_k=9, top_p=0.9, seed=3, stop_tokens=[5],
        edits={"L1H2": iv.at(iv.zero(), -1)}, edit_tokens=[0, 1], sites=["z.1"],
    )  # fmt: skip
    told = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert told["prompt"] == ["Why", "Who is it"]
    assert told["texts"] == done.texts
    assert told["ids"] == done.ids
    assert told["log_probs"] == done.log_probs
    assert told["stopped"] == done.stopped
    assert told["options"] == {
        "max_new_tokens": 4, "temperature": 0.8, "top_k": 9, "top_p": 0.9, "stop_tokens": [5],
        "edit_tokens": "[0, 1]", "cache": True,
    }  # fmt: skip
    assert told["recipe"]["seed"] == 3
    assert told["recipe"]["edits"] == ["z.1.2: zero() at slots [[8], [8]]"]
    assert told["recipe"]["tokens"] == [row.ids[0].tolist() for row in map(done.prompt.row, range(2))]


def test_errors_of_a_generation_are_ours() -> None:
    found = model("gpt2")
    with pytest.raises(FluoroscopeError, match="selects no token"):
        found.generate(prompts(3), edits={"resid_pre.1": iv.at(iv.zero(), [])})
    with pytest.raises(TokenError, match="row 1 has no token -2"):
        found.generate(prompts(3), edits={"resid_pre.1": iv.at(iv.zero(), -2)})


def test_a_text_of_one_token_stops(tiny_model):
    free = tiny_model.generate("abc", max_new_tokens=12, stop_tokens=[]).ids[0]
    for stop in (free[3], tiny_model.tokenizer.decode([free[3]])):
        stopped = tiny_model.generate("abc", max_new_tokens=12, stop_tokens=[stop])
        assert stopped.ids[0] == free[: free.index(free[3]) + 1]


@pytest.mark.parametrize("wrong", [14, "a", [10_000], [-1], [1.5], ["no such text"]])
def test_stop_tokens_that_are_none_are_refused(tiny_model, wrong):
    with pytest.raises((ArgumentError, TokenError)):
        tiny_model.generate("abc", max_new_tokens=2, stop_tokens=wrong)


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_nothing_is_chosen_from_nan(tiny_model, temperature):
    with pytest.raises(UnavailableError, match="step 0 hold NaN"):
        tiny_model.generate(
            "abc", max_new_tokens=2, temperature=temperature, edits={"resid_post.0": lambda v: v * math.nan}
        )
