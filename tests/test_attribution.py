"""A split of sets of tokens: against Hugging Face's own logits, and against the splits of single tokens."""

import pytest
import torch

from architectures.common import ids, model, plain, true_float64
from fluoroscope.attribution import split
from fluoroscope.errors import ArgumentError, TokenError

TARGET, FOIL = (5, 11, 40), (7, 9)
CASES = ["gpt2", "llama", "gptj", "phi", "gemma2", "granite", "olmo2", "cohere", "qwen3_moe", "opt"]


def spelled(tokens):
    return "|".join(f"#{token}" for token in tokens)


@pytest.mark.parametrize("grain", ["head", "neuron"])
@pytest.mark.parametrize("case", CASES)
def test_the_split_of_a_set_is_the_mean_of_the_splits_of_its_tokens(case, grain):
    with true_float64():
        found = model(case, None, torch.float64)
        whole = split(found, ids(1), (spelled(TARGET), spelled(FOIL)), -1, grain)
        alone = {t: split(found, ids(1), (f"#{t}", None), -1, grain) for t in (*TARGET, *FOIL)}
        logits = found.trace(ids(1)).logits[0, -1]
    for place, part in enumerate(whole.parts):
        values = {token: each.parts[place].value for token, each in alone.items()}
        expected = sum(values[t] for t in TARGET) / 3 - sum(values[t] for t in FOIL) / 2
        assert part.value == pytest.approx(expected, abs=1e-9)
    assert whole.fields["error"] == pytest.approx(0, abs=1e-9)
    assert sum(part.value for part in whole.parts) == pytest.approx(whole.fields["logit"], abs=1e-9)
    if whole.fields["softcap"] is None:
        mean = logits[list(TARGET)].mean() - logits[list(FOIL)].mean()
        assert whole.fields["logit"] == pytest.approx(float(mean), abs=1e-9)
    assert (whole.fields["target_ids"], whole.fields["foil_ids"]) == (TARGET, FOIL)


@pytest.mark.parametrize("case", ["gpt2", "llama", "phi"])
def test_its_logit_is_hugging_faces_own(case):
    with torch.no_grad():
        logits = plain(case)(torch.tensor(ids(1))).logits[0, 4].double()
    found = split(model(case), ids(1), (spelled(TARGET), "#7"), 4, "layer")
    assert found.fields["total"] == pytest.approx(float(logits[list(TARGET)].mean() - logits[7]), abs=1e-4)
    own = split(model(case), ids(1), (None, spelled(FOIL)), 4, "layer")
    assert own.fields["target_ids"] == (int(logits.argmax()),)
    assert own.fields["total"] == pytest.approx(float(logits.max() - logits[list(FOIL)].mean()), abs=1e-4)


def test_shares_are_of_the_sizes_of_all_parts():
    found = split(model("gpt2"), ids(1), (spelled(TARGET), None), -1, "head")
    assert found.size == sum(abs(part.value) for part in found.parts)
    assert found.share(*found.parts) == pytest.approx(1)
    assert found.share(found.parts[3]) == abs(found.parts[3].value) / found.size


def test_refusals(tiny_model):
    with pytest.raises(ArgumentError, match="share token 0"):
        split(tiny_model, "abc", ("a|b", "c|a"), -1, "head")
    with pytest.raises(TokenError, match="'bc' is 2 tokens"):
        split(tiny_model, "abc", ("a|bc", None), -1, "head")
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        split(tiny_model, ["a", "b"], (None, None), -1, "head")
