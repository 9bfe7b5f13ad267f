"""Norms, steps and turns of the residual stream against hooks on the plain model."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from architectures import common
from fluoroscope.analyses.residual_stream import residual_stream
from fluoroscope.errors import ArgumentError


@pytest.fixture(scope="module")
def streams(tiny_folder):
    """[depth, position, d_model] from hooks on the plain model; none of our code."""
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    found = []
    plain.transformer.h[0].register_forward_pre_hook(lambda module, args: found.append(args[0][0]))
    for block in plain.transformer.h:
        block.register_forward_hook(
            lambda module, args, output: found.append((output[0] if isinstance(output, tuple) else output)[0])
        )
    with torch.no_grad():
        plain(ids)
    return torch.stack(found).double()


def test_every_number_is_the_plain_models(tiny_model, streams):
    result = residual_stream(tiny_model, tiny.PROMPT)
    assert [depth.site for depth in result.depths] == ["resid_pre.0", "resid_post.0", "resid_post.1"]
    assert "".join(result.tokens) == tiny.PROMPT
    for index, depth in enumerate(result.depths):
        assert depth.norm == pytest.approx((streams[index] ** 2).sum(-1).sqrt().tolist(), rel=1e-5)
        if index == 0:
            assert depth.cosine is None
            assert depth.added == depth.norm
            continue
        step = streams[index] - streams[index - 1]
        dot = (streams[index] * streams[index - 1]).sum(-1)
        assert depth.added == pytest.approx((step**2).sum(-1).sqrt().tolist(), rel=1e-5)
        assert depth.cosine == pytest.approx(
            (dot / (streams[index].norm(dim=-1) * streams[index - 1].norm(dim=-1))).tolist(), abs=1e-5
        )


def test_attention_and_mlp_of_every_block_against_hooks_on_their_modules(tiny_model, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]
    found = {}
    for layer, block in enumerate(plain.transformer.h):
        for name, part in (("attention", block.attn), ("mlp", block.mlp)):
            part.register_forward_hook(
                lambda module, args, output, key=(layer, name): found.__setitem__(
                    key, (output[0] if isinstance(output, tuple) else output)[0]
                )
            )
    with torch.no_grad():
        plain(ids)
    first, *blocks = residual_stream(tiny_model, tiny.PROMPT).depths
    assert (first.attention, first.mlp) == (None, None)
    for layer, depth in enumerate(blocks):
        for name in ("attention", "mlp"):
            assert getattr(depth, name) == pytest.approx(found[layer, name].norm(dim=-1).tolist(), rel=1e-5)


@pytest.mark.parametrize("case", ["gemma2", "gptj", "qwen3_moe"])
def test_families(case):
    """What attention and MLP add makes what the block adds: a triangle has no side longer than the other two."""
    result = residual_stream(common.model(case), common.ids(1))
    for depth in result.depths[1:]:
        for added, attention, mlp in zip(depth.added, depth.attention, depth.mlp, strict=True):
            assert abs(attention - mlp) * 0.9999 <= added <= (attention + mlp) * 1.0001
    assert len(result.views()) == 5


def test_the_sentence_names_the_block_that_adds_most(tiny_model, streams):
    added = (streams[1:, -1] - streams[:-1, -1]).norm(dim=-1)
    assert (
        f"block {int(added.argmax())} adds the most, {added.max():.2f}"
        in residual_stream(tiny_model, tiny.PROMPT).summary()
    )


def test_a_batch_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match="one prompt"):
        residual_stream(tiny_model, ["a", "b"])
