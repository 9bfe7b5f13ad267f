"""A direction taken out of all that writes: the stream has none of it, at any depth and on several families."""

import pytest
import torch

from architectures.zoo import build
from fluoroscope import load
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import projection

PROMPT = [5, 6, 7, 8, 3]


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "gpt_neox"])  # learned positions, post-norms, parallel blocks
def test_the_stream_has_none_of_it_at_any_depth(family):
    model = load(build(family))
    unit = torch.nn.functional.normalize(torch.randn(model.d_model, generator=torch.Generator().manual_seed(1)), dim=0)
    sites = ["resid_pre.0", "resid_post.*"]
    plain = model.trace(PROMPT, sites=sites)
    found = model.trace(PROMPT, sites=sites, edits=projection.ablated(model, unit))
    for site in found.sites:
        assert float((plain[site] @ unit).abs().max()) > 0.05
        assert float((found[site] @ unit).abs().max()) < 1e-5 * float(plain[site].norm())
    assert not torch.allclose(found.logits, plain.logits, atol=1e-3)


def test_the_part_along_it_becomes_that_of_the_ground(tiny_model):
    texts = ["good", "day"]
    ground = projection.means(tiny_model, texts)
    unit = torch.nn.functional.normalize(torch.arange(24.0) - 3, dim=0)
    edits = projection.ablated(tiny_model, unit, ground)
    found = tiny_model.trace("abcd", sites=["resid_pre.0", "mlp_out.*", "resid_post.1"], edits=edits)
    expected = torch.stack([tiny_model.trace(text, sites=["mlp_out.1"])["mlp_out.1"][0, -1] for text in texts]).mean(0)
    along = found["mlp_out.1"][0] @ unit
    torch.testing.assert_close(along, (expected @ unit).expand(4), rtol=1e-4, atol=1e-5)
    whole = sum(float(mean @ unit.double()) for mean in ground.values())
    assert (found["resid_post.1"][0] @ unit).tolist() == pytest.approx([whole] * 4, abs=1e-4)


def test_logits_behind_texts_are_those_of_each_text_alone(tiny_model):
    found = projection.starts(tiny_model, ["abc", "d", "ef gh"])
    for row, text in enumerate(["abc", "d", "ef gh"]):
        torch.testing.assert_close(found[row], tiny_model.trace(text).logits[0, -1], rtol=1e-4, atol=1e-5)


def test_a_vector_that_is_no_axis_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match=r"of length 4\.899"):
        projection.ablated(tiny_model, torch.ones(24))
