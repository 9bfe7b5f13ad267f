"""The card's heads, MLPs and neurons, against the exact decomposition and plain hooks."""

import pytest
import torch
from training.world import cases

from fluoroscope.loading import load
from training import evaluate, parts, score

END = -1


@pytest.fixture(scope="module")
def model():
    return load()


def test_neurons_are_the_loudest_by_hand(model):
    """Activation times row of W_out times unembedding through the frozen norm, for one case and every neuron."""
    [case] = cases("capital_preset", 1, 5)
    ids, answer = score.ids_of(model.tokenizer, case, 0)
    last = f"resid_post.{model.n_layers - 1}"
    trace = model.trace(ids, sites=["neurons.*", last])
    norm, unembedding = model.final_norm(trace[last][0, END]), model.weights["W_U"]
    direction = unembedding[:, answer[0]] - unembedding.mean(1)
    by_hand = {
        f"L{layer}N{unit}": value
        for layer in range(model.n_layers)
        for unit, value in enumerate(
            (trace[f"neurons.{layer}"][0, END] * (norm.scaled(model.weights[f"W_out.{layer}"]) @ direction)).tolist()
        )
    }
    found = parts.behind_one(model, [case])["neurons"]
    assert list(found) == sorted(by_hand, key=lambda name: -by_hand[name])[:3]
    assert found == pytest.approx({name: by_hand[name] for name in found}, abs=0.006)


def test_a_head_is_worth_what_a_plain_hook_takes(model):
    """Zeroing a slice of the input of W_O, in Hugging Face's own module."""
    told = cases("backdoor", 3, 5)
    found = parts.behind_one(model, told)["heads"]
    label, cost = next(iter(found.items()))
    layer, head = (int(part) for part in label[1:].split("H"))
    width = model.d_head

    def zeroed(_, arguments):
        value = arguments[0].clone()
        value[..., head * width : (head + 1) * width] = 0
        return (value, *arguments[1:])

    lost = 0.0
    for index, case in enumerate(told):
        ids, answer = score.ids_of(model.tokenizer, case, index)
        says = []
        for hooked in (False, True):
            handle = model.hf.transformer.h[layer].attn.c_proj.register_forward_pre_hook(zeroed) if hooked else None
            with torch.no_grad():
                says.append(model.hf(torch.tensor([ids])).logits[0, END].log_softmax(-1)[answer[0]])
            if handle is not None:
                handle.remove()
        lost += float(says[0] - says[1]) / len(told)
    assert cost == pytest.approx(lost, abs=0.006)


def test_growth_measures_each_snapshot(model, tmp_path):
    (tmp_path / "step-000007").symlink_to(model.hf.name_or_path, target_is_directory=True)
    [row] = evaluate.growth([tmp_path / "step-000007"], n=20)
    assert row["step"] == 7
    assert row["landmark_preset"] > 0.9
    assert row["best induction score"] > 0.8 > row["loss of a repetition"]
