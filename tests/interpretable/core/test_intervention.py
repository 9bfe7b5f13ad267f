"""Each intervention against its closed form; the type of the model is kept."""

import itertools

import pytest
import torch

import fluoroscope
from architectures.zoo import build
from fluoroscope.errors import EditError
from fluoroscope.interpretable import InterpretableModel
from fluoroscope.interpretable import interventions as iv
from interpretable.conftest import IDS

VALUE = torch.randn(1, 8, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("intervention", "expected"),
    [
        (iv.zero_out, torch.zeros_like(VALUE)),
        (iv.scale(0.5), VALUE * 0.5),
        (iv.add_vector(torch.arange(32.0)), VALUE + torch.arange(32.0)),
        (iv.replace_with(0.25), torch.full_like(VALUE, 0.25)),
        (iv.replace_with(2 * VALUE), 2 * VALUE),
        (iv.clamp(-1.0, 1.0), VALUE.clamp(-1, 1)),
        (iv.clamp(max_val=0.1), VALUE.clamp(max=0.1)),
        (iv.compose().add(iv.scale(2.0)).add(iv.clamp(-1.0, 1.0)).build(), (2 * VALUE).clamp(-1, 1)),
    ],
)
def test_each_is_its_formula(intervention, expected):
    torch.testing.assert_close(intervention(VALUE.clone()), expected)


def test_noise_has_its_standard_deviation_and_is_new_each_time(pair):
    """New in every pass and at every layer; one seed gives one sequence of draws."""
    wide = torch.zeros(1, 64, 512)
    noise = iv.noise(std=0.2)
    draws = [noise(wide), noise(wide), iv.noise(std=0.2)(wide)]
    assert float(draws[0].std()) == pytest.approx(0.2, rel=0.02)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(draws, 2))
    assert float(torch.corrcoef(torch.stack([draw.flatten() for draw in draws])).triu(1).abs().max()) < 0.05
    first, second = iv.noise(0.2, seed=3), iv.noise(0.2, seed=3)
    assert torch.equal(first(wide), second(wide))
    assert torch.equal(first(wide), second(wide))
    edits = {"layers.0": iv.noise(0.5), "layers.1": iv.noise(0.5)}
    with pair.ours.trace(IDS, interventions=edits) as one, pair.ours.trace(IDS, interventions=edits) as other:
        assert not torch.equal(one.output, other.output)
    torch.manual_seed(1)
    once = iv.noise(0.2)(wide)
    torch.manual_seed(1)
    assert torch.equal(once, iv.noise(0.2)(wide))
    with pytest.raises(EditError):
        iv.noise(-1.0)


def test_nan_is_refused():
    for make in (iv.add_vector, iv.replace_with):
        with pytest.raises(EditError, match="NaN"):
            make(torch.tensor([1.0, float("nan")]))


def test_positions_take_the_values_own_rows(pair):
    new = VALUE + 5
    with pair.ours.trace(IDS) as before:
        pass
    with pair.ours.trace(IDS, interventions={"layers.1.mlp": iv.replace_at_positions(new, [2, -1])}) as after:
        pass
    kept, old = after.activations["mlp_out.1"], before.activations["mlp_out.1"]
    torch.testing.assert_close(kept[:, [2, 7]], new[:, [2, 7]])
    assert torch.equal(kept[:, :2], old[:, :2])
    assert torch.equal(kept[:, 3:7], old[:, 3:7])
    for wrong in ([8], [-9], []):
        with pytest.raises(EditError):
            iv.replace_at_positions(new, wrong)
    with pytest.raises(EditError, match="nothing was composed"):
        iv.compose().build()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_models_type_is_kept_whatever_is_added(dtype):
    """mlxterp's scalar replacement, float32 vector and noise turned the whole stream into float32."""
    found = InterpretableModel(fluoroscope.load(build("llama", dtype=dtype)))
    for intervention in (iv.replace_with(0.5), iv.add_vector(torch.ones(32)), iv.noise(0.1), iv.scale(0.5)):
        with found.trace(IDS, interventions={"layers.1": intervention}) as trace:
            pass
        assert {value.dtype for name, value in trace.activations.items() if "router" not in name} == {dtype}
