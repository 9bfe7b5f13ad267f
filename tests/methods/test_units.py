"""A survey against plain forward passes, one passage at a time; what counts as the number of a unit."""

import random

import pytest
import torch

import tiny
from architectures.common import ids, model
from fluoroscope.errors import ArgumentError, Cancelled, UnavailableError
from fluoroscope.loading import load
from fluoroscope.methods import passages, units
from fluoroscope.progress import listening
from fluoroscope.sites import Site

CHANCE = random.Random(5)
TEXT = "\n\n".join("".join(CHANCE.choices(tiny.CHARACTERS[:60], k=length)) for length in (40, 3, 26, 61, 14, 9, 30, 55))
"""No two passages of it are alike: what is equal but for the rounding of a batch may come in either order."""


@pytest.fixture(scope="module")
def double(tiny_folder):
    return load(tiny_folder, dtype="float64")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("units") / "text.txt"
    path.write_text(TEXT, encoding="utf8")
    return str(path)


def plain(found, file, context):
    """Hidden units of block 1 of the bare model, passage by passage; none of our hooks."""
    kept = []
    module = found.hf.transformer.h[1].mlp.c_proj
    handle = module.register_forward_pre_hook(lambda module, args: kept.append(args[0][0].clone()))
    with torch.no_grad():
        for passage in passages.passages(found, file, context):
            found.hf(torch.tensor([passage.ids]))
    handle.remove()
    return kept


@pytest.mark.parametrize("at_once", [1, 40, 4096])
def test_a_survey_is_what_all_activations_say_however_they_are_batched(double, file, at_once):
    survey = units.survey(double, Site("neurons", 1), file, k=3, window=2, context=13, at_once=at_once)
    kept = plain(double, file, 13)
    values = torch.cat(kept)
    assert (survey.count, survey.moments.count) == (len(kept), len(values))
    torch.testing.assert_close(survey.moments.mean, values.mean(0), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(survey.moments.deviation, values.std(0, correction=0), rtol=1e-9, atol=1e-12)
    peaks = torch.stack([passage.amax(0) for passage in kept])
    best = peaks.sort(dim=0, descending=True).values[:3].T
    torch.testing.assert_close(survey.largest.values.double(), best, rtol=0, atol=1e-12)
    for unit, chosen in enumerate(survey.largest.passage.tolist()):
        assert len(set(chosen)) == 3
        there = [float(kept[index][slot, unit]) for index, slot in zip(chosen, survey.largest.slot[unit], strict=True)]
        assert there == pytest.approx(best[unit].tolist(), abs=1e-12)
    assert set(survey.passages) == set(survey.largest.passage.unique().tolist())


def test_of_equal_passages_the_first_is_named(tiny_model, tmp_path):
    path = tmp_path / "same.txt"
    path.write_text("\n\n".join(["abc"] * 9), encoding="utf8")
    for at_once in (3, 9, 4096):
        survey = units.survey(tiny_model, Site("neurons", 0), str(path), k=4, window=1, at_once=at_once)
        assert bool((survey.largest.passage == torch.arange(4)).all())


def test_a_head_counts_by_its_norm_and_a_unit_is_its_column(tiny_model):
    trace = tiny_model.trace(["abcd", "ab"], sites=["z.1", "q.0", "neurons.1"])
    heads = units.values(trace, Site("z", 1))
    assert heads.shape == (2, 4, 3)
    assert float(heads[1, 0, 2]) == pytest.approx(float(trace["z.1"][1, 0, 2].square().sum().sqrt()))
    queries = units.values(trace, Site("q", 0, 1))
    assert queries.shape == (2, 4, 1)
    assert float(queries[0, 3, 0]) == pytest.approx(float(trace["q.0"][0, 1, 3].norm()))
    assert torch.equal(units.values(trace, Site("neurons", 1, 5))[..., 0], trace["neurons.1"][..., 5])


def test_routers_have_units():
    found = model("mixtral")
    assert units.values(found.trace(ids(1), sites=["router.1"]), Site("router", 1)).shape == (1, 13, 4)


@pytest.mark.parametrize(("site", "why"), [("resid_post.1", "no units, only d_model"), ("pattern.1", "pair of tokens")])
def test_sites_without_a_number_per_token_are_refused(site, why):
    with pytest.raises(ArgumentError, match=why):
        units.check(Site.parse(site))


def test_nan_is_refused(tiny_folder, file):
    broken = load(tiny_folder)
    with torch.no_grad():
        broken.hf.transformer.h[1].mlp.c_fc.bias[3] = torch.nan
    with pytest.raises(UnavailableError, match=r"neurons\.1 is NaN"):
        units.survey(broken, Site("neurons", 1), file, k=1, window=1)


def test_progress_runs_to_the_end_of_the_file_and_can_be_cancelled(tiny_model, file):
    heard = []
    with listening(lambda label, done, total: heard.append((label, done, total))):
        units.survey(tiny_model, Site("neurons", 1), file, k=1, window=1, at_once=40)
    done = [each[1] for each in heard if each[0] == "reading text.txt"]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, len(TEXT.encode()))
    with (
        pytest.raises(Cancelled),
        listening(lambda label, done, total: not (label.startswith("reading") and done > 0)),
    ):
        units.survey(tiny_model, Site("neurons", 1), file, k=1, window=1, at_once=40)
    assert tiny_model.trace(tiny.PROMPT).logits.isfinite().all()
