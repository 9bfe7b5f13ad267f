"""What a trace keeps, how it is read, that it never changes again, and that every format gives it back."""

import dataclasses
import gc
import hashlib
import json
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures.common import ids, model, true_float64
from architectures.zoo import CASES
from fluoroscope import artifact
from fluoroscope import interventions as iv
from fluoroscope.errors import ArgumentError, ArtifactError, SiteError, TokenError, UnavailableError
from fluoroscope.model import Model
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

# ── spellings ────────────────────────────────────────────────────────────────────────────────────────

SPELLINGS = {
    "resid_pre.1": ["resid_pre.1", "blocks.1.hook_resid_pre", "h.1.resid_pre", Site("resid_pre", 1)],
    "resid_post.1": ["resid_post.1", "blocks.1.hook_resid_post", "transformer.h.1", "h.1.output", "layers.1.output"],
    "z.1": ["z.1", "blocks.1.attn.hook_z", Site("z", 1)],
    "z.1.2": ["z.1.2", "L1H2", "l1h2", "L1.H2", "1.2", "head 1.2", Site("z", 1, 2)],
    "neurons.1.7": ["neurons.1.7", "L1N7", Site("neurons", 1, 7)],
    "attn_out.1": ["attn_out.1", "Attn L1", "blocks.1.hook_attn_out", "transformer.h.1.attn", "h.1.attn.c_proj"],
    "mlp_out.1": ["mlp_out.1", "MLP L1", "blocks.1.hook_mlp_out", "transformer.h.1.mlp"],
    "pattern.1": ["pattern.1", "blocks.1.attn.hook_pattern", "h.1.attn.attention_weights"],
    "q_proj.1": ["q_proj.1", "blocks.1.attn.hook_q"],
    "q.1": ["q.1", "blocks.1.attn.hook_rot_q"],
    "embed": ["embed", "hook_embed", "transformer.wte"],
    "final_norm": ["final_norm", "transformer.ln_f"],
    "logits": ["logits", "output", "lm_head"],
}


@pytest.mark.parametrize("canonical", SPELLINGS)
def test_every_spelling_gives_one_tensor(canonical: str) -> None:
    found = model("gpt2")
    expected = found.trace(ids(3), sites=[canonical])[canonical]
    for spelling in SPELLINGS[canonical]:
        trace = found.trace(ids(3), sites=[spelling])
        assert trace.sites == ([] if canonical == "logits" else [found.site(canonical).whole])
        for other in SPELLINGS[canonical]:
            assert torch.equal(trace[other], expected), (spelling, other)
            assert other in trace


def test_a_unit_is_a_slice_of_its_site() -> None:
    trace = model("llama").trace(ids(3), sites=["z.1", "k.1", "pattern.1", "neurons.1"])
    assert torch.equal(trace["L1H2"], trace["z.1"][:, :, 2])
    assert torch.equal(trace["k.1.1"], trace["k.1"][:, 1])
    assert torch.equal(trace["pattern.1.3"], trace["pattern.1"][:, 3])
    assert torch.equal(trace["L1N7"], trace["neurons.1"][..., 7])


def test_what_was_not_kept_is_an_error_that_says_what_was() -> None:
    trace = model("gpt2").trace(ids(1), sites=["z.1", "resid_pre.0"])
    with pytest.raises(SiteError, match=r"did not keep mlp_out\.1\. It kept resid_pre\.0, z\.1\. Ask for it in sites"):
        trace["MLP L1"]
    with pytest.raises(SiteError, match="nothing but the logits"):
        model("gpt2").trace(ids(1))["z.1"]
    with pytest.raises(SiteError, match="Did you mean 'resid_post'"):
        trace["resid_pots.1"]
    with pytest.raises(SiteError, match="beyond the last layer"):
        trace["z.9"]
    with pytest.raises(SiteError, match="did not keep q_proj"):
        model("llama").trace(ids(1), sites=["q.1"])["blocks.1.attn.hook_q"]
    assert "MLP L1" not in trace
    assert "no such thing" not in trace
    assert "logits" in trace
    assert "z.1.3" in trace
    assert "z.1.4" not in trace


def test_wildcards_keep_every_layer_and_stack_in_order() -> None:
    found = model("gpt2")
    trace = found.trace(ids(3), sites=["resid_post.*", "z.1"])
    assert trace.sites == [Site("resid_post", 0), Site("z", 1), Site("resid_post", 1), Site("resid_post", 2)]
    assert torch.equal(trace.stack("resid_post"), torch.stack([trace[f"resid_post.{layer}"] for layer in range(3)]))
    assert trace.stack("z").shape == (1, 3, 13, 4, 8)
    with pytest.raises(SiteError, match=r"sites=\['mlp_out\.\*'\]"):
        trace.stack("mlp_out")
    with pytest.raises(SiteError, match="is one site"):
        found.trace(ids(1), sites="z.1")


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("name", ["resid_post.1", "z.1", "z.1.2", "q.1", "L1N7"])
def test_statistics_leave_padding_out(name: str, pad: Any) -> None:
    found = model("gpt2")
    rows = [found.trace(row, sites=[name]).positions_first(name)[0].double() for row in ids(3)]
    wide = torch.cat([row.reshape(len(row), -1) for row in rows])
    trace = found.trace(ids(3), sites=[name], pad=pad)
    assert trace.statistics(name) == {
        "mean": pytest.approx(float(wide.mean()), abs=1e-6),
        "std": pytest.approx(float(((wide - wide.mean()) ** 2).mean().sqrt()), rel=1e-5),
        "min": pytest.approx(float(wide.min()), rel=1e-5),
        "max": pytest.approx(float(wide.max()), rel=1e-5),
        "norm": pytest.approx(float((wide**2).sum(1).sqrt().mean()), rel=1e-5),
        "shape": list(trace.positions_first(name).shape),
    }


@pytest.mark.parametrize("position", [0, 3, -1])
@pytest.mark.parametrize("pad", ["left", "right"])
def test_statistics_of_one_position_are_those_of_each_rows_own_token(pad: Any, position: int) -> None:
    found = model("gpt2")
    rows = [found.trace(row, sites=["resid_post.1"])["resid_post.1"][0, position].double() for row in ids(3)]
    statistics = found.trace(ids(3), sites=["resid_post.1"], pad=pad).statistics("resid_post.1", position)
    assert statistics["mean"] == pytest.approx(float(torch.stack(rows).mean()), abs=1e-6)
    assert statistics["norm"] == pytest.approx(sum(float(row.norm()) for row in rows) / 3, rel=1e-5)
    with pytest.raises(TokenError):
        found.trace(ids(3), sites=["resid_post.1"], pad=pad).statistics("resid_post.1", 7)


@pytest.mark.parametrize("site", ["resid_post.1", "z.1", "z.1.2", "q.1", "L1N7"])
def test_compare_is_per_row_and_position(site: str) -> None:
    found = model("gpt2")
    one, two = (found.trace(ids(3, seed), sites=[site], pad="left") for seed in (0, 1))
    results = {metric: one.compare(two, site, metric) for metric in ("cosine", "l2", "l1")}
    for row in range(3):
        for slot in range(13):
            if not one.tokens.mask[row, slot]:
                assert all(result[row, slot].isnan() for result in results.values())
                continue
            a, b = (trace.positions_first(site)[row, slot].double().reshape(-1) for trace in (one, two))
            assert float(results["cosine"][row, slot]) == pytest.approx(float(a @ b / (a.norm() * b.norm())))
            assert float(results["l2"][row, slot]) == pytest.approx(float(((a - b) ** 2).sum().sqrt()))
            assert float(results["l1"][row, slot]) == pytest.approx(float((a - b).abs().sum()))


def test_compare_with_itself_is_one_or_zero() -> None:
    trace = model("gpt2").trace(ids(1), sites=["resid_post.1"])
    assert torch.allclose(trace.compare(trace, "resid_post.1"), torch.ones(1, 13, dtype=torch.float64))
    assert (trace.compare(trace, "resid_post.1", "l2") == 0).all()
    assert (trace.compare(trace, "resid_post.1", "l1") == 0).all()


def test_compare_refuses_prompts_without_common_positions() -> None:
    found = model("gpt2")
    trace = found.trace(ids(3), sites=["resid_post.1"])
    other_rows = found.trace([*ids(3)[:1], *ids(3)[:0:-1]], sites=["resid_post.1"])
    with pytest.raises(ArgumentError, match="equal token length"):
        trace.compare(other_rows, "resid_post.1")  # lengths 13 5 9 and 13 9 5: the shapes agree
    with pytest.raises(ArgumentError, match="equal token length"):
        trace.compare(found.trace(ids(3), sites=["resid_post.1"], pad="left"), "resid_post.1")
    with pytest.raises(ArgumentError, match=r"\[3, 13, 32\] in one trace and \[1, 13, 32\] in the other"):
        trace.compare(found.trace(ids(1), sites=["resid_post.1"]), "resid_post.1")
    with pytest.raises(ArgumentError, match="unknown metric 'kl'"):
        trace.compare(trace, "resid_post.1", "kl")  # pyright: ignore[reportArgumentType]


# ── spans ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pad", ["left", "right"])
def test_span_reads_the_tokens_of_a_text_of_characters_or_of_indices(tiny_model: Model, pad: Any) -> None:
    """This model reads characters, so that characters and token indices are the same numbers."""
    trace = tiny_model.trace(["The cat sat", "On a mat"], sites=["resid_post.0", "q.1"], pad=pad)
    value = trace["resid_post.0"][0, trace.tokens.mask[0]][4:7]
    for where in ("cat", (4, 7), slice(4, 7), slice(-7, -4)):
        assert torch.equal(trace.span("resid_post.0", where, "all"), value)
        assert torch.equal(trace.span("resid_post.0", where), value.mean(0))
        assert torch.equal(trace.span("resid_post.0", where, "max"), value.amax(0))
        assert torch.equal(trace.span("resid_post.0", where, "last"), value[2])
    row = trace["q.1"][1][:, trace.tokens.mask[1]][:, 5:8]
    assert torch.equal(trace.span("q.1", "mat", "all", row=1), row.movedim(1, 0))
    assert torch.equal(trace.span("q.1.2", "mat", "last", row=1), row[2, 2])


def test_span_refuses_what_is_not_there(tiny_model: Model) -> None:
    trace = tiny_model.trace("a cat and a dog", sites=["resid_post.0"])
    with pytest.raises(TokenError, match="does not hold 'cow'"):
        trace.span("resid_post.0", "cow")
    with pytest.raises(TokenError, match="more than once"):
        trace.span("resid_post.0", "a")
    with pytest.raises(TokenError, match="holds no token"):
        trace.span("resid_post.0", slice(3, 3))
    with pytest.raises(TokenError):
        trace.span("resid_post.0", slice(3, 99))
    with pytest.raises(TokenError):
        trace.span("resid_post.0", "cat", row=1)
    with pytest.raises(ArgumentError, match="unknown reduction 'sum'"):
        trace.span("resid_post.0", "cat", "sum")  # pyright: ignore[reportArgumentType]


# ── what is held, and for how long ───────────────────────────────────────────────────────────────────


@pytest.fixture
def fresh() -> Iterator[None]:
    """What was there before is not looked at, of which there is much."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live() -> list[Tensor]:
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor)]


def memory(tensors: Iterable[Tensor]) -> set[int]:
    return {tensor.untyped_storage().data_ptr() for tensor in tensors if tensor.layout == torch.strided}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("case", ["gpt2", "llama", "falcon", "gemma2", "qwen3_moe", "deepseek_v3"])
def test_nothing_is_held_that_was_not_asked_for(case: str) -> None:
    found = model(case)
    prompt = found.tokens(ids(3), pad="left")
    sites = ["resid_post.1", "z.1"] + (["pattern.1"] if ("pattern", 1) not in found.unavailable else [])
    found.trace(prompt, sites=sites)
    before = memory(live())
    trace = found.trace(prompt, sites=sites, edits={"mlp_out.1": iv.scale(0.5)})
    held = memory(live()) - before
    tokens = memory(value for value in vars(trace.tokens).values() if isinstance(value, Tensor))
    assert len(held) > len(sites)
    assert held <= memory([*trace.values.values(), trace.logits]) | tokens
    assert trace.sites == sorted(Site.parse(name) for name in sites)
    count = len(live())
    del trace
    assert len(live()) < count
    assert memory(live()) <= before


def test_three_hundred_traces_leave_nothing_behind() -> None:
    found = model("llama")
    prompt = found.tokens(ids(1)[0][:4])
    hooks = count_hooks(found.hf)

    def once(number: int) -> None:
        found.trace(prompt, sites=["resid_post.*", "pattern.1"], edits={"z.1.2": iv.noise(0.1, number)})

    once(0)
    before = len(live())
    for number in range(300):
        once(number)
    assert len(live()) == before
    assert count_hooks(found.hf) == hooks


def count_hooks(hf: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in hf.modules())


def checksum(value: Tensor) -> str:
    return hashlib.sha256(value.detach().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("case", CASES)
def test_kept_values_never_change_again(case: str) -> None:
    """Not in the pass itself, whose blocks may work in place, nor in later passes, edited in place or generated."""
    found = model(case)
    seen: dict[Site, str] = {}

    def look(site: Site) -> iv.Intervention:
        def function(value: Tensor) -> Tensor:
            seen[site] = checksum(value)
            return value

        return function

    sites = [site for site in found.sites() if site != Site("logits")]
    watched = [site for site in sites if site.kind.writable]
    trace = found.trace(ids(3), sites=sites, edits={site: look(site) for site in watched})
    after = {site: checksum(trace[site]) for site in sites}
    assert {site: after[site] for site in watched} == seen
    logits = checksum(trace.logits)
    found.trace(ids(3), sites=sites, edits={site: lambda x: x.mul_(2) for site in watched})
    generation = found.generate(ids(1)[0][:4], max_new_tokens=3, sites=sites, stop_tokens=[])
    assert generation.trace is not None
    kept = {site: checksum(generation.trace[site]) for site in sites}
    found.generate(ids(1)[0][:4], max_new_tokens=3, edits={site: lambda x: x.mul_(2) for site in watched})
    assert {site: checksum(trace[site]) for site in sites} == after
    assert {site: checksum(generation.trace[site]) for site in sites} == kept
    assert checksum(trace.logits) == logits


@pytest.mark.parametrize("case", ["gpt2", "falcon", "falcon-7b", "falcon-alibi", "bloom", "gptj", "llama", "opt-350m"])
def test_a_tensor_that_an_edit_returns_is_not_written_into(case: str) -> None:
    """Patching by `lambda _: clean[site]` hands the pass a tensor that belongs to another trace."""
    found = model(case)
    sites = [site for site in found.sites() if site.kind.writable and site.layer == 1]
    clean = found.trace(ids(3, seed=1), sites=sites)
    before = {site: checksum(clean[site]) for site in sites}
    for site in sites:
        patched = found.trace(ids(3, seed=0), sites=[site], edits={site: lambda _, site=site: clean[site]})
        assert torch.equal(patched[site], clean[site])
    assert {site: checksum(clean[site]) for site in sites} == before


def test_generated_keys_do_not_keep_the_cache_alive() -> None:
    generation = model("llama").generate(ids(1), max_new_tokens=6, sites=["k.1", "v.1"], stop_tokens=[])
    assert generation.trace is not None
    for value in generation.trace.values.values():
        assert value.untyped_storage().nbytes() == value.numel() * 4


def test_to_detaches_and_keeps_the_values() -> None:
    trace = model("gpt2").trace(ids(3), sites=["z.1"], grad=True)
    here = trace.to("cpu")
    assert not here["z.1"].requires_grad
    assert not here.logits.requires_grad
    assert torch.equal(here["z.1"], trace["z.1"])
    assert here.recipe == trace.recipe


# ── gradients ────────────────────────────────────────────────────────────────────────────────────────

GRADIENTS = [
    ("gpt2", ["embed", "pos_embed", "resid_pre.1", "q.1", "k.1", "v.1", "scores.1", "pattern.1", "z.1", "neurons.1"]),
    ("granite", ["attn_out.1", "mlp_out.1", "attn_out.0", "resid_post.1", "z.1", "final_norm"]),
    ("gemma2", ["attn_out.1", "mlp_out.1", "scores.1"]),
    ("falcon", ["mlp_out.1", "attn_out.1", "neurons.1", "z.1"]),
    ("gpt_oss", ["pattern.1", "scores.1", "router_weights.1", "experts_out.1"]),
    ("deepseek_v3", ["q.1", "k.1", "v.1", "shared_out.1"]),
]


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize(("case", "site"), [(case, site) for case, sites in GRADIENTS for site in sites])
def test_gradient_is_the_finite_difference(case: str, site: str, edited: bool) -> None:
    """Edited: with a change at one position of the very site, which must not cut the others off."""
    with true_float64():
        found = model(case, None, torch.float64)
        prompt = ids(1)[0][:5]
        edit: list[iv.Intervention] = [iv.at(iv.scale(1.5), 2)] if edited else []
        trace = found.trace(prompt, sites=[site], edits={site: edit} if edit else None, grad=True)
        weights = torch.randn(trace.logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        value = trace[site]
        (gradient,) = torch.autograd.grad((trace.logits * weights).sum(), [value])
        step = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        step = step * (value > -1e30)

        def shifted(sign: float) -> float:
            moved = found.trace(prompt, edits={site: [*edit, iv.add(sign * 1e-6 * step)]})
            return float((moved.logits * weights).sum())

        expected = (shifted(1) - shifted(-1)) / 2e-6
    assert float((gradient * step).sum()) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert (gradient[step != 0] != 0).any()


def test_gradients_flow_through_units_of_a_kept_site() -> None:
    trace = model("llama").trace(ids(1), sites=["z.1", "resid_pre.1"], edits={"z.1.2": iv.scale(2.0)}, grad=True)
    through, stream = torch.autograd.grad(trace.logits[0, -1, 5], [trace["z.1"], trace["resid_pre.1"]])
    assert (through.abs().sum((0, 1, 3)) > 0).all()
    assert (stream.abs().sum(-1) > 0).all()


def test_no_graph_is_kept_unless_asked_for() -> None:
    found = model("gpt2")
    assert torch.is_grad_enabled()
    assert all(parameter.requires_grad for parameter in found.hf.parameters())
    trace = found.trace(ids(1), sites=found.sites())
    assert not any(value.requires_grad for value in [*trace.values.values(), trace.logits])
    assert torch.is_grad_enabled()
    with torch.no_grad():
        assert found.trace(ids(1), sites=["z.1"], grad=True)["z.1"].requires_grad
        assert not torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in found.hf.parameters())


@pytest.mark.parametrize("case", ["gpt2", "granite", "gemma2", "falcon"])
def test_values_and_logits_are_the_same_bits_with_a_graph(case: str) -> None:
    found = model(case)
    sites = [site for site in found.sites() if site.name not in ("scores", "pattern")]
    plain, graph = (found.trace(ids(3), sites=sites, grad=grad) for grad in (False, True))
    assert torch.equal(plain.logits, graph.logits)
    assert all(torch.equal(plain[site], graph[site]) for site in sites)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────

SUFFIXES = [".safetensors", ".npz", ".pt", ".pkl"]
SAVED = ["gpt2", "llama", "gemma2", "falcon", "gpt_oss", "qwen3_moe", "deepseek_v3"]


def saved(path: Path, trace: Trace) -> Trace:
    assert trace.save(path, allow_pickle=path.suffix == ".pkl") == path
    return Trace.load(path, allow_pickle=path.suffix == ".pkl")


def assert_same(loaded: Trace, trace: Trace) -> None:
    assert loaded.sites == trace.sites
    for site in [*trace.sites, Site("logits")]:
        assert loaded[site].dtype == trace[site].dtype
        assert torch.equal(loaded[site], trace[site]), site
    assert torch.equal(loaded.tokens.ids, trace.tokens.ids)
    assert torch.equal(loaded.tokens.mask, trace.tokens.mask)
    assert loaded.tokens.pad == trace.tokens.pad
    assert loaded.recipe == trace.recipe


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", SAVED)
def test_every_format_gives_the_same_trace_back(case: str, suffix: str, tmp_path: Path) -> None:
    found = model(case)
    trace = found.trace(ids(3), sites=found.sites(), edits={"mlp_out.1": iv.scale(0.5)}, pad="left")
    loaded = saved(tmp_path / f"trace{suffix}", trace)
    assert_same(loaded, trace)
    assert torch.equal(loaded.mean("z.1"), trace.mean("z.1"))
    assert loaded.recipe.edits == ("mlp_out.1: scale(0.5)",)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bfloat16_round_trip(suffix: str, tmp_path: Path) -> None:
    found = model("llama", None, torch.bfloat16)
    trace = found.trace(ids(3), sites=["resid_post.*", "scores.1", "pattern.1"])
    if suffix == ".npz":
        with pytest.raises(ArtifactError, match=r"is bfloat16, which numpy does not have\. Save as \.safetensors"):
            trace.save(tmp_path / "trace.npz")
        assert not list(tmp_path.iterdir())
    else:
        assert_same(saved(tmp_path / f"trace{suffix}", trace), trace)


def test_masked_scores_may_be_minus_infinity_and_nothing_else_may(tmp_path: Path) -> None:
    found = model("gpt2")
    cut = iv.at(lambda scores: torch.cat([scores[..., :-1], scores[..., -1:] - torch.inf], -1), slice(None))
    trace = found.trace([5, 6, 7], sites=["scores.1"], edits={"scores.1": cut})
    assert trace["scores.1"].isneginf().any()
    for suffix in SUFFIXES:
        assert_same(saved(tmp_path / f"trace{suffix}", trace), trace)
    assert trace.save(tmp_path / "trace.json").exists()
    broken = dataclasses.replace(trace, values={**trace.values, Site("logits"): trace.logits / 0})
    for suffix in SUFFIXES:
        with pytest.raises(ArtifactError, match="logits holds numbers that are not finite"):
            broken.save(tmp_path / f"broken{suffix}", allow_pickle=True)
        assert not (tmp_path / f"broken{suffix}").exists()


def test_a_loaded_trace_reads_other_peoples_names_without_a_model(tmp_path: Path) -> None:
    trace = model("llama").trace(ids(3), sites=["z.1", "resid_pre.1", "resid_post.1", "q.1"])
    loaded = saved(tmp_path / "trace.safetensors", trace)
    assert torch.equal(loaded["L1H2"], trace["z.1.2"])
    assert torch.equal(loaded["blocks.1.hook_resid_pre"], trace["resid_pre.1"])
    assert torch.equal(loaded["layers.1.output"], trace["resid_post.1"])
    assert torch.equal(loaded["blocks.1.attn.hook_rot_q"], trace["q.1"])
    assert torch.equal(loaded["logits"], trace.logits)
    assert "L1H3" in loaded
    assert "L2H3" not in loaded
    with pytest.raises(SiteError, match="did not keep mlp_out"):
        loaded["MLP L1"]
    with pytest.raises(SiteError, match="beyond the last head"):
        loaded["L1H4"]


@pytest.mark.parametrize("name", ["model.layers.1.self_attn", "model.layers.1.mlp", "lm_head"])
def test_a_loaded_trace_refuses_names_that_only_a_model_can_judge(name: str, tmp_path: Path) -> None:
    """On Gemma 2 the output of the attention module is not what attention adds; the file cannot tell."""
    trace = model("gemma2").trace(ids(1), sites=["attn_out.1", "q.1"])
    loaded = saved(tmp_path / "trace.safetensors", trace)
    with pytest.raises(SiteError, match="on some models only"):
        loaded[name]
    with pytest.raises(UnavailableError):
        trace[name]


def test_a_loaded_trace_gets_its_text_from_a_tokenizer(tiny_model: Model, tmp_path: Path) -> None:
    trace = tiny_model.trace("The cat sat", sites=["resid_post.0"])
    trace.save(tmp_path / "trace.safetensors")
    loaded = Trace.load(tmp_path / "trace.safetensors", tokenizer=tiny_model.tokenizer)
    assert loaded.tokens.pieces == trace.tokens.pieces
    assert torch.equal(loaded.span("resid_post.0", "cat"), trace.span("resid_post.0", "cat"))
    assert Trace.load(tmp_path / "trace.safetensors").tokens.pieces[0][0].startswith("<|")


def test_json_tells_everything_but_the_tensors(tiny_model: Model, tmp_path: Path) -> None:
    trace = tiny_model.trace(
        ["The cat", "A"], sites=["resid_post.0", "scores.1"], edits={"L1H2": iv.zero()}, pad="left"
    )
    told = json.loads(trace.save(tmp_path / "trace.json").read_text(encoding="utf8"))
    assert told["pieces"] == [list("The cat"), ["A"]]
    assert told["pad"] == "left"
    assert told["recipe"] == json.loads(trace.recipe.model_dump_json())
    assert told["recipe"]["edits"] == ["z.1.2: zero()"]
    assert set(told["statistics"]) == {"resid_post.0", "scores.1", "logits"}
    assert told["statistics"]["resid_post.0"] == trace.statistics("resid_post.0")
    assert told["statistics"]["resid_post.0"]["shape"] == [2, 7, 24]
    with pytest.raises(ArtifactError, match="holds statistics, no tensors"):
        Trace.load(tmp_path / "trace.json")


def test_pickles_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    trace = model("gpt2").trace([5, 6])
    with pytest.raises(ArtifactError, match="runs code when it is opened"):
        trace.save(tmp_path / "trace.pkl")
    trace.save(tmp_path / "trace.pkl", allow_pickle=True)
    with pytest.raises(ArtifactError, match="runs code when it is opened"):
        Trace.load(tmp_path / "trace.pkl")
    for name in ("trace", "trace.txt", "trace.safetensor"):
        with pytest.raises(ArtifactError, match=r"Use \.safetensors"):
            trace.save(tmp_path / name)
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ArtifactError, match=r"Use \.safetensors"):
            Trace.load(tmp_path / name)
    with pytest.raises(ArtifactError, match="there is no file"):
        Trace.load(tmp_path / "nowhere.safetensors")


class Canary:
    """Unpickling it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_no_code_of_a_file_runs(suffix: str, tmp_path: Path) -> None:
    bomb, canary = tmp_path / f"trace{suffix}", tmp_path / "canary"
    bomb.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ArtifactError):
        Trace.load(bomb)
    torch.save({"meta": Canary(canary), "tensors": {}}, bomb)
    with pytest.raises(ArtifactError) as told:
        Trace.load(bomb)
    assert not canary.exists()
    assert "weights_only" not in str(told.value), "torch's own words say how to run it all the same"


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_damage_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    """A flipped bit in 200 places, and every kind of cut; a bit that means nothing may be overlooked, never misread."""
    trace = model("gpt2").trace(ids(3), sites=["z.1"])
    path = tmp_path / f"trace{suffix}"
    whole = trace.save(path).read_bytes()
    refused = 0
    for place in range(0, len(whole), len(whole) // 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            assert_same(Trace.load(path), trace)
        except ArtifactError:
            refused += 1
    assert refused > 150
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArtifactError):
            Trace.load(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_foreign_files_are_refused(suffix: str, tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / f"other{suffix}"
    foreign: dict[str, Any] = {"weight": torch.zeros(2)}
    for held in (foreign, {"meta": {"kind": "dictionary"}, "tensors": foreign}, [1, 2], {"meta": 3, "tensors": 4}):
        if suffix == ".safetensors":
            artifact.write_tensors(path, foreign, {"kind": "dictionary"} if held is foreign else {})
        elif suffix == ".npz":
            np.savez(path, weight=np.zeros(2), **({} if held is foreign else {"meta": json.dumps(str(held))}))
        elif suffix == ".pt":
            torch.save(held, path)
        else:
            path.write_bytes(pickle.dumps(held))
        with pytest.raises(ArtifactError, match="no trace"):
            Trace.load(path, allow_pickle=suffix == ".pkl")


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_compressed_files_are_not_blown_up(suffix: str, tmp_path: Path) -> None:
    small, bomb = tmp_path / f"trace{suffix}", tmp_path / f"bomb{suffix}"
    model("gpt2").trace([5, 6]).save(small)
    with zipfile.ZipFile(small) as archive, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as packed:
        for member in archive.namelist():
            packed.writestr(member, archive.read(member))
    with pytest.raises(ArtifactError, match="compressed"):
        Trace.load(bomb)


def test_a_view_does_not_drag_its_base_into_the_file(tmp_path: Path) -> None:
    """GPT-2's q, k and v are one tensor."""
    trace = model("gpt2").trace(ids(3), sites=["q.1"])
    for suffix in (".pt", ".pkl"):
        size = trace.save(tmp_path / f"trace{suffix}", allow_pickle=True).stat().st_size
        assert size < 4 * (trace["q.1"].numel() + trace.logits.numel()) + 9 * trace.tokens.ids.numel() + 8192


# ── batches ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [1, 2, 5])
def test_values_do_not_depend_on_the_size_of_the_batch(size: int) -> None:
    found = model("llama")
    prompts = [row[:length] for row, length in zip(ids(3) + ids(3, seed=2), [13, 5, 9, 2, 1, 7], strict=True)]
    whole = found.trace(prompts, sites=["resid_post.2"])
    for start in range(0, len(prompts), size):
        part = found.trace(prompts[start : start + size], sites=["resid_post.2"])
        for row in range(len(part.tokens)):
            mine = part["resid_post.2"][row, part.tokens.mask[row]]
            theirs = whole["resid_post.2"][start + row, whole.tokens.mask[start + row]]
            assert torch.allclose(mine, theirs, atol=1e-5)
