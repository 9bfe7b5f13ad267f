import pytest
import torch

import tiny
from fluoroscope import artifact
from fluoroscope.analyses.future_lens import FutureLens, future_lens
from fluoroscope.errors import TokenError
from fluoroscope.methods.translators import depth_sites, provenance


@pytest.fixture
def lens(tiny_model, tmp_path):
    torch.manual_seed(0)
    maps = {"weight": torch.randn(3, 3, 24, 24), "bias": torch.randn(3, 3, 24)}
    path = str(tmp_path / "lens.safetensors")
    artifact.write_tensors(path, maps, provenance(tiny_model, "", [[1, 2]], 0) | {"kind": "future"})
    return maps, path


@pytest.mark.parametrize("position", [-1, -2, 2])
def test_every_depth_and_distance_is_read_through_its_map(tiny_model, lens, position):
    maps, path = lens
    result = future_lens(tiny_model, tiny.PROMPT, lens=path, position=position)
    slot = position % len(tiny.PROMPT)
    longer = tiny.PROMPT + "".join(tiny_model.generate(tiny.PROMPT, max_new_tokens=3, stop_tokens=[]).texts)
    follows = tiny_model.tokens(longer).ids[0, slot + 1 : slot + 4].tolist()
    assert result.continuation == tuple(map(tiny_model.token_label, follows))
    assert result.given == min(3, len(tiny.PROMPT) - slot - 1)
    for depth, site in enumerate(depth_sites(2)):
        stream = tiny_model.trace(tiny.PROMPT, sites=[site])[site][0, slot]
        for distance, token in enumerate(follows):
            moved = stream @ maps["weight"][distance, depth] + maps["bias"][distance, depth]
            p = tiny_model.unembed(moved).detach().softmax(-1)
            cell = result.depths[depth][distance]
            assert (cell.id, cell.probability) == (int(p.argmax()), pytest.approx(float(p.max()), abs=1e-5))
            assert cell.actual == pytest.approx(float(p[token]), abs=1e-6)
    assert FutureLens.from_json(result.to_json()) == result
    assert result.views()[0].tokens[1] == tuple(cell.piece for cell in result.depths[1])


def test_a_context_that_ends_too_early_is_refused(tiny_model, lens):
    with pytest.raises(TokenError, match="64"):
        future_lens(tiny_model, "a" * 64, lens=lens[1])
