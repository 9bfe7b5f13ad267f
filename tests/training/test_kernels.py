"""The fast kernels against the plain definitions in float32."""

import pytest
import torch
from torch.nn import functional

from training import kernels


def test_attention_is_causal_attention_with_shared_heads():
    query, key, value = (torch.randn(2, heads, 9, 4) for heads in (6, 2, 2))
    mixed, _ = kernels.attention(torch.nn.Identity(), query, key, value, None, scaling=0.3)
    plain = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    assert torch.allclose(mixed, plain.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_and_its_gradients_are_those_of_cross_entropy(dtype, monkeypatch):
    monkeypatch.setattr(kernels, "CHUNK", 16)
    hidden, table = torch.randn(40, 8), torch.randn(50, 8)
    hidden, table = (x.to(dtype).float().requires_grad_(True) for x in (hidden, table))
    targets, weights = torch.randint(50, (40,)), (torch.rand(40) > 0.3).float()
    plain = (functional.cross_entropy(hidden @ table.T, targets, reduction="none") * weights).sum()
    expected = torch.autograd.grad(plain, (hidden, table))
    short = hidden.detach().to(dtype).requires_grad_(True)
    loss = kernels.cross_entropy(short, table, table.detach().to(dtype), targets, weights)
    found = torch.autograd.grad(loss, (short, table))
    close = 1e-5 if dtype == torch.float32 else 2e-2
    assert loss.item() == pytest.approx(plain.item(), rel=close)
    for one, other in zip(found, expected, strict=True):
        assert (one.float() - other).norm() < close * other.norm()


def test_the_lookup_adds_its_gradients_in_float32():
    master = torch.randn(5, 3, requires_grad=True)
    ids = torch.tensor([[0, 1, 1], [1, 4, 0]])
    rows = kernels.lookup(master, master.detach().bfloat16(), ids)
    (found,) = torch.autograd.grad(rows.sum(), master)
    assert rows.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert found[:, 0].tolist() == [2, 3, 0, 0, 1]
