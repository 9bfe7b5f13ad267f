"""Blocks and modules by attribute and index."""

import pytest
import torch

from fluoroscope.interpretable.core import LayerListProxy, ModuleProxy
from interpretable.conftest import IDS


def test_blocks_count_from_both_ends(pair):
    layers = pair.ours.layers
    count = pair.ours.xray.n_layers
    assert isinstance(layers, LayerListProxy)
    assert len(layers) == len(list(layers)) == count
    with pair.ours.trace(IDS) as trace:
        values = [layer.output.save() for layer in layers[1:]]
        assert torch.equal(layers[-1].output.save(), values[-1])
    assert list(trace.saved_values) == [f"layers.{layer}.output" for layer in range(1, count)]
    for beyond in (count, -count - 1):
        with pytest.raises(IndexError, match="there is no layer"):
            layers[beyond]


def test_parts_have_their_own_name_and_the_usual_one(pair):
    """`self_attn` and `mlp` are these parts on every family; a part that is not there is told with the nearest."""
    block = pair.ours.layers[1]
    assert isinstance(block, ModuleProxy)
    with pair.ours.trace(IDS) as trace:
        own = getattr(block, pair.attn).output.save()
        usual = block.self_attn.output.save()
    assert torch.equal(own, usual)
    assert "layers.1.self_attn.output" in trace.saved_values
    with pytest.raises(AttributeError, match=r"no part 'mpl'.*'mlp'"):
        _ = block.mpl
    assert block.training is False
    assert "layers.1" in repr(block)
    assert "output" in repr(block.output).lower()


def test_a_module_whose_output_is_no_site_is_told(pair):
    activation = {"gpt2": "act", "llama": "act_fn"}[pair.plain.config.model_type]
    with pair.ours.trace(IDS), pytest.raises(KeyError, match="names no site"):
        getattr(pair.ours.layers[1].mlp, activation).output.save()
