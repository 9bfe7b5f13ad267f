"""Sweeps over pairs against single runs of each, and donors against what they must be."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from architectures.common import model
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import at, replace
from fluoroscope.methods import sweeps, task_sweeps
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.methods.task_sweeps import Place
from fluoroscope.progress import listening
from fluoroscope.sites import Site

PAIRS = [
    ([5, 3, 9, 7, 5, 3], [5, 3, 9, 11, 5, 3]),
    ([8, 1, 2, 4, 90], [8, 1, 3, 4, 91]),
    ([30, 31, 2, 33, 34, 35], [30, 31, 3, 33, 34, 35]),
    ([60, 61, 62, 63, 64, 65, 66], [60, 61, 62, 63, 1, 65, 66]),
]
ANSWERS, FOILS = [7, [5, 9], 2, 4], [11, 8, 3, 9]


ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=3), st.sets(st.integers(0, 3), max_size=2)),
    min_size=1,
    max_size=12,
)


@given(ROWS, st.integers(0, 99))
def test_donors_are_of_the_same_length_and_about_other_tokens_wherever_there_are_such(pairs, seed):
    rows, about = zip(*pairs, strict=True)
    found = task_sweeps.donors(rows, about, seed)
    assert found == task_sweeps.donors(rows, about, seed)
    for index, donor in enumerate(found):
        fits = [
            other
            for other in range(len(rows))
            if other != index and len(rows[other]) == len(rows[index]) and not about[other] & about[index]
        ]
        assert (donor is None) == (not fits)
        assert donor is None or donor in fits


def test_different_rows_of_one_length_are_permuted():
    rows = [[index] for index in range(9)]
    found = [task_sweeps.donors(rows, rows, seed) for seed in range(4)]
    assert all(sorted(each) == list(range(9)) for each in found)
    assert len({tuple(each) for each in found}) > 1


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "mixtral", "bloom"])
def test_every_score_is_a_run_of_its_own(case, direction):
    found = model(case)
    sweep = Sweep(found, PAIRS, ["z", "attn_out"], direction)
    measured = metrics.logit_diff(ANSWERS, FOILS)
    places = [Place("all tokens", (None,) * 4), Place("mine", ((3,), (2, -1), (-2,), (4,)))]
    sites = [Site("z", 1, 2), Site("attn_out", 2), Site("z", 0, 0)]
    donors = [2, None, 0, None]
    swept = task_sweeps.swept(sweep, sites, places, measured, donors)
    assert swept.foreign is not None
    kinds = [(swept.effects.scores, [0, 1, 2, 3], 0), (swept.foreign[0], donors, 0), (swept.foreign[1], donors, 1)]
    assert all(scores[:, [1, 3]].isnan().all() for scores, _, _ in kinds[1:])
    for row, (site, place) in enumerate((site, place) for site in sites for place in places):
        for pair, prompts in enumerate(PAIRS):
            for scores, sources, same in kinds:
                if sources[pair] is None:
                    continue
                source = PAIRS[sources[pair]][(direction == "noise") ^ same]
                value = found.trace([source], sites=[site.whole])[str(site)]
                where = place.positions[pair]
                value = value if where is None else value[:, list(where)]
                edit = replace(value) if where is None else at(replace(value), list(where))
                logits = found.trace([prompts[direction == "denoise"]], edits={site: edit}).logits[:, -1]
                alone = float(measured.at([pair])(logits))
                assert float(scores[row, pair]) == pytest.approx(alone, abs=1e-5 * float(logits.abs().max()))


def test_shares_are_mean_changes_over_the_mean_way():
    found = model("llama")
    sweep = Sweep(found, PAIRS, ["z"])
    sites = sweeps.units(found, "z")
    everywhere, measured = [Place("", (None,) * 4)], metrics.logit_diff(ANSWERS, FOILS)
    swept = task_sweeps.swept(sweep, sites, everywhere, measured, [2, None, 0, None])
    scores, clean, corrupted = (swept.effects.scores, swept.effects.clean, swept.effects.corrupted)
    by_hand = (scores - corrupted).mean(1) / (clean - corrupted).mean()
    assert torch.allclose(swept.shares()[0], by_hand)
    weighted = (swept.effects.shares * (clean - corrupted)).sum(1) / (clean - corrupted).sum()
    assert torch.allclose(swept.shares()[0], weighted)
    (other, same), having, way = swept.foreign, [0, 2], (clean - corrupted)[[0, 2]].mean()
    share, noise = swept.foreign_shares()
    assert torch.allclose(share, (other - corrupted)[:, having].mean(1) / way)
    assert torch.allclose(noise, (other - same)[:, having].mean(1) / way)
    assert task_sweeps.level(noise) == pytest.approx(float(noise.abs().quantile(0.95)))
    none = task_sweeps.swept(sweep, sites[:1], everywhere, metrics.logit(ANSWERS), [None] * 4)
    assert none.foreign_shares() is None


def test_values_of_another_length_are_refused():
    sweep = Sweep(model("gpt2"), PAIRS, ["z"])
    with pytest.raises(ArgumentError, match="pairs 0 and 1 differ in length"):
        sweep.patched(Part((Site("z", 0, 0),)), 0, donor=1)


def test_pairs_without_a_way_in_the_mean_are_refused_before_anything_is_swept():
    found = model("llama")
    there_and_back = [PAIRS[0], PAIRS[0][::-1]]
    sweep = Sweep(found, there_and_back, ["z"])
    assert sweep.replay.why_whole is None  # the runs are there
    with (
        listening(lambda label, _done, _total: pytest.fail(f"{label} ran")),
        pytest.raises(ArgumentError, match="clean and corrupted prompts score the same in the mean"),
    ):
        task_sweeps.swept(sweep, sweeps.units(found, "z"), [Place("", (None,) * 2)], metrics.logit([7, 7]))
