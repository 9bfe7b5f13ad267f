"""Activations by any name of theirs, on every family, and a cache of named ones."""

import pytest
import torch

from architectures.common import model
from architectures.zoo import CASES
from fluoroscope.interpretable import ActivationCache, InterpretableModel
from fluoroscope.interpretable.core.cache import name_of
from fluoroscope.interpretable.refusals import MissingError
from interpretable.conftest import IDS


def copied(output: object) -> torch.Tensor | None:
    """What a module gives out, before its block goes on with it in place."""
    value = output[0] if isinstance(output, tuple) else output
    return value.clone() if isinstance(value, torch.Tensor) else None


@pytest.mark.parametrize("case", CASES)
def test_every_key_of_a_trace_finds_its_value(case):
    """Keys are module paths where the value is that module's output, and each key and each site finds the same."""
    wrapped = InterpretableModel(model(case))
    outputs = {}
    handles = [
        module.register_forward_hook(lambda _m, _a, out, name=name: outputs.update({name: copied(out)}))
        for name, module in wrapped.named_modules()
    ]
    with wrapped.trace(IDS) as trace:
        pass
    for handle in handles:
        handle.remove()
    for site in trace.result.sites:
        key = name_of(wrapped.xray, site)
        assert torch.equal(trace.activations[key], trace.activations[str(site)])
        if outputs.get(key) is not None:
            out = outputs[key]
            value = trace.activations[key]
            same = value.transpose(1, 2) if site.name.endswith("_proj") and value.dim() == 4 else value
            assert torch.equal(same.reshape(out.shape), out), key
    assert any(key in outputs for key in trace.activations)
    assert len(trace.activations) == len(set(trace.activations))


def test_a_missing_key_is_a_key_error_with_what_is_there(pair):
    with pair.ours.trace(IDS) as trace:
        pass
    assert "layers.99" not in trace.activations
    assert trace.activations.get("layers.99") is None
    with pytest.raises(KeyError, match="beyond the last"):
        trace.get_activation("layers.99")
    with pytest.raises(MissingError, match="did not keep"):
        trace.activations["scores.0"]


def test_a_cache_has_the_names_it_was_given():
    cache = ActivationCache({"layers.1": torch.ones(2)}, {"why": "test"})
    assert "layers.1" in cache
    assert (len(cache), list(cache.keys()), cache.metadata) == (1, ["layers.1"], {"why": "test"})
    assert torch.equal(cache.get("layers.1"), torch.ones(2))
    with pytest.raises(KeyError, match=r"layers\.1"):
        cache.get("layers.11")
