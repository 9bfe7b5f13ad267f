"""InterpretableModel against plain hooks on Hugging Face's modules, and what it is made of."""

import copy

import pytest
import torch
from torch import nn

import fluoroscope
from architectures.zoo import build
from fluoroscope.errors import ArchitectureError, ArgumentError
from fluoroscope.interpretable import InterpretableModel
from fluoroscope.interpretable import interventions as iv
from fluoroscope.interpretable.causal import activation_patching
from interpretable.conftest import IDS, OTHER

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def test_a_trace_holds_the_plain_forwards_values(pair):
    logits, kept = pair.hooked(IDS)
    with pair.ours.trace(IDS) as trace:
        blocks = [layer.output.save() for layer in pair.ours.layers]
        attention, mlp = pair.ours.layers[1].self_attn.output.save(), pair.ours.layers[1].mlp.output.save()
        output = pair.ours.output.save()
    torch.testing.assert_close(output, logits, **CLOSE)
    for layer, value in enumerate(blocks):
        torch.testing.assert_close(value, kept[f"block{layer}"], **CLOSE)
        assert torch.equal(trace.get(f"layers.{layer}.output"), value)
    torch.testing.assert_close(attention, kept["attn1"], **CLOSE)
    torch.testing.assert_close(mlp, kept["mlp1"], **CLOSE)
    with pair.ours.trace(IDS, sites=["resid_post.*"]) as bare:  # without patterns, the module's own kernels
        pass
    assert torch.equal(bare.output, logits)
    assert torch.equal(pair.ours(IDS), logits)


def test_interventions_are_plain_hooks(pair):
    vector = torch.randn(pair.ours.xray.d_model, generator=torch.Generator().manual_seed(0))
    logits, _ = pair.hooked(IDS, block1=lambda x: x + vector, mlp0=lambda x: x * 0.5, attn2=torch.zeros_like)
    edits = {"layers.1": iv.add_vector(vector), "layers.0.mlp": iv.scale(0.5), "layers.2.self_attn": iv.zero_out}
    with pair.ours.trace(IDS, interventions=edits) as trace:
        pass
    torch.testing.assert_close(trace.output, logits, **CLOSE)


@pytest.mark.parametrize("part", ["mlp", "attn"])
def test_patching_is_plain_hooks(pair, part):
    """Recovery of the clean output by Euclidean distance at the end of the prompts, layer by layer, in percent."""
    clean, kept = pair.hooked(IDS)
    corrupted, _ = pair.hooked(OTHER)
    whole = float((clean - corrupted)[0, -1].norm())
    expected = []
    for layer in range(len(pair.ours.layers)):
        value = kept[f"{part}{layer}"]
        patched, _ = pair.hooked(OTHER, **{f"{part}{layer}": lambda _, value=value: value})
        expected.append(1 - float((clean - patched)[0, -1].norm()) / whole)
    found = activation_patching(pair.ours, IDS, OTHER, component=part)
    assert found.effect_matrix.numpy() == pytest.approx(expected, abs=1e-5)
    named = {"mlp": "mlp", "attn": "self_attn"}[part]
    by_method = pair.ours.activation_patching(IDS, OTHER, component=named)
    assert list(by_method.values()) == pytest.approx([100 * value for value in expected], abs=1e-3)


def test_every_projection_is_a_component(pair):
    names = ["mlp.down_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "self_attn.q_proj"]
    if pair.container != "model.layers":
        names = ["mlp.c_proj", "mlp.c_fc"]
    for name in names:
        assert len(pair.ours.activation_patching(IDS, OTHER, component=name)) == len(pair.ours.layers)


def test_greedy_and_steered_text_is_hugging_faces(pair):
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    vector = torch.randn(pair.ours.xray.d_model, generator=torch.Generator().manual_seed(1))
    block = pair.plain.get_submodule(pair.container)[1]

    def steer(_module, _args, output):
        return (output[0] + 3 * vector, *output[1:]) if isinstance(output, tuple) else output + 3 * vector

    for steered in (False, True):
        handle = block.register_forward_hook(steer) if steered else None
        ids = pair.plain.generate(torch.tensor([IDS]), **options)[0, len(IDS) :].tolist()
        if handle is not None:
            handle.remove()
        edits = {"layers.1": iv.add_vector(3 * vector)} if steered else None
        assert list(pair.ours.generate(IDS, 8, interventions=edits, stop_tokens=[]).tokens) == ids


def test_a_loaded_module_and_a_loaded_model_are_wrapped_as_they_are(pair):
    known = fluoroscope.load(build("gpt2"))
    assert InterpretableModel(known).xray is known
    module = build("gpt2")
    found = InterpretableModel(module, layer_attr="h")
    assert found.model is module
    assert dict(found.named_modules()).keys() == dict(module.named_modules()).keys()
    assert found.parameters().keys() == found.trainable_parameters().keys()
    assert repr(found).startswith("InterpretableModel(")


def test_parts_with_names_of_their_own(pair):
    """A GPT-2 whose modules are called otherwise computes the same, once the names are told."""
    module = build("gpt2")
    logits = module(torch.tensor([IDS])).logits
    for name, path in (("tokens_in", "wte"), ("last_norm", "ln_f"), ("stack", "h")):
        setattr(module.transformer, name, getattr(module.transformer, path))
    module.words_out = module.lm_head
    found = InterpretableModel(
        module, layer_attr="stack", embedding_path="transformer.tokens_in", norm_path="transformer.last_norm",
        lm_head_path="words_out",
    )  # fmt: skip
    assert found.xray.architecture.layers == "transformer.stack"
    assert found.xray.architecture.lm_head == "words_out"
    with found.trace(IDS) as trace:
        found.layers[1].output.save()
    torch.testing.assert_close(trace.output, logits)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"layer_attr": "transformer"}, AttributeError, "no list of layers 'transformer'"),
        ({"lm_head_path": "nothing"}, AttributeError, "no module 'nothing'"),
        ({"norm_path": "transformer.h.0.ln_1"}, ArchitectureError, ""),
    ],
)
def test_a_wrong_path_is_refused(options, kind, words):
    """A path that leads to another module than it claims breaks an identity that is proved at load."""
    module = build("gpt2")
    if kind is ArchitectureError:
        found = InterpretableModel(module, **options)
        assert ("unembed", None) in found.xray.unavailable
        return
    with pytest.raises(kind, match=words):
        InterpretableModel(module, **options)


def test_what_cannot_be_loaded_or_read_is_a_value_error(pair):
    with pytest.raises(ValueError, match="there is no folder"):
        InterpretableModel("./nowhere/at/all")
    with pytest.raises(ValueError, match="tokenizer"), pair.ours.trace("a text"):
        pass
    with pytest.raises(ValueError, match="has no tokenizer"):
        pair.ours.encode("a text")
    with pytest.raises(AttributeError, match="no config that names a model type"):
        InterpretableModel(nn.Linear(2, 2))


def test_wrapping_twice_leaves_the_module_as_it_was(specimen):
    module = copy.deepcopy(specimen.model)
    before = {name: len(child._forward_hooks) for name, child in module.named_modules()}
    found = InterpretableModel(module, tokenizer=specimen.tokenizer)
    found.xray.close()
    assert {name: len(child._forward_hooks) for name, child in module.named_modules()} == before
    with pytest.raises(ArgumentError):
        found.generate("Once", max_tokens=0)
