"""Against the convergence analysis, which is held against Hugging Face, and against the module's own head."""

import numpy as np
import pytest
import torch

import tiny
from architectures import common
from fluoroscope.analyses.convergence import convergence
from fluoroscope.compat.logit_lens import LogitLens, analyze_text, predictions
from fluoroscope.errors import ArgumentError


@pytest.fixture
def lens(tiny_model):
    return LogitLens(tiny_model)


def test_the_lens_with_and_without_the_norm(lens):
    stream = torch.randn(2, 3, 24)
    module = lens.model
    with torch.no_grad():
        torch.testing.assert_close(lens.apply_lens_to_hidden_state(stream, apply_ln=False), module.lm_head(stream))
        normed = module.lm_head(module.transformer.ln_f(stream))
        torch.testing.assert_close(lens.apply_lens_to_hidden_state(stream), normed)


def test_without_the_norm_scale_and_softcap_stay():
    model = common.model("gemma2")
    stream = torch.randn(3, model.d_model)
    with torch.no_grad():
        raw = model.hf.lm_head(stream)
    torch.testing.assert_close(model.unembed(stream, norm=False).detach(), 5.0 * torch.tanh(raw / 5.0))


def test_the_last_layer_is_the_model(lens):
    found = lens.get_layer_predictions(tiny.PROMPT)
    assert list(found["layers"]) == [0, 1]
    torch.testing.assert_close(found["layers"][1]["logits"], found["final_logits"], rtol=1e-4, atol=1e-4)
    assert "".join(found["input_tokens"]) == tiny.PROMPT
    row = found["layers"][0]
    assert row["top_k_probs"].shape == (len(tiny.PROMPT), 5)
    assert torch.equal(row["probs"].argmax(-1), row["top_k_indices"][:, 0])
    assert row["top_k_tokens"][2][1] == lens.xray.token_label(int(row["top_k_indices"][2, 1]))


def test_metrics_are_the_analysis_with_ranks_from_zero(lens):
    found, exact = lens.get_convergence_metrics(tiny.PROMPT), convergence(lens.xray, tiny.PROMPT)
    assert found["rows"] == ["embedding", "block 0", "block 1"]
    assert found["kl_divergence"].shape == (3, len(tiny.PROMPT))
    np.testing.assert_array_equal(found["top1_rank"] + 1, [depth.rank for depth in exact.depths])
    np.testing.assert_array_equal(found["top1_match"], found["top1_rank"] == 0)
    assert found["top1_match"][-1].all()
    np.testing.assert_allclose(found["kl_divergence"][-1], 0, atol=1e-6)
    for slot, (first, stable) in enumerate(zip(found["first_match"], found["stable_from"], strict=True)):
        column = found["top1_match"][:, slot].tolist()
        assert first == column.index(True)
        assert all(column[stable:])
        assert stable == 0 or not column[stable - 1]
    kept = lens.compare_to_input(tiny.PROMPT)
    np.testing.assert_array_equal(kept["input_token_rank"] + 1, [depth.input_rank for depth in exact.depths])
    np.testing.assert_allclose(kept["kl_from_input"][0], 0, atol=1e-9)
    assert kept["input_tokens"] == list(tiny.PROMPT)


def test_predictions_are_ordered_and_counted(lens):
    stream = torch.randn(24)
    found = predictions(lens.xray, stream, 3)
    with torch.no_grad():
        top = lens.xray.unembed(stream).softmax(-1).topk(3)
    assert [p for _, p in found] == pytest.approx(top.values.tolist(), rel=1e-5)
    assert [token for token, _ in found] == [lens.xray.token_label(int(token)) for token in top.indices]
    with pytest.raises(ArgumentError, match="top_k=0"):
        predictions(lens.xray, stream, 0)


def test_what_is_printed_is_visible(lens, capsys):
    assert analyze_text(lens, tiny.PROMPT).xray is lens.xray
    out = capsys.readouterr().out
    assert out.startswith("layer 0\n    0 after ‘W’: ‘")
    assert "\x1b" not in out
