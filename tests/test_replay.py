"""Sweeps against the same edits made one by one to whole runs, on every family, padded on either side."""

import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

import fluoroscope
import tiny
from architectures.common import ids, model, relative, writable
from architectures.zoo import CASES, build
from fluoroscope.errors import ArgumentError, Cancelled, EditError, TokenError
from fluoroscope.interventions import add, at, compose, noise, replace, scale, zero
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.progress import listening
from fluoroscope.replay import Replay, why_whole
from fluoroscope.rows import Patch
from fluoroscope.run import flat
from fluoroscope.sites import SITES, Site
from fluoroscope.variants import Variant

WHOLE = {"bloom", "codegen", "gpt_neo", "gptj", "opt-350m", "qwen3_next"}
"""Blocks of these cannot be resumed: their attention holds no place to do so, or state that is not kept."""
BEHIND = ("final_norm", "logits")
Edits = dict[str | Site, Any]


def found(replay: Replay, variants: Sequence[Variant], tokens: Tensor | None = None) -> Tensor:
    """The logits in the order of the variants."""
    rows: dict[int, Tensor] = {}
    for indices, logits in replay.logits(variants, tokens):
        rows |= dict(zip(indices, logits, strict=True))
    return torch.stack([rows[index] for index in range(len(variants))])


def one_by_one(model: Model, prompts: Any, variants: Sequence[Variant], positions: Sequence[int] = (-1,)) -> Tensor:
    """The slow definition: one whole run for each variant, of all prompts, of which one is edited."""
    tokens, rows = model.tokens(prompts), list[Tensor]()
    for variant in variants:
        edits: Edits = {
            site: [at(each, rows=variant.prompt) for each in flat(given)] for site, given in variant.edits.items()
        }
        first, end = int(tokens.first[variant.prompt]), int(tokens.last[variant.prompt]) + 1
        slots = [first + position if position >= 0 else end + position for position in positions]
        rows.append(model.trace(tokens, edits=edits).logits[variant.prompt, slots])
    return torch.stack(rows)


def at_every_site(found: Model) -> list[Edits]:
    """Noise at every writable site, on some tokens of it, on one, or on all; whole or a unit.

    A pattern is scaled: noise would look at padding, whose values are nothing that anyone defines.
    """
    edits: list[Edits] = []
    for number, site in enumerate(name for name in writable(found) if name not in BEHIND):
        kind = SITES[site.split(".")[0]]
        change = scale(1.5) if site.startswith("pattern") else noise(0.5, seed=number)
        places = [None, -1, 0, [1, -2], slice(2, None)]
        name = f"{site}.1" if kind.unit and number % 2 and "kv" not in kind.meaning else site
        edits.append({name: at(change, positions=places[number % 5])})
    return edits


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("case", CASES)
def test_a_sweep_equals_edits_made_one_by_one(case: str, pad: Literal["left", "right"]) -> None:
    """All are swept; on each side every other one is made by itself, so that all are on one of them."""
    found_model, prompts = model(case), ids(3)
    variants = [Variant(edits, number % 3) for number, edits in enumerate(at_every_site(found_model))]
    tokens = found_model.tokens(prompts, pad=pad)
    replay = Replay(found_model, tokens)
    assert (replay.why_whole is not None) == (case in WHOLE)
    mine, some = found(replay, variants), slice(pad == "left", None, 2)
    for variant, row, alone in zip(
        variants[some], mine[some], one_by_one(found_model, tokens, variants[some]), strict=True
    ):
        assert relative(row, alone) < 1e-5, variant


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon", "gpt_oss", "deepseek_v3", "bloom"])
def test_attention_may_be_made_to_look_ahead(case: str) -> None:
    found_model = model(case)
    variants = [Variant({f"pattern.{layer}": at(noise(0.5, seed=layer), 4)}) for layer in range(3)]
    variants += [Variant({"pattern.0.2": noise(0.5, seed=9), "v.1.0": at(scale(2), 3)})]
    positions = (-1, 5)
    logits = found(Replay(found_model, ids(1), positions=positions), variants)
    assert relative(logits, one_by_one(found_model, ids(1), variants, positions)) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon", "gpt_oss", "qwen3_moe", "bloom"])
def test_several_edits_positions_and_prompts_at_once(case: str) -> None:
    found_model, prompts = model(case), ids(3)
    variants = [
        Variant(
            {"z.0.1": at(zero(), -2), "mlp_out.1": [scale(0.5), at(add(0.3), -1)], "resid_post.2": at(scale(2), -1)}
        ),
        Variant({"resid_pre.1": at(compose(scale(0.5), add(0.1)), 3), "attn_out.1": scale(0.5)}, 1),
        Variant({"resid_post.1": at(noise(1, 0), [0, 2])}, 2),
        Variant({}, 2),
        Variant({"embed": at(zero(), 1)}, 1),
        Variant({"resid_post.2": noise(1, 3)}, 2),
    ]
    positions = (-1, 0, -3)
    logits = found(Replay(found_model, prompts, positions=positions), variants)
    assert relative(logits, one_by_one(found_model, prompts, variants, positions)) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "cohere", "granite", "deepseek_v3", "bloom"])
def test_some_tokens_are_read_as_all_are(case: str) -> None:
    found_model = model(case)
    replay = Replay(found_model, ids(3), positions=(-1, 1))
    variants = [Variant({"attn_out.1": at(scale(3), -1)}, prompt) for prompt in (2, 0, 1)]
    tokens = torch.tensor([[5, 9, 3], [7, 5, 5], [1, 2, 90]])
    chosen = tokens[[2, 0, 1]][:, None].expand(-1, 2, -1)
    whole = found(replay, variants).gather(-1, chosen)
    assert relative(found(replay, variants, tokens), whole) < 1e-6
    base = replay.base_logits().gather(-1, tokens[:, None].expand(-1, 2, -1))
    assert relative(replay.base_logits(tokens), base) < 1e-6


@pytest.mark.parametrize("case", ["gpt2", "opt", "llama", "gemma2", "falcon-7b", "deepseek_v3", "bloom", "gptj"])
def test_patches_are_replacements(case: str) -> None:
    found_model, prompts = model(case), ids(3)
    generator = torch.Generator().manual_seed(3)
    plain = found_model.trace(prompts, sites=[name for name in writable(found_model) if name not in BEHIND])
    mine: list[Variant] = []
    slow: list[Variant] = []
    for number, site in enumerate(each for each in plain.sites if each.name != "logits"):
        prompt, places = number % 3, [[2], [1, 4, 3]][number % 2]
        shape = plain[site][prompt].movedim(site.kind.position_axis - 1, 0)[places].shape
        value = torch.randn(shape, generator=generator)
        value = value.softmax(-1) if site.name == "pattern" else value
        framed = value.movedim(0, site.kind.position_axis - 1)[None]
        mine.append(Variant(prompt=prompt, patches=[Patch(site, tuple(places), value)]))
        slow.append(Variant({site: at(replace(framed), places)}, prompt))
        if site.kind.unit_axis is not None:
            unit = Site(site.name, site.layer, 0)
            mine.append(Variant({site: scale(0.5)}, prompt, [Patch(unit, tuple(places), value[:, 0])]))
            one = at(replace(framed.select(site.kind.unit_axis, 0)), places)
            slow.append(Variant({unit: one, site: scale(0.5)}, prompt))
    logits = found(Replay(found_model, prompts), mine)
    for variant, one, other in zip(mine, logits, one_by_one(found_model, prompts, slow), strict=True):
        assert relative(one, other) < 1e-5, variant


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon", "gpt_oss", "deepseek_v3", "bloom"])
def test_the_last_block_may_be_patched_at_what_is_read_and_at_what_is_not(case: str) -> None:
    """Tokens that nobody reads leave the sweep there, with keys and values that the others still look at."""
    found_model, prompts = model(case), ids(3)
    end, generator = found_model.n_layers - 1, torch.Generator().manual_seed(4)
    plain = found_model.trace(prompts, sites=[f"{name}.{end}" for name in ("resid_pre", "v", "mlp_out", "resid_post")])
    mine: list[Variant] = [Variant({"resid_pre.0": at(noise(1, 7), 0)}, 1)]
    slow = [mine[0]]
    for site in (site for site in plain.sites if site.layer == end):
        shape = plain[site][0].movedim(site.kind.position_axis - 1, 0)[:3].shape
        value = torch.randn(shape, generator=generator)
        framed = value.movedim(0, site.kind.position_axis - 1)[None]
        later: Edits = {f"attn_out.{end}": at(scale(2), 3)} if site.name == "v" else {}
        mine.append(Variant(later, patches=[Patch(site, (1, 3, 4), value)]))
        slow.append(Variant({site: at(replace(framed), [1, 3, 4]), **later}))
    positions = (3, -3)
    logits = found(Replay(found_model, prompts, positions=positions), mine)
    assert relative(logits, one_by_one(found_model, prompts, slow, positions)) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_only_what_is_read_goes_through_the_last_block(case: str) -> None:
    found_model, seen = model(case), list[int]()
    replay = Replay(found_model, ids(1))
    variants = [Variant({f"resid_pre.{layer}": at(scale(2), 4)}) for layer in range(found_model.n_layers - 1)]
    blocks = found_model.blocks
    handles = [block.mlp.register_forward_hook(lambda _m, args, _o: seen.append(len(args[0]))) for block in blocks]
    found(replay, variants)
    for handle in handles:
        handle.remove()
    tokens = int(replay.read[0, 0]) - 4 + 1
    assert seen == [*(tokens * (layer + 1) for layer in range(len(variants))), len(variants)]


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "bloom"])
def test_a_base_run_may_be_edited_itself(case: str) -> None:
    """Each prompt by its own edits, which all of its copies make first."""
    found_model, prompts = model(case), [ids(1)[0], ids(1)[0]]
    base: list[Edits] = [{"embed": at(noise(1, 0), [2, 3]), "z.1": at(zero(), 4)}, {}]
    clean = found_model.trace([prompts[1]], sites=["resid_post.0"])["resid_post.0"][0]
    patch = Patch(Site("resid_post", 0), (2, 5), clean[[2, 5]])
    over = Patch(Site("z", 1), (4,), torch.ones(1, found_model.n_heads, found_model.d_head))
    variants = [Variant(patches=[patch]), Variant({"mlp_out.1": at(zero(), 6)}, patches=[over]), Variant({}, 1)]
    replay = Replay(found_model, prompts, sites=["resid_post.*", "z.*"], edits=base)
    logits = found(replay, variants)
    edits: list[Edits] = [
        base[0] | {"resid_post.0": at(replace(patch.value[None]), [2, 5])},
        base[0] | {"z.1": at(replace(over.value[None]), 4), "mlp_out.1": at(zero(), 6)},
        {},
    ]
    for row, own in zip(logits[:, 0], edits, strict=True):
        assert relative(row, found_model.trace([prompts[0]], edits=own).logits[0, -1]) < 1e-5
    assert relative(replay.base_logits()[0, 0], found_model.trace([prompts[0]], edits=base[0]).logits[0, -1]) < 1e-5
    with pytest.raises(ArgumentError, match="1 sets of edits for 2 prompts"):
        Replay(found_model, prompts, edits=base[:1])


# ── what is exactly nothing ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "falcon-7b", "mixtral", "gpt_oss"])
def test_what_changes_nothing_has_exactly_no_effect(case: str) -> None:
    found_model = model(case)
    sites = [name for name in writable(found_model) if name not in BEHIND]
    replay = Replay(found_model, ids(1), sites=sites)
    variants = [Variant({site: replace(replay.trace[site])}) for site in sites]
    assert torch.equal(found(replay, variants), replay.base_logits().expand(len(sites), -1, -1))
    after = [Variant({"resid_pre.1": at(zero(), -1)})]  # is read before it
    early = Replay(found_model, ids(1), positions=(-2,))
    assert torch.equal(found(early, after), early.base_logits())


# ── budget, precision, cancelling ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", ["gpt2", "gemma2", "bloom"])
def test_no_result_depends_on_the_portions(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found_model = model(case)
    variants = [Variant({f"resid_pre.{n % 3}": at(noise(1, n), n % 5)}, n % 3) for n in range(24)]
    whole = found(Replay(found_model, ids(3)), variants)
    monkeypatch.setattr("fluoroscope.portions.ROWS", 13)
    assert relative(found(Replay(found_model, ids(3)), variants), whole) < 1e-5
    monkeypatch.undo()
    assert relative(found(Replay(found_model, ids(3), budget=600_000), variants), whole) < 1e-5


def test_a_variant_beyond_the_budget_is_refused_before_anything_runs() -> None:
    found_model = model("gpt2")
    replay = Replay(found_model, ids(1), budget=10_000)
    with (
        listening(lambda label, _done, _total: pytest.fail(f"{label} ran")),
        pytest.raises(ArgumentError, match=r"13 tokens .* takes .* MB, more than the budget of 0\.00954 MB"),
    ):
        next(replay.logits([Variant({"resid_pre.0": zero()})]))


def test_base_runs_beyond_the_free_memory_are_refused_before_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    found_model = model("gpt2")
    monkeypatch.setattr("fluoroscope.portions._SMALL", 0)
    monkeypatch.setattr("fluoroscope.portions.free", lambda _device: 1000)
    monkeypatch.setattr(found_model.hf, "forward", lambda **_: pytest.fail("it ran"))
    with pytest.raises(ArgumentError, match=r"the runs of 3 prompts of 13 tokens take .* GiB"):
        Replay(found_model, ids(3))


def test_what_a_base_run_holds_is_known_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found_model = model("gpt2")
    base = Replay(found_model, ids(3), ["z.*", "neurons.*", "pattern.*"])
    monkeypatch.setattr("fluoroscope.portions._SMALL", 0)
    held = sum(4 * value.numel() for value in base.trace.values.values())
    monkeypatch.setattr("fluoroscope.portions.free", lambda _device: held)
    Replay(found_model, ids(3), ["z.*", "neurons.*", "pattern.*"])
    monkeypatch.setattr("fluoroscope.portions.free", lambda _device: held - 1)
    with pytest.raises(ArgumentError, match="are free"):
        Replay(found_model, ids(3), ["z.*", "neurons.*", "pattern.*"])


def test_a_sweep_that_is_cancelled_leaves_the_model_as_it_was_and_keeps_what_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found_model = model("llama")
    monkeypatch.setattr("fluoroscope.portions.ROWS", 1)
    variants = [Variant({"z.2.1": at(scale(n), -1)}) for n in range(2, 8)]
    plain = found_model.trace(ids(1)).logits
    kept: dict[int, Tensor] = {}

    def run() -> None:
        for indices, logits in Replay(found_model, ids(1)).logits(variants):
            kept.update(zip(indices, logits, strict=True))

    def listener(label: str, done: int, _total: int | None) -> bool:
        return not (label == "sweep" and done == 3)

    with listening(listener), pytest.raises(Cancelled, match="after 3 of 6"):
        run()
    assert list(kept) == [0, 1, 2]
    assert relative(torch.stack(list(kept.values())), one_by_one(found_model, ids(1), variants[:3])) < 1e-5
    assert torch.equal(found_model.trace(ids(1)).logits, plain)


def test_a_trial_tells_nothing_to_other_threads_before_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    found_model, begun, told = load(build("llama")), threading.Event(), list[str | None]()

    def slow(_model: Model) -> str:
        begun.set()
        time.sleep(0.2)
        return "its blocks cannot be resumed"

    monkeypatch.setattr("fluoroscope.replay._tried", slow)
    first = threading.Thread(target=lambda: told.append(why_whole(found_model)))
    first.start()
    assert begun.wait(10)
    told.append(why_whole(found_model))
    first.join(10)
    assert told == ["its blocks cannot be resumed"] * 2


def test_bfloat16_is_near_and_only_on_request() -> None:
    found_model = model("llama")
    variants = [Variant({f"z.{layer}.{head}": at(zero(), -1)}) for layer in range(3) for head in range(4)]
    exact = found(Replay(found_model, ids(1)), variants)
    rough = found(Replay(found_model, ids(1), precision="bfloat16"), variants)
    assert 1e-4 < relative(rough, exact) < 0.05


# ── what cannot be swept ─────────────────────────────────────────────────────────────────────────────


def test_edits_of_the_context_are_applied_to_copies_too() -> None:
    found_model = model("gpt2")
    variants = [Variant({"z.1.1": at(zero(), -1)})]
    with found_model.editing({"mlp_out.0": scale(0.5)}):
        assert "editing" in str(why_whole(found_model))
        inside = found(Replay(found_model, ids(1)), variants)
        assert relative(inside, one_by_one(found_model, ids(1), variants)) < 1e-5
    assert relative(inside, found(Replay(found_model, ids(1)), variants)) > 1e-3


def shorter(value: Tensor) -> Tensor:
    return value[:, :1]


@pytest.mark.parametrize(
    ("edits", "error", "why"),
    [
        ({"logits": zero()}, EditError, "logits is no place for a sweep"),
        ({"final_norm": zero()}, EditError, "Edit resid_post of the last block"),
        ({"head_out.1": zero()}, EditError, "read-only"),
        ({"z.1": at(zero(), 20)}, TokenError, "no token 20"),
        ({"z.1": shorter}, EditError, "keeps shape"),
    ],
)
def test_refusals(edits: Edits, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        found(Replay(model("gpt2"), ids(1)), [Variant(edits)])


@pytest.mark.parametrize("unit", [None, 1])
def test_a_patch_of_another_shape_is_refused_and_not_spread(unit: int | None) -> None:
    patch = Patch(Site("z", 1, unit), (3,), torch.zeros(1, 1))
    with pytest.raises(EditError, match=r"a patch of z.1 has the shape \(1,\) a token\. There it is \("):
        found(Replay(model("gpt2"), ids(1)), [Variant(patches=[patch])])


@pytest.mark.parametrize(("positions", "why"), [([], "no position is read"), ([5], "none at 5"), ([-6], "none at -6")])
def test_positions_that_no_prompt_has(positions: list[int], why: str) -> None:
    with pytest.raises((ArgumentError, TokenError), match=why):
        Replay(model("gpt2"), ids(3), positions=positions)


def test_a_text_and_its_edits_on_a_model_with_a_tokenizer() -> None:
    loaded = fluoroscope.load()
    replay = Replay(loaded, tiny.PROMPT, sites=["z.*"])
    edits: Edits = {"L2H3": at(zero(), -1)}
    logits = found(replay, [Variant(edits)])
    assert relative(logits[0, 0], loaded.trace(tiny.PROMPT, edits=edits).logits[0, -1]) < 1e-5
