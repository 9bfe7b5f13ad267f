"""Files give back what was saved, bit by bit, and nothing that runs code is written or read."""

import json
import pickle

import numpy as np
import pytest
import torch

import tiny
from fluoroscope import artifact
from fluoroscope.compat.activation_extraction import extract
from fluoroscope.compat.records import ActivationRecord, Activations, load_activations, save_activations
from fluoroscope.errors import ArtifactError, SiteError


@pytest.fixture(scope="module")
def records(tiny_model):
    plain = extract(tiny_model, ["abc", tiny.PROMPT], metadata={"why": ["a", 1]})
    return [*plain, *extract(tiny_model, ["xyz"], include_attention=True, return_logits=True)]


def same(one, other):
    for name in ("prompt", "tokens", "token_ids", "metadata", "recipe"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("layer_activations", "attention_weights"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        assert list(mine or {}) == list(theirs or {})
        assert all(torch.equal(mine[key], theirs[key]) for key in mine or {})
    assert (one.logits is None) == (other.logits is None)
    assert one.logits is None or torch.equal(one.logits, other.logits)


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_records_come_back(records, tmp_path, suffix):
    path = save_activations(records, tmp_path / f"all.{suffix}", suffix)
    for one, other in zip(records, load_activations(path), strict=True):
        same(one, other)
    (single,) = load_activations(save_activations(records[2], tmp_path / f"one.{suffix}"))
    same(single, records[2])


def test_npz_holds_plain_arrays(records, tmp_path):
    path = save_activations(records[0], tmp_path / "a.npz")
    with np.load(path, allow_pickle=False) as file:
        value = file["0/layers/transformer.h.1"]
    np.testing.assert_array_equal(value, records[0].layer_activations["transformer.h.1"].numpy())


def test_json_says_shapes_and_statistics(records, tmp_path):
    held = json.loads(save_activations(records, tmp_path / "a.json").read_text())
    told = held["records"][0]["layer_activations"]["transformer.h.0"]
    value = records[0].layer_activations["transformer.h.0"].double()
    assert told["shape"] == [1, 3, 24]
    assert (told["mean"], told["max"]) == pytest.approx((float(value.mean()), float(value.max())))
    with pytest.raises(ArtifactError, match="no tensors"):
        load_activations(tmp_path / "a.json")


def test_to_dict_can_hold_every_number(records):
    told = json.loads(json.dumps(records[2].to_dict(include_tensors=True)))
    for name, value in records[2].layer_activations.items():
        torch.testing.assert_close(torch.tensor(told["layer_activations"][name]), value)
    torch.testing.assert_close(torch.tensor(told["logits"]), records[2].logits)
    assert records[0].to_dict()["attention_weights"] is None


@pytest.mark.parametrize("options", [{"path": "a.pkl"}, {"path": "a.npz", "format": "pickle"}])
def test_pickle_is_refused_with_what_to_use(records, tmp_path, options):
    with pytest.raises(ArtifactError, match=r"runs code.*safetensors, npz, pt, json"):
        save_activations(records, tmp_path / options.pop("path"), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_not_opened(tmp_path):
    for name in ("a.pkl", "a.safetensors", "a.npz", "a.pt"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}))
        with pytest.raises(ArtifactError):
            load_activations(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("a.npz", {"format": "pt"}, "does not end in .pt"),
        ("a.npy", {}, "Did you mean 'npz'"),
        ("a.npz", {"compress": True}, "compressed"),
        ("a.npz", {"include_tensors": False}, "all tensors"),
        ("a.json", {"include_tensors": True}, "no tensors"),
    ],
)
def test_what_a_file_cannot_be_is_said(records, tmp_path, name, options, message):
    with pytest.raises(ArtifactError, match=message):
        save_activations(records[0], tmp_path / name, **options)
    with pytest.raises(ArtifactError, match="no record"):
        save_activations([], tmp_path / "a.npz")


def test_another_file_is_told_apart(tiny_model, tmp_path):
    path = tiny_model.trace("abc").save(tmp_path / "trace.safetensors")
    with pytest.raises(ArtifactError, match="holds 'trace', no activation records"):
        load_activations(path)
    meta = {"kind": "activation records", "records": [{"layers": ["x"]}]}
    artifact.write_tensors(tmp_path / "half.safetensors", {"y": torch.ones(2)}, meta)
    with pytest.raises(ArtifactError, match="damaged"):
        load_activations(tmp_path / "half.safetensors")


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "pt"])
def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path, suffix):
    with pytest.raises(ArtifactError, match=r"no file|No such file") as told:
        load_activations(tmp_path / f"none.{suffix}")
    assert "damaged" not in str(told.value)


def test_a_layer_by_name_or_number():
    held = ActivationRecord(
        "p", ["p"], [1], Activations({"transformer.h.0": torch.ones(1), "mlp_out.1": torch.ones(2)})
    )
    assert len(held.layer(0)) == len(held.layer("0")) == 1
    assert len(held.layer("mlp_out.1")) == 2
    with pytest.raises(SiteError, match=r"Did you mean 'transformer\.h\.0'"):
        held.layer("transformer.h.4")
    with pytest.raises(SiteError, match="does not hold '7'"):
        held.layer(7)
