"""Projections of attention and MLP on every family: the weights' own products, and what is made of them."""

import pytest
import torch

from architectures.common import ids, model, relative
from architectures.zoo import CASES
from fluoroscope.interventions import add
from fluoroscope.model import Model

PLAIN = ("gpt2", "gpt2-untied", "gpt_neo", "bloom", "falcon-alibi", "gpt_bigcode", "gpt_bigcode-mha")
"""Neither rotary nor norms, scales or clips between the projections and the products."""
CLIPPED = ("olmo", "olmoe")
ROTARY = ("llama", "gpt_neox", "gptj", "codegen", "falcon", "phi3", "phi", "gemma2", "glm", "cohere-biased", "mixtral")


def kept(found: Model, layer: int = 1) -> list[str]:
    return [name for name in ("q_proj", "k_proj", "v_proj") if (name, layer) not in found.unavailable]


@pytest.mark.parametrize("case", CASES)
def test_projections_are_the_weights_times_what_attention_reads(case: str) -> None:
    found = model(case)
    if not kept(found):
        assert "low-rank" in found.unavailable["k_proj", 1]
        return
    trace = found.trace(ids(3), sites=["resid_pre.1", *(f"{name}.1" for name in kept(found))])
    norm = found.architecture.attn_norm
    with torch.no_grad():
        read = trace["resid_pre.1"] if norm is None else found.blocks[1].get_submodule(norm)(trace["resid_pre.1"])
        for name in kept(found):
            letter = name[0].upper()
            expected = torch.einsum("bpm,hmd->bhpd", read, found.weights[f"W_{letter}.1"])
            bias = found.weights.get(f"b_{letter}.1")
            expected = expected if bias is None else expected + bias[:, None]
            assert relative(trace[f"{name}.1"], expected) < 1e-5, name


@pytest.mark.parametrize("case", [case for case in CASES if case not in CLIPPED])
def test_values_go_into_attention_as_they_are_projected(case: str) -> None:
    found = model(case)
    layers = [site.layer for site in found.sites("v_proj")]
    assert layers or "low-rank" in found.unavailable["v_proj", 1]
    trace = found.trace(ids(3), sites=[f"{name}.{layer}" for layer in layers for name in ("v", "v_proj")])
    for layer in layers:
        assert torch.equal(trace[f"v.{layer}"], trace[f"v_proj.{layer}"])


@pytest.mark.parametrize("case", PLAIN)
def test_without_norm_and_rotary_queries_and_keys_are_what_is_projected(case: str) -> None:
    trace = model(case).trace(ids(3), sites=["q.*", "k.*", "q_proj.*", "k_proj.*"])
    for layer in range(3):
        for letter in "qk":
            assert torch.equal(trace[f"{letter}.{layer}"], trace[f"{letter}_proj.{layer}"])


@pytest.mark.parametrize("case", ROTARY)
def test_rotary_keeps_lengths_and_the_first_position(case: str) -> None:
    found = model(case)
    trace = found.trace(ids(1), sites=["q.1", "k.1", "q_proj.1", "k_proj.1"])
    for letter in "qk":
        before, after = trace[f"{letter}_proj.1"], trace[f"{letter}.1"]
        assert relative(after.norm(dim=-1), before.norm(dim=-1)) < 1e-5
        assert not torch.equal(before, after)
        if case != "phi3":  # its attention asks for positions from elsewhere
            assert torch.equal(before[:, :, 0], after[:, :, 0]) or case in ("gptj", "codegen")


@pytest.mark.parametrize("case", CLIPPED)
def test_clips_in_place_leave_the_kept_value_alone(case: str) -> None:
    found = model(case)
    trace = found.trace(ids(1), sites=["v.1", "v_proj.1"])
    clip = found.hf.config.clip_qkv
    assert (trace["v_proj.1"].abs() > clip).any()
    assert torch.equal(trace["v.1"], trace["v_proj.1"].clamp(-clip, clip))


@pytest.mark.parametrize("case", ["gpt2", "llama", "gpt_neox", "bloom", "falcon", "falcon-7b", "codegen", "phi3"])
@pytest.mark.parametrize("letter", "qkv")
def test_writing_one_head_leaves_every_other_bit_alone(case: str, letter: str) -> None:
    found = model(case)
    head = 0 if letter != "q" and found.n_kv_heads == 1 else 1
    before = found.trace(ids(3), sites=["q.1", "k.1", "v.1"])
    after = found.trace(ids(3), sites=["q.1", "k.1", "v.1"], edits={f"{letter}_proj.1.{head}": add(1.0)})
    for name in "qkv":
        for unit in range(before[f"{name}.1"].shape[1]):
            same = torch.equal(before[f"{name}.1.{unit}"], after[f"{name}.1.{unit}"])
            assert same == ((name, unit) != (letter, head)), (name, unit)


@pytest.mark.parametrize("case", CASES)
def test_hidden_units_are_made_of_the_mlps_own_projections(case: str) -> None:
    """What the MLP reads, times the weights; the family's own activation makes neurons of it; writing it acts."""
    found = model(case)
    layers = [site.layer for site in found.sites("up_proj")]
    if not layers:
        assert "experts" in found.unavailable["up_proj", 1]
        return
    layer, names = layers[-1], ["up_proj", *(["gate_proj"] if found.sites("gate_proj") else [])]
    block, arch = found.blocks[layer or 0], found.architecture
    first = block.get_submodule(str(arch.gate_up or arch.gate or arch.up))
    read: list[torch.Tensor] = []
    handle = first.register_forward_pre_hook(lambda _module, args: read.append(args[0]))
    trace = found.trace(ids(3), sites=[f"{name}.{layer}" for name in (*names, "neurons")])
    handle.remove()
    for name in names:
        matrix = found.weights[f"W_{'gate' if name == 'gate_proj' else 'in'}.{layer}"]
        bias = found.weights.get(f"b_{'gate' if name == 'gate_proj' else 'in'}.{layer}")
        expected = read[0].reshape(*trace[f"{name}.{layer}"].shape[:2], -1) @ matrix
        assert relative(trace[f"{name}.{layer}"], expected if bias is None else expected + bias) < 1e-5, name
    off = found.trace(ids(3), sites=[f"neurons.{layer}"], edits={f"{names[-1]}.{layer}.2": add(1.0)})
    changed = (off[f"neurons.{layer}"] != trace[f"neurons.{layer}"]).any(0).any(0)
    assert changed.nonzero().flatten().tolist() == [2]
    if len(names) == 2:
        doubled = found.trace(ids(3), sites=[f"neurons.{layer}"], edits={f"up_proj.{layer}": lambda x: 2 * x})
        assert relative(doubled[f"neurons.{layer}"], 2 * trace[f"neurons.{layer}"]) < 1e-5
