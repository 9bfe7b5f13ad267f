import pytest
import torch

import tiny
from fluoroscope.analyses.tuned_lens import TunedLens, tuned_lens
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.methods.translators import Translators, provenance


@pytest.fixture
def lens(tiny_model, tmp_path):
    torch.manual_seed(0)
    meta = provenance(tiny_model, "0123", [[1, 2, 3]], seed=3) | {"kind": "tuned"}
    found = Translators(torch.eye(24) + torch.randn(2, 24, 24) / 3, torch.randn(2, 24), meta)
    found.save(tmp_path / "lens.safetensors")
    return found, str(tmp_path / "lens.safetensors")


def test_every_depth_is_read_behind_its_map(tiny_model, lens):
    maps, path = lens
    result = tuned_lens(tiny_model, tiny.PROMPT, lens=path)
    sites = ["resid_pre.0", "resid_post.0", "resid_post.1"]
    trace = tiny_model.trace(tiny.PROMPT, sites=sites)
    for number, site in enumerate(sites):
        stream = trace[site][0]
        moved = stream @ maps.weight[number] + maps.bias[number] if number < 2 else stream
        p = tiny_model.unembed(moved).detach().softmax(-1)
        for cell, row in zip(result.depths[number].cells, p, strict=True):
            assert cell.top[0].id == int(row.argmax())
            assert cell.top[0].probability == pytest.approx(float(row.max()), abs=1e-5)
    assert result.fitted.tokens == 3
    assert TunedLens.from_json(result.to_json()) == result
    assert "later blocks may not use it" in result.views()[0].caption


def test_without_a_lens_it_says_how_to_make_one(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_model.hf, "name_or_path", str(tmp_path), raising=False)
    with pytest.raises(ArgumentError, match=r"no tuned lens was named.*fluoro fit-tuned-lens TEXT FILE"):
        tuned_lens(tiny_model, "abc")
    with pytest.raises(ArtifactError, match="cannot read"):
        tuned_lens(tiny_model, "abc", lens="nowhere.safetensors")
