"""The lens of a neuron: a unit of activation, pushed through the model's own modules with every scale taken out."""

import pytest
import torch

from architectures.common import model, true_float64
from fluoroscope.errors import UnavailableError
from fluoroscope.methods import neurons


@pytest.mark.parametrize("case", ["llama", "gpt2", "gemma2", "granite", "olmo2", "cohere"])
def test_it_is_linear_and_ranks_tokens_as_the_models_own_modules_do(case):
    """The unembedding of a tiny row, whose norm's scale is one number: the same order, proportional differences."""
    with true_float64():
        found = model(case, None, torch.float64)
        arch, layer = found.architecture, 1
        pushed = neurons.lens(found, layer, [3, 7])
        rows = found.weights[f"W_out.{layer}"][[3, 7]]
        with torch.no_grad():
            if arch.mlp_out not in (None, arch.mlp, arch.down):
                rows = found.blocks[layer].get_submodule(arch.mlp_out)(rows)
            head, norm = (found.hf.get_submodule(path) for path in (arch.lm_head, arch.final_norm))
            expected = head(norm(rows)) - head(norm(torch.zeros_like(rows)))
    ratio = (pushed * expected).sum(-1, keepdim=True) / expected.square().sum(-1, keepdim=True)
    torch.testing.assert_close(pushed, expected * ratio, atol=1e-9, rtol=1e-9)
    assert bool((ratio > 0).all())


def test_on_a_model_whose_scale_is_one_it_is_the_logit_itself():
    """Where rows have mean square 1 an RMS norm divides by 1, so the module's own output is the lens."""
    with true_float64():
        found = model("llama", None, torch.float64)
        weight = found.blocks[0].get_submodule("mlp.down_proj").weight
        before = weight.detach().clone()
        with torch.no_grad():
            weight /= weight.square().mean(0, keepdim=True).sqrt()
            expected = found.unembed(weight.T[[5]].clone())
            try:
                assert neurons.lens(found, 0, [5]).tolist()[0] == pytest.approx(expected[0].tolist(), rel=1e-4)
            finally:
                weight.copy_(before)


def test_where_the_final_norm_is_unknown_it_is_refused():
    found = model("llama")
    found.unavailable["frozen_norm", None] = "the final norm is of another kind"
    try:
        with pytest.raises(UnavailableError, match="cannot be read as tokens: the final norm is of another kind"):
            neurons.lens(found, 0, [0])
    finally:
        del found.unavailable["frozen_norm", None]
