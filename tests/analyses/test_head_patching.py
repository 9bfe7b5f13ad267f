import math

import pytest
import torch

import fluoroscope
from architectures import common
from fluoroscope.analyses.head_patching import HeadPatching, head_patching
from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.interventions import at, replace
from fluoroscope.specimen import card
from fluoroscope.tokens import Tokens

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def lead(model, logits):
    return float(logits[0, -1, model.single_token(" Mary")] - logits[0, -1, model.single_token(" John")])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_effects_are_the_shares_of_single_runs(specimen, direction):
    result = head_patching(specimen, CLEAN, OTHER, answer=" Mary", foil=" John", direction=direction)
    base, donor = (OTHER, CLEAN) if direction == "denoise" else (CLEAN, OTHER)
    value = specimen.trace(donor, sites=["z.4"])["L4H2"]
    score = lead(specimen, specimen.trace(base, edits={"L4H2": replace(value)}).logits)
    ends = [lead(specimen, specimen.trace(prompt).logits) for prompt in (CLEAN, OTHER)]
    assert (result.clean_score, result.corrupted_score) == pytest.approx(ends, rel=1e-5)
    assert result.scores[4][2] == pytest.approx(score, rel=1e-5)
    share = (score - ends[1]) / (ends[0] - ends[1])
    assert result.effects[4][2] == pytest.approx(share if direction == "denoise" else 1 - share, abs=1e-5)
    assert HeadPatching.from_json(result.to_json()) == result
    assert result.changed == (9,)


def test_positions_are_patched_apart(specimen):
    result = head_patching(specimen, CLEAN, OTHER, positions=[-1, 9, 3])
    assert result.positions == (13, 9, 3)
    assert (torch.tensor(result.effects).shape) == (6, 8, 3)
    value = specimen.trace(CLEAN, sites=["z.3"])["L3H2"][:, 9:10]
    score = lead(specimen, specimen.trace(OTHER, edits={"L3H2": at(replace(value), 9)}).logits)
    assert result.scores[3][2][1] == pytest.approx(score, rel=1e-5)
    assert all(row[2] == 0 for layer in result.effects for row in layer)  # before the name that differs
    heatmap = result.views()[1]
    assert heatmap.rows[0].label == result.heads()[0][0].label
    assert max(map(max, heatmap.values)) == pytest.approx(max(share for _, _, share in result.heads()))


def test_the_name_movers_of_the_card_restore_most(specimen):
    result = head_patching(specimen, CLEAN, OTHER, positions=[-1])
    first = [site.label for site, _, _ in result.heads()[:3]]
    assert set(first) == {"L4H2", "L3H2", "L4H1"}
    assert all(name in card() for name in first)
    assert "L4H2 at ‘·to’ 13 39.5 %" in result.summary()


@pytest.mark.parametrize("case", ["llama", "gemma2", "qwen3", "mixtral", "bloom"])
@pytest.mark.parametrize("part", ["z", "q", "k", "v", "pattern"])
def test_every_part_of_a_head_on_every_kind_of_family(case, part):
    found = common.model(case)
    result = head_patching(found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", part=part)
    count = found.n_kv_heads if part in ("k", "v") else found.n_heads
    assert [len(row) for row in result.effects] == [count] * found.n_layers
    value = found.trace([IDS[0]], sites=[f"{part}.1"])[f"{part}.1.1"]
    logits = found.trace([IDS[1]], edits={f"{part}.1.1": replace(value)}).logits[0, -1]
    assert result.scores[1][1] == pytest.approx(float(logits[7] - logits[11]), abs=2e-5)
    assert (result.whole is None) == (case != "bloom")


def test_ids_and_tokens_are_prompts_too(specimen):
    tokens: Tokens = specimen.tokens(CLEAN)
    by_ids = head_patching(specimen, tokens, specimen.tokens(OTHER).rows[0], answer=specimen.single_token(" Mary"))
    assert by_ids.effects == head_patching(specimen, CLEAN, OTHER, answer=" Mary").effects
    assert by_ids.foil == " John"


def test_bfloat16_says_so(specimen):
    exact = head_patching(specimen, CLEAN, OTHER)
    rough = head_patching(specimen, CLEAN, OTHER, precision="bfloat16")
    assert rough.recipe.dtype == "float32, swept in bfloat16"
    difference = torch.tensor(exact.effects) - torch.tensor(rough.effects)
    assert 0 < difference.abs().max() < 0.02


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"corrupted": "When Mary and John went out"}, ArgumentError, "fluoro tokens"),
        ({"corrupted": CLEAN}, ArgumentError, "same tokens"),
        ({"answer": " Mary and"}, TokenError, "token"),
        ({"answer": " Mary", "foil": " Mary"}, ArgumentError, "both token"),
        ({"positions": [14]}, TokenError, "14"),
        ({"budget": 0}, ArgumentError, "a budget of 0 MB holds nothing"),
        ({"metric": lambda logits: logits[:, 0] * math.nan}, ArgumentError, "is nan on the clean"),
        ({"metric": "kl divergence"}, ArgumentError, "cannot take metric.*Known: cosine"),
        ({"corrupted": CLEAN.replace("store", "park")}, ArgumentError, "Name a foil"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        head_patching(specimen, **{"clean": CLEAN, "corrupted": OTHER} | arguments)


def test_a_model_without_such_heads_is_refused():
    with pytest.raises(UnavailableError, match="offers z on no block"):
        head_patching(common.model("qwen3_next"), [IDS[0]], [IDS[1]])


def test_an_answer_that_lost_its_space_is_said(specimen):
    bare = head_patching(specimen, CLEAN, OTHER, answer="Mary", foil=" John")
    assert bare.summary().endswith(" Doubt: ‘·Mary’, with its space, is likelier than the answer.")
    assert "likelier" not in head_patching(specimen, CLEAN, OTHER, answer=" Mary", foil=" John").summary()
