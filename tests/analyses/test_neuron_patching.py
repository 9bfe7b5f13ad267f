"""Neurons: against runs of their own and the sums that they must make."""

import pytest

import fluoroscope
from architectures import common
from fluoroscope.analyses.activation_patching import activation_patching
from fluoroscope.analyses.neuron_patching import NeuronPatching, neuron_patching
from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.interventions import at, replace

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(("case", "place"), [("gpt2", None), ("llama", 5), ("gemma2", 7), ("bloom", None)])
def test_every_neuron_is_a_run_of_its_own(case, place, direction):
    found = common.model(case)
    result = neuron_patching(
        found, [IDS[0]], [IDS[1]], layers=[2, 0], position=place, answer="#7", foil="#11", direction=direction
    )
    assert result.layers == (2, 0)
    base, donor = IDS[::-1] if direction == "denoise" else IDS
    for row, layer in enumerate(result.layers):
        assert len(result.effects[row]) == len(result.scores[row]) == found.d_mlp_of(layer)
        value = found.trace([donor], sites=[f"neurons.{layer}"])[f"neurons.{layer}"]
        for unit in (0, 3, found.d_mlp_of(layer) - 1):
            own = value[..., unit]
            edit = replace(own) if place is None else at(replace(own[:, [place]]), place)
            logits = found.trace([base], edits={f"neurons.{layer}.{unit}": edit}).logits[0, -1]
            assert result.scores[row][unit] == pytest.approx(float(logits[7] - logits[11]), abs=2e-5)
    assert NeuronPatching.from_json(result.to_json()) == result


def test_all_neurons_of_a_block_are_what_its_mlp_writes(specimen):
    """W_out is linear, so to patch all neurons is to patch the MLP's output."""
    result = neuron_patching(specimen, CLEAN, OTHER, layers=[0, 3], position=9)
    mlp = activation_patching(specimen, CLEAN, OTHER, site="mlp_out", positions=[9])
    for layer, share in zip(result.layers, result.together, strict=True):
        assert share == pytest.approx(mlp.effects[layer][0], abs=1e-5)


def test_what_people_read(specimen):
    result = neuron_patching(specimen, CLEAN, OTHER, layers=[3], top_k=4)
    bars, blocks = result.views()
    assert [bar.label for bar in bars.items] == [site.label for site, _ in result.neurons()[:4]]
    assert bars.items[0].label in result.summary()
    assert blocks.items[0].value == result.together[0]
    assert "1 of 768 reaches 1.0 %; all neurons of block 3 at once" in result.summary()


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"layers": [2, 6]}, ArgumentError, "block 6 has no neurons. Blocks with neurons: 0, 1, 2, 3"),
        ({"layers": []}, ArgumentError, "no block is named"),
        ({"top_k": 0}, ArgumentError, "lists nothing"),
        ({"position": 40}, TokenError, "40"),
        ({"corrupted": CLEAN}, ArgumentError, "same tokens"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        neuron_patching(specimen, **{"clean": CLEAN, "corrupted": OTHER} | arguments)


def test_a_model_of_experts_alone_is_refused():
    with pytest.raises(UnavailableError, match="offers neurons on no block"):
        neuron_patching(common.model("mixtral"), [IDS[0]], [IDS[1]])
