import pytest

import fluoroscope
from architectures import common
from fluoroscope.analyses.activation_patching import ActivationPatching, activation_patching
from fluoroscope.errors import TokenError, UnavailableError
from fluoroscope.interventions import at, replace

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.mark.parametrize("site", ["resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "k", "neurons"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2"])
def test_every_cell_is_a_run_of_its_own(case, site):
    found = common.model(case)
    result = activation_patching(found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", site=site)
    axis = 2 if site == "k" else 1
    for layer in range(3):
        name = f"{site}.{layer}"
        for place in (3, 5, 7):
            value = found.trace([IDS[0]], sites=[name])[name].narrow(axis, place, 1)
            logits = found.trace([IDS[1]], edits={name: at(replace(value), place)}).logits[0, -1]
            assert result.scores[layer][place] == pytest.approx(float(logits[7] - logits[11]), abs=2e-5)
    assert all(value == 0 for row in result.effects for value in row[:3])


def test_the_stream_tells_where_the_answer_is_decided(specimen):
    result = activation_patching(specimen, CLEAN, OTHER)
    assert result.effects[0][9] == pytest.approx(1, abs=1e-5)  # the name is all that differs
    last = activation_patching(specimen, CLEAN, OTHER, site="resid_post", positions=[-1])
    assert last.effects[-1][0] == pytest.approx(1, abs=1e-5)
    assert "has come to ‘·to’ 13 by block 5" in result.summary()
    assert ActivationPatching.from_json(result.to_json()) == result


def test_what_people_read(specimen):
    result = activation_patching(specimen, CLEAN, OTHER, site="mlp_out", direction="noise", metric="probability")
    heatmap, bars = result.views()
    assert heatmap.values == result.effects
    assert [mark.label for mark in heatmap.columns][9] == "‘·John’/‘·Mary’ 9"
    assert bars.items[0].value == max((value for row in result.effects for value in row), key=abs)
    assert "destroys" in result.summary()
    assert "probability of ‘·Mary’" in result.summary()


@pytest.mark.parametrize("case", ["gpt2", "gemma2", "mixtral"])
def test_tokens_may_be_patched_together(case):
    found = common.model(case)
    for places in (None, [3, -1]):
        result = activation_patching(
            found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", site="attn_out", positions=places, together=True
        )
        assert [len(row) for row in result.effects] == [1] * found.n_layers
        for layer in range(found.n_layers):
            value = found.trace([IDS[0]], sites=[f"attn_out.{layer}"])[f"attn_out.{layer}"]
            edit = replace(value) if places is None else at(replace(value[:, places]), places)
            logits = found.trace([IDS[1]], edits={f"attn_out.{layer}": edit}).logits[0, -1]
            assert result.scores[layer][0] == pytest.approx(float(logits[7] - logits[11]), abs=2e-5)
        assert result.views()[0].columns[0].label == "together"
        assert f"at all {8 if places is None else 2} tokens restores" in result.summary()
    stream = activation_patching(found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", together=True)
    assert [row[0] for row in stream.effects] == pytest.approx([1] * found.n_layers, abs=1e-4)
    assert ActivationPatching.from_json(stream.to_json()) == stream


def test_refusals(specimen):
    with pytest.raises(TokenError, match="14"):
        activation_patching(specimen, CLEAN, OTHER, positions=[14])
    with pytest.raises(UnavailableError, match="offers resid_mid on no block"):
        activation_patching(common.model("gpt_neox"), [IDS[0]], [IDS[1]], site="resid_mid")
