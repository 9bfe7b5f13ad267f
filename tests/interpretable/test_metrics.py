"""Each metric by its formula; all are 0 at the corrupted output and 1 at the clean one."""

import pytest
import torch

from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable import metrics

CLEAN, CORRUPTED, OTHER = torch.randn(3, 2, 11, generator=torch.Generator().manual_seed(0))
METRICS = {
    "logit_diff": {"correct_token": 3, "incorrect_token": 5},
    "kl_divergence": {},
    "cross_entropy_diff": {"target_token": 3},
    "l2_distance": {},
    "cosine_distance": {},
    "mse": {},
}


@pytest.mark.parametrize("name", METRICS)
def test_ends_are_0_and_1_and_gradients_flow(name):
    metric, words = metrics.get_metric(name), METRICS[name]
    torch.testing.assert_close(metric(CLEAN, CLEAN, CORRUPTED, **words), torch.ones(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(metric(CORRUPTED, CLEAN, CORRUPTED, **words), torch.zeros(2), atol=1e-5, rtol=0)
    patched = OTHER.clone().requires_grad_()
    metric(patched, CLEAN, CORRUPTED, **words).sum().backward()
    assert patched.grad is not None
    assert patched.grad.abs().sum() > 0
    alone = metric(OTHER[0], CLEAN[0], CORRUPTED[0], **words)
    assert float(alone) == pytest.approx(float(metric(OTHER, CLEAN, CORRUPTED, **words)[0]), abs=1e-5)
    at_end = metric(*(side[:1, None].repeat(1, 4, 1) for side in (OTHER, CLEAN, CORRUPTED)), **words)
    assert float(at_end) == pytest.approx(float(alone), abs=1e-5)


def test_raw_values_are_the_documents():
    log = torch.log_softmax
    kl = (log(CLEAN, -1).exp() * (log(CLEAN, -1) - log(OTHER, -1))).sum(-1)
    torch.testing.assert_close(metrics.kl_divergence(OTHER, CLEAN, CORRUPTED, raw=True), -kl)
    gain = log(OTHER, -1)[:, 3] - log(CORRUPTED, -1)[:, 3]
    torch.testing.assert_close(metrics.cross_entropy_diff(OTHER, CLEAN, CORRUPTED, target_token=3, raw=True), gain)
    lead = OTHER[:, 3] - OTHER[:, 5]
    found = metrics.logit_diff(OTHER, CLEAN, CORRUPTED, correct_token=3, incorrect_token=5, raw=True)
    torch.testing.assert_close(found, lead)
    norms = 1 - (OTHER - CLEAN).norm(dim=-1) / (CORRUPTED - CLEAN).norm(dim=-1)
    torch.testing.assert_close(metrics.l2_distance(OTHER, CLEAN, CORRUPTED), norms)


def test_without_a_target_the_clean_prediction_counts():
    token = int(CLEAN[0].argmax())
    one, two = (metrics.cross_entropy_diff(OTHER[0], CLEAN[0], CORRUPTED[0], **words)
                for words in ({}, {"target_token": token}))  # fmt: skip
    assert float(one) == float(two)


def test_names_and_functions(pair):
    assert metrics.get_metric("kl") is metrics.get_metric("kl_divergence") is metrics.kl_divergence
    assert metrics.get_metric("l2") is metrics.l2_distance
    assert metrics.get_metric("ce_diff") is metrics.cross_entropy_diff
    assert metrics.get_metric(len) is len
    with pytest.raises(ValueError, match="Did you mean 'cosine'"):
        metrics.get_metric("cosin")
    with pytest.raises(ArgumentError, match="score the same"):
        metrics.l2_distance(OTHER, CLEAN, CLEAN)
