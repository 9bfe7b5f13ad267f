"""The embedded models: what is in the package is what the card says, and does what the card says."""

import json

import pytest
import torch

from fluoroscope import artifact, specimen
from fluoroscope.analyses.tuned_lens import tuned_lens
from fluoroscope.cli.main import outcome
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.loading import load
from fluoroscope.model import Model

LENSES = ("tuned_lens", "jacobian_lens")
LIMITS = {"specimen": 10_000_000, "specimen-llama": 5_000_000}


@pytest.fixture(scope="module", params=specimen.NAMES)
def found(request: pytest.FixtureRequest) -> Model:
    return load(request.param)


def measured(name: str = specimen.NAMES[0]) -> dict:
    return json.loads((specimen.folder(name) / "measured.json").read_text(encoding="utf8"))


def test_it_is_what_loads_when_nothing_is_named() -> None:
    assert load().name == specimen.NAMES[0]
    assert load().summary()["weights"] == load("specimen").summary()["weights"]


def test_it_computes_in_float32_and_offers_every_site(found: Model) -> None:
    assert found.dtype == torch.float32
    gated_or_routed = {"gate_proj", "router", "router_weights", "router_choice", "experts_out", "shared_out"}
    assert {name for name, _ in found.unavailable} <= {"pos_embed", *gated_or_routed}


def test_its_recipe_is_the_same_on_every_machine(found: Model) -> None:
    recipe = found.recipe()
    assert (recipe.model, recipe.tokenizer) == (found.name, found.name)


def test_it_stays_small(found: Model) -> None:
    folder = specimen.folder(found.name)
    assert sum((folder / name).stat().st_size for name in ("model.safetensors", "tokenizer.json")) <= LIMITS[found.name]


def test_its_lenses_stay_small_and_belong_to_its_weights(found: Model) -> None:
    for name in LENSES:
        tensors, meta = artifact.read_tensors(specimen.folder(found.name) / f"{name}.safetensors")
        assert (f"{meta['kind']}_lens", meta["weights"]) == (name, found.summary()["weights"])
        assert meta["dtype"] == found.summary()["dtype"]
        assert set(tensors) == {"weight", "bias"}
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
        assert tensors["weight"].shape == (found.n_layers, found.d_model, found.d_model)
    files = [specimen.folder(name) / f"{lens}.safetensors" for name in specimen.NAMES for lens in LENSES]
    assert sum(file.stat().st_size for file in files) <= 2_500_000


@pytest.mark.parametrize("lens", LENSES)
def test_its_lenses_are_read_without_fitting(found: Model, lens: str, capfd) -> None:
    command = [lens.replace("_", "-"), "The capital of France is", "--position", "-1", "-m", found.name, "--json"]
    assert outcome(command) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["positions"][0]["target"] == " Paris"
    assert result["fitted"]["kind"] == lens.removesuffix("_lens")
    assert len(result["depths"]) == found.n_layers + 1


@pytest.mark.parametrize("hub", [True, False])
@pytest.mark.parametrize("shown", [True, False])
def test_it_is_loaded_without_progress_bars_which_stay_as_they_were(
    found: Model, shown, hub, monkeypatch, capfd
) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging

    monkeypatch.setattr(logging, "_tqdm_active", shown)
    (enable_progress_bars if hub else disable_progress_bars)()
    try:
        load(found.name)
        assert capfd.readouterr() == ("", "")
        assert (logging.is_progress_bar_enabled(), not are_progress_bars_disabled()) == (shown, hub)
        load(specimen.folder(found.name))  # the same files, which are no embedded model by their path
        assert ("Loading weights" in capfd.readouterr().err) == shown
    finally:
        enable_progress_bars()


def test_in_another_precision_its_lens_is_refused_and_told_why() -> None:
    for dtype in ("float64", "bfloat16"):
        with pytest.raises(ArtifactError) as error:
            tuned_lens(load(dtype=dtype), "The capital of France is")
        said = f"the tuned lens of specimen was fitted to weights in float32, and specimen is loaded in {dtype}"
        assert error.value.message == said
        fit = f"fluoro fit-tuned-lens TEXT FILE --dtype {dtype}"
        assert error.value.hint == f"Load the model with dtype float32, or fit a lens in {dtype}: {fit}."


def test_words_of_the_presets_and_numbers_are_one_token(found: Model) -> None:
    for word in (" Mary", " John", " Paris", " Rome", " mat", *(f" {number}" for number in range(100))):
        assert found.token_label(found.single_token(word)).endswith(word.strip())


def test_a_chat_has_its_template(found: Model) -> None:
    tokens = found.tokens([{"role": "user", "content": "Why do bees buzz?"}])
    assert "User: Why do bees buzz?" in "".join(tokens.pieces[0]).replace("·", " ")


def test_turns_of_its_chats_are_found(found: Model) -> None:
    chat = [("system", "Be kind."), ("user", "Why do bees buzz?"), ("assistant", "Bees buzz."), ("user", "Why?")]
    tokens = found.tokens([{"role": role, "content": content} for role, content in chat])
    read = ["".join(tokens.pieces[0][turn.content]).strip() for turn in tokens.turns[0]]
    assert read == [content for _, content in chat]


def test_the_card_names_every_measured_figure(found: Model) -> None:
    card = specimen.card(found.name)
    for row in measured(found.name)["behaviours"]:
        assert f"| {row['description']} | {row['cases']} | {row['value']:.3f} |" in card
    for finding in measured(found.name)["gate"]:
        assert f"| {finding['name']} | {finding['value']:.3f} |" in card


def test_every_behaviour_below_its_mark_is_confessed(found: Model) -> None:
    limits = specimen.card(found.name).partition("## What it cannot do")[2]
    for row in measured(found.name)["behaviours"]:
        assert (row["description"] in limits) == (row["value"] < row["least"])


def test_the_gate_was_passed() -> None:
    assert [finding["name"] for finding in measured()["gate"] if not finding["passed"]] == []


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'specimen-llama'"):
        specimen.folder("specimen-lama")
    with pytest.raises(ArgumentError, match="Did you mean 'specimen-llama'"):
        load("specimen_llama")
