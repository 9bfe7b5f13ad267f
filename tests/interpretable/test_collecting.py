"""Collected streams are those of each prompt alone, whatever it is batched with."""

import pytest
import torch

from fluoroscope.interpretable import batch_get_activations, collect_activations, get_activations
from interpretable.conftest import IDS

TEXTS = ["Once upon a time there was a girl", "Hello", "The cat sat on the mat", "Tom", "A red ball"]


def test_positions_are_each_prompts_own(specimen):
    """Trap 12: -1 read the padding."""
    together = get_activations(specimen, TEXTS, layers=[1, -1], positions=[0, -1])
    assert set(together) == {"layer_1", "layer_5"}
    for row, text in enumerate(TEXTS):
        with specimen.trace(text) as trace:
            stream = trace.activations["layers.5"][0]
        torch.testing.assert_close(together["layer_5"][row], stream[[0, -1]], rtol=1e-4, atol=1e-4)
    last = get_activations(specimen, TEXTS, layers=[1])["layer_1"]
    assert torch.equal(last, together["layer_1"][:, 1])


def test_the_batch_does_not_matter(specimen):
    whole = get_activations(specimen, TEXTS)
    for size in (1, 2, 8):
        parts = batch_get_activations(specimen, TEXTS, batch_size=size)
        for name, value in parts.items():
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-4)


def test_a_cache_keeps_what_is_asked_for_under_its_name(pair):
    cache = collect_activations(pair.ours, IDS, layers=["layers.1", "z.0.1"])
    with pair.ours.trace(IDS) as trace:
        pass
    assert list(cache.keys()) == ["layers.1", "z.0.1"]
    torch.testing.assert_close(cache.get("layers.1"), trace.activations["layers.1"])
    torch.testing.assert_close(cache.get("z.0.1"), trace.activations["z.0"][:, :, 1])
    everything = collect_activations(pair.ours, IDS)
    assert list(everything.keys()) == list(trace.activations)
    assert everything.metadata is not None
    assert everything.metadata["tokens"] == [IDS]


def test_what_is_not_there_is_an_error(specimen):
    with pytest.raises(IndexError, match="layer 6 is beyond"):
        get_activations(specimen, "a", layers=[6])
    with pytest.raises(ValueError, match="no token"):
        get_activations(specimen, "Tom", positions=7)
    with pytest.raises(ValueError, match="no prompt"):
        get_activations(specimen, [])
    for size in (0, 2.5, "8"):
        with pytest.raises(ValueError, match=f"batch_size={size!r} is no number of prompts"):
            batch_get_activations(specimen, TEXTS, batch_size=size)
