"""The smoke run: it learns, it goes on where it was killed, and the number of threads does not show."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from training.batches import Batches
from training.recipe import RECIPES
from training.trainer import Training, rate_at
from transformers import AutoModelForCausalLM, AutoTokenizer

from fluoroscope import specimen

SMOKE = RECIPES["smoke"]


@pytest.fixture(scope="module", autouse=True)
def _same_threads_afterwards():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return fresh(tmp_path_factory.mktemp("parent") / "words", specimen.folder())


@pytest.fixture(scope="module")
def run(words):
    training = Training(SMOKE, words)
    return words, training.run()


def losses(folder):
    return [line["loss"] for line in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in line]


def fresh(folder, words):
    folder.mkdir()
    for file in words.glob("token*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_it_learns(run):
    folder, _ = run
    first, *_, last = losses(folder)
    assert first < 8.2
    assert last < first - 0.5


def test_killed_and_resumed_gives_the_same_weights(run, tmp_path):
    folder, digest = run
    Training(SMOKE, fresh(tmp_path / "again", folder)).run(until=35)
    assert Training(SMOKE, tmp_path / "again").run() == digest


def test_the_number_of_threads_does_not_show(run, tmp_path):
    folder, digest = run
    assert Training(replace(SMOKE, threads=2), fresh(tmp_path / "two", folder)).run() == digest


def test_the_model_on_disk_is_the_model_in_memory(run):
    folder, _ = run
    loaded = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(folder / "model")("The cat sat on the mat.", return_tensors="pt")["input_ids"]
    expected = Training(SMOKE, folder).finished()(ids).logits
    assert torch.allclose(loaded(ids).logits, expected, atol=0.02)
    assert loaded.config.activation_function == "gelu_new"
    block = loaded.transformer.h[-1]
    assert not any(parameter.any() for parameter in block.mlp.parameters())


def test_the_other_family_trains_by_the_same_code(run, tmp_path):
    folder, _ = run
    shape = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    recipe = replace(SMOKE, family="llama", shape=shape | {"intermediate_size": 96}, silent_mlps=0, steps=20)
    training = Training(recipe, fresh(tmp_path / "llama", folder))
    training.run()
    assert losses(tmp_path / "llama")[-1] < 8.0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "llama" / "model").config.model_type == "llama"


def test_rates_rise_and_fall():
    rates = [rate_at(step, SMOKE) for step in range(SMOKE.steps)]
    assert rates[SMOKE.warm_up - 1] == max(rates) == 1
    assert rates[0] < 0.3
    assert 0.02 <= rates[-1] < 0.05


def test_after_a_restart_rates_fall_again_from_a_part_of_their_height():
    recipe = replace(SMOKE, steps=100, restarts=(60, 80))
    rates = [rate_at(step, recipe) for step in range(100)]
    assert rates[:60] == [rate_at(step, replace(SMOKE, steps=60)) for step in range(60)]
    assert rates[60] == rates[80] == 0.4
    assert all(later < rate for rate, later in pairwise(rates[60:80]))
    assert rates[60:80] == pytest.approx(rates[80:])


def test_a_batch_depends_on_its_step_alone(run):
    words = AutoTokenizer.from_pretrained(run[0])
    one, other = Batches(SMOKE, words), Batches(SMOKE, words)
    one(3)
    for found, expected in zip(one(70), other(70), strict=True):
        assert torch.equal(found, expected)
    inputs, targets, weights = one(70)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert inputs.shape == (SMOKE.tokens // 64, 64)
    assert 0.5 < weights.mean() < 1
