"""Interventions against plain PyTorch hooks on the untouched Hugging Face module, and everything that is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from architectures.common import ids, model, plain, real, relative
from fluoroscope import interventions as iv
from fluoroscope.errors import EditError, SiteError, TokenError
from fluoroscope.model import Model
from fluoroscope.run import RUN
from fluoroscope.tokens import Tokens

Function = Callable[[Tensor], Tensor]
Pad = Literal["left", "right"]
CASES = ("gpt2", "llama")
HEADS, D_HEAD = 4, {"gpt2": 8, "llama": 12}
UNIT = {"z.1.2": 2, "v.1.1": 1, "neurons.1.7": 7}
BOTH = ("resid_pre.1", "resid_post.1", "attn_out.1", "mlp_out.1", "neurons.1", "neurons.1.7", "z.1", "z.1.2")
SITES = {
    "gpt2": [*BOTH, "embed", "pos_embed", "final_norm", "logits"],
    "llama": [*BOTH, "v.1", "v.1.1", "final_norm", "logits"],
}
EVERY = [(case, site) for case in CASES for site in SITES[case]]


# ── the oracle: Hugging Face's own modules and hooks written by hand ─────────────────────────────────


def where(case: str, site: str) -> tuple[nn.Module, str]:
    """The module that a person would hook, and whether its input or its output is the value."""
    hf = plain(case)
    if case == "gpt2":
        block = hf.transformer.h[1]
        return {
            "resid_pre": (block, "input"),
            "resid_post": (block, "output"),
            "attn_out": (block.attn, "output"),
            "mlp_out": (block.mlp, "output"),
            "neurons": (block.mlp.c_proj, "input"),
            "z": (block.attn.c_proj, "input"),
            "embed": (hf.transformer.wte, "output"),
            "pos_embed": (hf.transformer.wpe, "output"),
            "final_norm": (hf.transformer.ln_f, "output"),
            "logits": (hf.lm_head, "output"),
        }[site.partition(".")[0]]
    block = hf.model.layers[1]
    return {
        "resid_pre": (block, "input"),
        "resid_post": (block, "output"),
        "attn_out": (block.self_attn, "output"),
        "mlp_out": (block.mlp, "output"),
        "neurons": (block.mlp.down_proj, "input"),
        "z": (block.self_attn.o_proj, "input"),
        "v": (block.self_attn.v_proj, "output"),
        "final_norm": (hf.model.norm, "output"),
        "logits": (hf.lm_head, "output"),
    }[site.partition(".")[0]]


def sliced(case: str, site: str, raw: Tensor, function: Function) -> Tensor:
    """`raw` with `function` applied to the part that the site names, [batch, pos, …] as in the module."""
    kind, unit = site.partition(".")[0], UNIT.get(site)
    value = raw.clone()
    parts = value.unflatten(-1, (-1, D_HEAD[case])) if kind in ("z", "v") else value
    if unit is not None:
        parts[:, :, unit] = function(parts[:, :, unit].clone())
        return value
    # v has its heads before its positions, and keeps them there.
    new = function(parts.transpose(1, 2)).transpose(1, 2) if kind == "v" else function(parts)
    return new.reshape(raw.shape)


def batched(raw: Tensor, rows: int) -> Tensor:
    return raw.expand(rows, -1, -1) if len(raw) == 1 else raw


def hooked_logits(case: str, site: str, function: Function, tokens: Tokens) -> Tensor:
    """Logits of the plain module with a plain hook."""
    module, side = where(case, site)

    def before(_module: nn.Module, args: Any) -> Any:
        return (sliced(case, site, args[0], function), *args[1:])

    def after(_module: nn.Module, _args: Any, output: Any) -> Any:
        if isinstance(output, Tensor):
            return sliced(case, site, batched(output, len(tokens)), function)
        return (sliced(case, site, output[0], function), *output[1:])

    handle = module.register_forward_pre_hook(before) if side == "input" else module.register_forward_hook(after)
    try:
        with torch.no_grad():
            return plain(case)(**model(case).inputs(tokens)).logits
    finally:
        handle.remove()


def drawn(shape: Any, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gaussian(value: Tensor, std: float, seed: int) -> Tensor:
    draw = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return value + (std * draw).float()


def resampled(value: Tensor, seed: int) -> Tensor:
    chosen = torch.randint(5, (len(value),), generator=torch.Generator().manual_seed(seed))
    return torch.stack([reference(value)[row] for row in chosen.tolist()])


def reference(value: Tensor) -> Tensor:
    return drawn((5, *value.shape[1:]), 3)


# name -> (the intervention for a value of this shape, the same written out)
EDITS: dict[str, tuple[Callable[[Tensor], iv.Intervention], Function]] = {
    "zero": (lambda _: iv.zero(), lambda x: x * 0),
    "scale": (lambda _: iv.scale(-0.7), lambda x: -0.7 * x),
    "add": (lambda x: iv.add(drawn(x.shape[-1:], 1), 2.0), lambda x: x + 2.0 * drawn(x.shape[-1:], 1)),
    "add number": (lambda _: iv.add(0.25), lambda x: x + 0.25),
    "replace": (lambda x: iv.replace(drawn(x.shape, 2)), lambda x: drawn(x.shape, 2)),
    "replace number": (lambda _: iv.replace(0.5), lambda x: torch.full_like(x, 0.5)),
    "clamp": (lambda _: iv.clamp(-0.2, 0.1), lambda x: torch.minimum(torch.maximum(x, x * 0 - 0.2), x * 0 + 0.1)),
    "clamp below": (lambda _: iv.clamp(minimum=0.05), lambda x: torch.maximum(x, x * 0 + 0.05)),
    "clamp above": (lambda _: iv.clamp(maximum=0.05), lambda x: torch.minimum(x, x * 0 + 0.05)),
    "noise": (lambda _: iv.noise(0.4, seed=9), lambda x: gaussian(x, 0.4, 9)),
    "mean_ablate": (
        lambda x: iv.mean_ablate(drawn(x.shape[-1:], 4)),
        lambda x: drawn(x.shape[-1:], 4).expand_as(x),
    ),
    "resample_ablate": (lambda x: iv.resample_ablate(reference(x), seed=6), lambda x: resampled(x, 6)),
    "compose": (
        lambda x: iv.compose(iv.add(drawn(x.shape[-1:], 1)), iv.compose(iv.scale(2.0), iv.clamp(maximum=1.0))),
        lambda x: ((x + drawn(x.shape[-1:], 1)) * 2.0).clamp(max=1.0),
    ),
    "own function": (lambda _: torch.tanh, torch.tanh),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize(("case", "site"), EVERY)
def test_intervention_is_what_a_plain_hook_does(case: str, site: str, name: str) -> None:
    found = model(case)
    tokens = found.tokens(ids(3), pad="left")
    make, written_out = EDITS[name]
    before = found.trace(tokens, sites=[site])
    after = found.trace(tokens, sites=[site], edits={site: make(before[site])})
    expected = hooked_logits(case, site, written_out, tokens)
    assert not torch.equal(expected, before.logits)
    assert relative(real(after.logits, tokens), real(expected, tokens)) < 1e-6
    assert torch.allclose(after[site], written_out(before[site]), atol=1e-6)


@pytest.mark.parametrize(("case", "site"), EVERY)
def test_only_the_named_unit_changes(case: str, site: str) -> None:
    found = model(case)
    whole = found.site(site).whole
    before, after = (found.trace(ids(3), sites=[whole], edits=edits) for edits in (None, {site: iv.zero()}))
    changed = before[whole] != after[whole]
    if site in UNIT:
        axis = found.site(site).kind.unit_axis
        assert axis is not None
        others = [unit for unit in range(changed.shape[axis]) if unit != UNIT[site]]
        assert not changed.index_select(axis, torch.tensor(others)).any()
        assert changed.select(axis, UNIT[site]).any()
    assert (after[site] == 0).all()


def test_noise_is_seeded_and_leaves_the_global_generator_alone() -> None:
    value = torch.zeros(3, 4)
    state = torch.get_rng_state()
    first, again, other = (iv.noise(1.0, seed)(value) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(iv.noise(2.0, 1)(value), 2 * first)
    assert torch.equal(torch.get_rng_state(), state)
    many = iv.noise(0.5, 3)(torch.zeros(100_000))
    assert float(many.std()) == pytest.approx(0.5, rel=0.02)
    assert float(many.mean()) == pytest.approx(0.0, abs=0.01)


def test_resample_ablate_draws_rows_of_the_reference() -> None:
    rows = torch.arange(12.0).reshape(4, 3)
    drawn_rows = iv.resample_ablate(rows, seed=1)(torch.zeros(50, 3))
    assert {tuple(row) for row in drawn_rows.tolist()} == {tuple(row) for row in rows.tolist()}
    assert not torch.equal(drawn_rows, iv.resample_ablate(rows, seed=2)(torch.zeros(50, 3)))


# ── means of a reference run ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("site", ["resid_pre.1", "z.1", "z.1.2", "q.1", "q.1.3", "k.1", "v.1.1", "neurons.1", "logits"])
def test_mean_ablation_uses_the_mean_over_real_positions(site: str, pad: Pad) -> None:
    found = model("llama")
    alone = [found.trace(row, sites=[site]).positions_first(site)[0] for row in ids(3)]
    expected = torch.cat(alone).mean(0)
    mean = found.trace(ids(3), sites=[site], pad=pad).mean(site)
    assert relative(mean.squeeze(1) if site in ("q.1", "k.1") else mean, expected) < 1e-6
    ablated = found.trace([5, 6, 7], sites=[site], edits={site: iv.mean_ablate(mean)})
    assert torch.allclose(ablated.positions_first(site)[0], expected.expand(3, *expected.shape), atol=1e-6)


def test_mean_of_heads_is_not_taken_for_one_of_positions() -> None:
    """With as many positions as heads, [head, d_head] would broadcast along the wrong axis without a word."""
    found = model("gpt2")
    prompt = [5, 6, 7, 8]
    mean = found.trace(ids(3), sites=["q.1"]).mean("q.1")
    after = found.trace(prompt, sites=["q.1"], edits={"q.1": iv.mean_ablate(mean)})["q.1"]
    assert torch.equal(after[0, 2, 0], after[0, 2, 3])
    assert not torch.equal(after[0, 0, 2], after[0, 3, 2])


# ── positions and rows ───────────────────────────────────────────────────────────────────────────────

SHORTEST = 5
INDEX = st.integers(-SHORTEST, SHORTEST - 1)
BOUND = st.none() | st.integers(-SHORTEST, SHORTEST)
POSITIONS = (
    st.none()
    | INDEX
    | st.lists(INDEX, min_size=1, max_size=4)
    | st.lists(INDEX, min_size=1, max_size=3).map(tuple)
    | st.builds(range, st.integers(0, 2), st.integers(3, SHORTEST), st.integers(1, 2))
    | st.builds(slice, BOUND, BOUND, st.sampled_from([None, 1, 2, -1]))
)
ROWS = st.none() | st.integers(-3, 2) | st.lists(st.integers(-3, 2), min_size=1, max_size=2)


def chosen_slots(tokens: Tokens, positions: Any, rows: Any) -> list[tuple[int, int]]:
    """(row, slot) pairs, by Python's own indexing of each row's list of tokens."""
    picked = range(len(tokens)) if rows is None else [rows] if isinstance(rows, int) else rows
    pairs: list[tuple[int, int]] = []
    for row in {row % len(tokens) for row in picked}:
        slots = tokens.mask[row].nonzero()[:, 0].tolist()
        if positions is None or isinstance(positions, slice):
            chosen = slots[positions or slice(None)]
        else:
            chosen = [slots[p] for p in ([positions] if isinstance(positions, int) else positions)]
        pairs += [(row, slot) for slot in chosen]
    return pairs


@settings(max_examples=60, deadline=None)
@given(positions=POSITIONS, rows=ROWS, pad=st.sampled_from(["left", "right"]), which=st.sampled_from(EVERY))
def test_at_edits_each_rows_own_tokens(positions: Any, rows: Any, pad: Pad, which: tuple[str, str]) -> None:
    case, site = which
    found = model(case)
    tokens = found.tokens(ids(3), pad=pad)
    pairs = chosen_slots(tokens, positions, rows)
    edits = {site: iv.at(iv.scale(3.0), positions=positions, rows=rows)}
    if not pairs:
        with pytest.raises(EditError, match="selects no token"):
            found.trace(tokens, edits=edits)
        return
    axis = found.site(site).kind.position_axis

    def written_out(value: Tensor) -> Tensor:
        value = value.clone()
        view = value.movedim(2, 1) if axis == 2 and value.dim() == 4 else value
        for row, slot in set(pairs):
            view[row, slot] *= 3.0
        return value

    after = found.trace(tokens, edits=edits)
    expected = hooked_logits(case, site, written_out, tokens)
    assert relative(real(after.logits, tokens), real(expected, tokens)) < 1e-6


@pytest.mark.parametrize("positions", [0, -1, [1, -2], slice(2, None), slice(None, -1), range(4), None])
@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon", "granite", "deepseek_v3", "gpt_oss"])
def test_edits_in_a_padded_batch_are_those_of_single_prompts(case: str, pad: Pad, positions: Any) -> None:
    """slice(2, None) selects 11, 3 and 7 tokens of these rows."""
    found = model(case)
    # Seen by each position alone, so that a call per row and one for all are the same.
    edits = {f"{name}.1": iv.at(lambda x: x.flip(-1) * 0.9, positions=positions) for name in ("resid_pre", "mlp_out")}
    if ("pattern", 1) not in found.unavailable:
        edits["q.1"] = edits["v.1.1"] = iv.at(lambda x: x.flip(-1) * 0.9, positions=positions)
        edits["pattern.1"] = iv.at(lambda x: x * 0.5, positions=positions)
    edits["z.1.2"] = iv.at(iv.zero(), positions=positions)
    together = found.trace(ids(3), edits=edits, pad=pad)
    for row, prompt in enumerate(ids(3)):
        alone = found.trace(prompt, edits=edits).logits[0]
        assert relative(together.logits[row, together.tokens.mask[row]], alone) < 1e-5
        assert not torch.allclose(alone, found.trace(prompt).logits[0])


@pytest.mark.parametrize("pad", ["left", "right"])
def test_function_gets_exactly_the_selected_slice(pad: Pad) -> None:
    found, seen = model("llama"), []

    def look(value: Tensor) -> Tensor:
        seen.append(tuple(value.shape))
        return value

    def shapes(site: str, **where: Any) -> list[tuple[int, ...]]:
        seen.clear()
        found.trace(ids(3), edits={site: iv.at(look, **where) if where else look}, pad=pad)
        return list(seen)

    assert shapes("resid_pre.1") == [(3, 13, 32)]
    assert shapes("z.1") == [(3, 13, 4, 12)]
    assert shapes("z.1.2") == [(3, 13, 12)]
    assert shapes("k.1") == [(3, 2, 13, 12)]
    assert shapes("pattern.1.3") == [(3, 13, 13)]
    assert shapes("neurons.1.7") == [(3, 13)]
    assert shapes("resid_pre.1", positions=-1) == [(3, 1, 32)]
    assert shapes("z.1.2", positions=[0, -1], rows=[0, 2]) == [(2, 2, 12)]
    assert shapes("q.1", positions=range(3), rows=1) == [(1, 4, 3, 12)]
    assert shapes("pattern.1", positions=[1, 2]) == [(3, 4, 2, 13)]
    assert shapes("neurons.1.7", positions=0, rows=-1) == [(1, 1)]
    assert shapes("resid_pre.1", positions=slice(2, None)) == [(1, 11, 32), (1, 3, 32), (1, 7, 32)]
    assert shapes("resid_pre.1", rows=1) == [(1, 5, 32)]


def test_function_sees_the_values_of_the_positions_it_named_in_their_order() -> None:
    found, seen = model("gpt2"), []
    before = found.trace(ids(3), sites=["resid_pre.1"], pad="left")
    found.trace(ids(3), edits={"resid_pre.1": iv.at(lambda x: seen.append(x) or x, positions=[3, 0, -1])}, pad="left")
    expected = [before["resid_pre.1"][row, before.tokens.mask[row]][[3, 0, -1]] for row in range(3)]
    assert torch.equal(seen[0], torch.stack(expected))


# ── order ────────────────────────────────────────────────────────────────────────────────────────────


def test_lists_apply_in_the_stated_order() -> None:
    found = model("gpt2")
    doubled, plus_one = iv.scale(2.0), iv.add(1.0)

    def value(functions: Any) -> Tensor:
        return found.trace(ids(1), sites=["resid_pre.1"], edits={"resid_pre.1": functions})["resid_pre.1"]

    start = found.trace(ids(1), sites=["resid_pre.1"])["resid_pre.1"]
    assert torch.equal(value([doubled, plus_one]), start * 2 + 1)
    assert torch.equal(value([plus_one, doubled]), (start + 1) * 2)
    assert torch.equal(value(iv.compose(plus_one, doubled)), (start + 1) * 2)
    assert torch.equal(value((plus_one, [doubled, iv.compose(plus_one)])), (start + 1) * 2 + 1)
    last = (start + 1).clone()
    last[:, -1] *= 2
    assert torch.equal(value([plus_one, iv.at(doubled, -1)]), last)
    assert torch.equal(value(iv.compose(plus_one, iv.at(doubled, -1))), last)
    assert torch.equal(value(iv.at(iv.compose(doubled, plus_one), slice(None))), start * 2 + 1)


def test_whole_and_unit_edits_of_one_site_apply_in_the_stated_order() -> None:
    found = model("gpt2")
    start = found.trace(ids(1), sites=["z.1"])["z.1"]
    first = found.trace(ids(1), sites=["z.1"], edits={"z.1": iv.add(1.0), "z.1.2": iv.scale(2.0)})["z.1"]
    second = found.trace(ids(1), sites=["z.1"], edits={"z.1.2": iv.scale(2.0), "z.1": iv.add(1.0)})["z.1"]
    assert torch.equal(first[:, :, 2], (start[:, :, 2] + 1) * 2)
    assert torch.equal(second[:, :, 2], start[:, :, 2] * 2 + 1)
    assert torch.equal(first[:, :, 1], start[:, :, 1] + 1)


def test_at_in_at_keeps_both_limits() -> None:
    inner = iv.at(iv.zero(), positions=2)
    assert iv.at(inner, rows=1) == iv.at(inner.function, positions=2, rows=1)
    assert iv.at(iv.at(inner.function, rows=1), positions=2) == iv.at(inner.function, positions=2, rows=1)
    with pytest.raises(EditError, match="positions twice"):
        iv.at(inner, positions=3)
    with pytest.raises(EditError, match="rows twice"):
        iv.at(iv.at(inner.function, rows=1), rows=2)


# ── dtype, shape, device ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("site", ["resid_pre.1", "z.1.2", "v.1", "neurons.1.7", "mlp_out.1"])
def test_bfloat16_stays_bfloat16(site: str, name: str) -> None:
    """The vectors are float32, and float64 in one case: they are cast, the stream is not."""
    found = model("llama", None, torch.bfloat16)
    before = found.trace(ids(3), sites=[site])
    make, _ = EDITS[name]
    edit = make(before[site].float() if name == "own function" else before[site])
    after = found.trace(ids(3), sites=[site, "resid_post.2"], edits={site: edit})
    assert {after[site].dtype, after["resid_post.2"].dtype, after.logits.dtype} == {torch.bfloat16}
    assert not torch.equal(after.logits, before.logits)
    assert after.logits.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64])
def test_vector_is_cast_to_the_values_dtype(dtype: torch.dtype) -> None:
    found = model("llama", None, torch.bfloat16)
    vector = torch.arange(32).to(dtype)
    before = found.trace(ids(1), sites=["resid_pre.1"])["resid_pre.1"]
    after = found.trace(ids(1), sites=["resid_pre.1"], edits={"resid_pre.1": iv.add(vector, 0.5)})["resid_pre.1"]
    assert torch.equal(after, before + 0.5 * torch.arange(32).bfloat16())


BAD: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "shape": (lambda x: x[:, :1], r"turned float32\[3, 13, 32\] on cpu into float32\[3, 1, 32\] on cpu"),
    "extra axis": (lambda x: x[None], r"into float32\[1, 3, 13, 32\]"),
    "dtype": (lambda x: x.double(), r"into float64\[3, 13, 32\]"),
    "device": (lambda x: x.to("meta"), "on meta"),
    "None": (lambda _: None, "returned NoneType, not a tensor"),
    "tuple": (lambda x: (x,), "returned tuple, not a tensor"),
    "array": (lambda x: x.numpy(), "returned ndarray, not a tensor"),
    "vector that does not fit": (iv.add(torch.ones(31)), r"shape \(31,\), which does not fit"),
    "vector that would broadcast the value": (iv.add(torch.ones(2, 3, 13, 32)), "does not fit"),
    "replacement of another length": (iv.replace(torch.ones(3, 12, 32)), "Nothing is aligned or cut"),
    "mean of another site": (iv.mean_ablate(torch.ones(40)), "the mean has shape"),
    "reference of another length": (iv.resample_ablate(torch.ones(5, 12, 32), 0), "the resampled reference"),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_contract_is_an_error_that_names_edit_and_site(name: str) -> None:
    found = model("llama")
    function, message = BAD[name]
    with pytest.raises(EditError, match=message):
        found.trace(ids(3), edits={"resid_pre.1": function})
    assert RUN.get() is None


def test_an_error_of_the_function_itself_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        model("llama").trace(ids(1), edits={"resid_pre.1": lambda x: x * (1 // 0)})


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────

REFUSED: dict[str, tuple[dict[Any, Any], type[Exception], str]] = {
    "position too far": ({"resid_pre.1": iv.at(iv.zero(), 5)}, TokenError, "row 1 has no token 5"),
    "position too far back": ({"resid_pre.1": iv.at(iv.zero(), -6)}, TokenError, "row 1 has no token -6"),
    "one of a list": ({"resid_pre.1": iv.at(iv.zero(), [0, 12])}, TokenError, "row 1 has no token 12"),
    "range": ({"resid_pre.1": iv.at(iv.zero(), range(6))}, TokenError, "row 1 has no token 5"),
    "slice": ({"resid_pre.1": iv.at(iv.zero(), slice(0, 6))}, TokenError, "row 1 has no token 6"),
    "row": ({"resid_pre.1": iv.at(iv.zero(), rows=3)}, EditError, "names row 3 of a batch of 3"),
    "no rows": ({"resid_pre.1": iv.at(iv.zero(), rows=[])}, EditError, "selects no token"),
    "no positions": ({"resid_pre.1": iv.at(iv.zero(), [])}, EditError, "selects no token"),
    "empty slice": ({"resid_pre.1": iv.at(iv.zero(), slice(3, 3))}, EditError, "selects no token"),
    "unknown site": ({"resid_mild.1": iv.zero()}, SiteError, "resid_mid"),
    "unknown layer": ({"layers.99.mlp": iv.zero()}, SiteError, "beyond the last layer"),
    "unknown head": ({"z.1.4": iv.zero()}, SiteError, "beyond the last head"),
    "unknown kv head": ({"k.1.2": iv.zero()}, SiteError, "They run 0..1"),
    "read-only": ({"head_out.1": iv.zero()}, EditError, "head_out.1 is read-only.*write z"),
    "two spellings": ({"z.1.2": iv.zero(), "L1H2": iv.zero()}, SiteError, "edited already"),
    "a wildcard and one of it": ({"mlp_out.*": iv.zero(), "MLP L1": iv.zero()}, SiteError, "edited already"),
    "a number": ({"resid_pre.1": 0.0}, EditError, "must be a function"),
    "None": ({"resid_pre.1": None}, EditError, "must be a function"),
    "a tensor": ({"resid_pre.1": torch.zeros(32)}, EditError, "replace"),
    "a text": ({"resid_pre.1": "zero"}, EditError, "must be a function"),
    "a list of numbers": ({"resid_pre.1": [0.0]}, EditError, "must be a function"),
}


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("name", REFUSED)
def test_edit_that_cannot_act_is_refused_before_anything_runs(name: str, pad: Pad) -> None:
    edits, error, message = REFUSED[name]
    found = model("llama")
    with not_run(found), pytest.raises(error, match=message):
        found.trace(ids(3), edits=edits, pad=pad)


@contextmanager
def not_run(found: Model) -> Iterator[None]:
    calls: list[object] = []
    handle = found.hf.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        yield
    finally:
        handle.remove()
    assert not calls


@pytest.mark.parametrize(
    ("case", "site", "hint"),
    [
        ("llama", "head_out.1.2", "write z of that head"),
        ("qwen3_moe", "router.1", "write router_weights"),
        ("qwen3_moe", "router_choice.1", "write router_weights"),
    ],
)
def test_read_only_sites_say_what_to_write(case: str, site: str, hint: str) -> None:
    with pytest.raises(EditError, match=hint) as caught:
        model(case).trace(ids(1), edits={site: iv.zero()})
    assert hint in caught.value.hint


def test_clamp_without_a_bound_is_refused() -> None:
    with pytest.raises(EditError, match="changes nothing"):
        iv.clamp()


def test_at_does_nothing_on_its_own() -> None:
    with pytest.raises(EditError, match="needs a run"):
        iv.at(iv.zero(), 1)(torch.zeros(2))


# ── what stays as it was ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("edit", [lambda f: f, lambda f: iv.at(f, [0, -1]), lambda f: iv.at(f, rows=1)])
@pytest.mark.parametrize("case", ["gpt2", "llama", "falcon", "falcon-7b", "granite", "gemma2", "opt"])
def test_an_edit_that_works_in_place_leaves_what_was_there_before(case: str, edit: Any) -> None:
    """resid_pre.1 and resid_post.0 are one tensor: the edited one must not overwrite the other."""
    found = model(case)
    before = found.trace(ids(3), sites=["resid_post.0", "resid_pre.1", "z.1"])
    in_place = {"resid_pre.1": edit(lambda x: x.mul_(-2)), "z.1.2": edit(lambda x: x.fill_(0.5))}
    copied = {"resid_pre.1": edit(lambda x: x * -2), "z.1.2": edit(lambda x: torch.full_like(x, 0.5))}
    after = found.trace(ids(3), sites=["resid_post.0", "resid_pre.1"], edits=in_place)
    assert torch.equal(after["resid_post.0"], before["resid_post.0"])
    assert not torch.equal(after["resid_pre.1"], before["resid_pre.1"])
    assert torch.equal(after.logits, found.trace(ids(3), edits=copied).logits)


def test_interventions_do_not_change_what_they_are_given() -> None:
    value = drawn((3, 4, 6), 0)
    start = value.clone()
    for make, _ in EDITS.values():
        make(value)(value)
        assert torch.equal(value, start)


def test_recipes_say_what_was_done() -> None:
    found = model("gpt2")
    edits = {
        "L1H2": iv.at(iv.zero(), [0, -1]),
        "resid_pre.1": [iv.scale(2.0), iv.add(torch.ones(32), 0.5), iv.noise(0.1, seed=3), iv.clamp(0.0)],
        "mlp_out.1": [iv.mean_ablate(torch.ones(32)), iv.replace(1.0), iv.resample_ablate(torch.ones(2, 5, 32), 4)],
    }
    assert found.trace([5, 6, 7, 8, 9], edits=edits).recipe.edits == (
        "z.1.2: zero() at slots [[0, 4]]",
        "resid_pre.1: scale(2.0)",
        "resid_pre.1: add([32], coefficient=0.5)",
        "resid_pre.1: noise(0.1, seed=3)",
        "resid_pre.1: clamp(0.0, None)",
        "mlp_out.1: mean_ablate([32])",
        "mlp_out.1: replace(1.0)",
        "mlp_out.1: resample_ablate([2, 5, 32], seed=4)",
    )
