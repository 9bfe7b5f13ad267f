"""The sorting GPT-2 of llm-viz: activations that its author computed with minGPT, and what every ablation costs."""

from functools import cache
from itertools import product

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fluoroscope.interventions import zero
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.trace import Trace
from shared import SHARED, needs_shared

pytestmark = needs_shared
FOLDER = SHARED / "models" / "gpt-nano-sort"
SIX = torch.tensor(list(product(range(3), repeat=6)))  # every input
SORTED = SIX.sort(-1)[0]

GOLDEN = {
    "tok_emb": "embed",
    "pos_emb": "pos_embed",
    "resid_pre.0": "resid_pre.0",
    "q.0": "q.0",
    "k.0": "k.0",
    "v.0": "v.0",
    "attn_scores.0": "scores.0",
    "attn_pattern.0": "pattern.0",
    "attn_concat.0": "z.0",
    "attn_out.0": "attn_out.0",
    "resid_mid.0": "resid_mid.0",
    "mlp_post.0": "neurons.0",
    "mlp_out.0": "mlp_out.0",
    "resid_post.0": "resid_post.0",
    "block_out.0": "resid_post.0",
    "block_out.1": "resid_post.1",
    "block_out.2": "resid_post.2",
    "ln_f": "final_norm",
    "logits": "logits",
}
"""Published name -> our site."""
NO_SITE = {"ln_1.0", "ln_2.0", "c_attn_out.0", "mlp_pre.0", "probs", "input_ids"}
"""Published values that our vocabulary does not name; the test below computes them from the sites that it does."""

ABLATED = {
    "L0H0": 0.9314,
    "L0H1": 0.9232,
    "L0H2": 0.9753,
    "mlp_out.0": 0.5761,
    "L1H0": 0.9918,
    "L1H1": 0.9945,
    "L1H2": 0.9959,
    "mlp_out.1": 0.9506,
    "L2H0": 0.9973,
    "L2H1": 0.9918,
    "L2H2": 0.9918,
    "mlp_out.2": 0.9808,
}
"""Zero-ablated component -> share of the 729 inputs that are still sorted exactly."""


@cache
def sorter() -> Model:
    return load(FOLDER)


@cache
def golden() -> dict[str, Tensor]:
    return load_file(FOLDER / "golden_activations.safetensors")


@cache
def traced() -> Trace:
    return sorter().trace(golden()["input_ids"], sites=sorted(set(GOLDEN.values()) - {"logits"}))


def test_every_published_value_is_compared() -> None:
    assert golden().keys() == GOLDEN.keys() | NO_SITE


@pytest.mark.parametrize("name", GOLDEN)
def test_our_site_is_the_published_activation(name: str) -> None:
    expected, value = golden()[name], traced()[GOLDEN[name]]
    if name == "attn_concat.0":
        value = value.flatten(2)
    if name == "attn_scores.0":
        masked = torch.isneginf(expected)
        assert torch.equal(masked, torch.ones(11, 11, dtype=torch.bool).triu(1).expand_as(masked))
        assert (value[masked] <= -1e30).all()
        value, expected = value[~masked], expected[~masked]
    if name == "pos_emb":
        value = value[:1]
    assert value.shape == expected.shape
    assert (value - expected).abs().max() <= 3e-6


def test_published_values_between_our_sites_follow_from_weights_and_sites() -> None:
    weights, trace, block = sorter().weights, traced(), sorter().blocks[0]
    normed = block.get_submodule("ln_1")(trace["resid_pre.0"])
    after = block.get_submodule("ln_2")(trace["resid_mid.0"])
    qkv = [
        torch.einsum("bpm,hmd->bphd", normed, weights[f"W_{part}.0"]) + weights[f"b_{part}.0"]
        for part in ("Q", "K", "V")
    ]
    found = {
        "ln_1.0": normed,
        "ln_2.0": after,
        "c_attn_out.0": torch.cat([part.flatten(2) for part in qkv], -1),
        "mlp_pre.0": after @ weights["W_in.0"] + weights["b_in.0"],
        "probs": trace.logits.softmax(-1),
    }
    assert found.keys() | {"input_ids"} == NO_SITE
    for name, value in found.items():
        assert (value - golden()[name]).abs().max() <= 3e-6, name


def answers(edits: dict[str, object]) -> Tensor:
    """The six letters that greedy decoding writes after every input, in batches."""
    found = []
    for batch in SIX.split(243):
        ids = batch
        for _ in range(6):
            logits = sorter().trace(ids, edits=edits).logits  # type: ignore[arg-type]
            ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], 1)
        found.append(ids[:, 6:])
    return torch.cat(found)


def test_all_inputs_are_sorted() -> None:
    assert torch.equal(answers({}), SORTED)


def test_generation_sorts_in_batches() -> None:
    for batch, expected in zip(SIX.split(243), SORTED.split(243), strict=True):
        generated = sorter().generate(batch, max_new_tokens=6)
        assert generated.ids == expected.tolist()
        assert set(generated.stopped) == {"length"}


def test_loss_over_all_inputs_is_as_published() -> None:
    trace = sorter().trace(torch.cat([SIX, SORTED[:, :5]], 1))
    loss = torch.nn.functional.cross_entropy(trace.logits[:, 5:].flatten(0, 1), SORTED.flatten())
    assert float(loss) == pytest.approx(1.1e-4, abs=0.05e-4)


@pytest.mark.parametrize("component", ABLATED)
def test_ablation_costs_what_was_published(component: str) -> None:
    exact = (answers({component: zero()}) == SORTED).all(-1)
    assert round(float(exact.double().mean()), 4) == ABLATED[component]


def test_ablation_through_generation_is_the_same() -> None:
    generated = sorter().generate(SIX[:243], max_new_tokens=6, edits={"L0H1": zero()})
    assert generated.ids == answers({"L0H1": zero()})[:243].tolist()
