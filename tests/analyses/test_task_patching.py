"""Over pairs: against the single pairs' own sweeps and the card, and what must be said of pairs that ask nothing."""

import json

import pytest
import torch

import fluoroscope
from architectures import common
from fluoroscope import tasks
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.task_patching import TaskPatching, task_patching
from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled, TokenError, UnavailableError
from fluoroscope.progress import listening


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def ioi(specimen):
    return task_patching(specimen, "ioi", pairs=6, seed=3)


def saved(folder, records):
    path = folder / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf8")
    return str(path)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_it_is_the_mean_over_the_sweeps_of_single_pairs(specimen, direction):
    dataset = tasks.make("ioi", specimen, 4, seed=1)
    assert len({len(specimen.tokens(pair.clean).rows[0]) for pair in dataset}) > 1
    result = task_patching(specimen, "ioi", pairs=4, seed=1, direction=direction, floor=False)
    alone = [
        head_patching(specimen, p.clean, p.corrupted, answer=p.answer, foil=p.foil, direction=direction)
        for p in dataset
    ]
    assert [pair.clean_score for pair in result.pairs] == pytest.approx([each.clean_score for each in alone], rel=1e-5)
    gaps = torch.tensor([each.clean_score - each.corrupted_score for each in alone])
    effects = torch.stack([torch.tensor(each.effects) for each in alone], -1)
    shares = (effects * gaps).sum(-1) / gaps.sum()
    scores = torch.stack([torch.tensor(each.scores) for each in alone], -1).mean(-1)
    for each in result.effects:
        layer, head = map(int, each.site.split(".")[1:])
        assert each.share == pytest.approx(float(shares[layer, head]), abs=1e-5)
        assert each.score == pytest.approx(float(scores[layer, head]), abs=1e-4)
        assert each.share_low <= each.share <= each.share_high
        assert each.foreign is None
    assert result.level is None
    assert "have an interval without 0" in result.summary()


def test_roles_are_patched_where_each_prompt_has_them(specimen):
    result = task_patching(specimen, "ioi", pairs=3, positions=["S2", "-1"], part="attn_out", floor=False)
    pairs = tasks.make("ioi", specimen, 3).pairs
    total = changed = 0.0
    for pair in pairs:
        tokens = specimen.tokens(pair.clean)
        (place,) = range(*pair.span("S2", tokens).indices(99))
        ids = [specimen.single_token(each) for each in (pair.answer, pair.foil)]
        donor = specimen.trace(pair.clean, sites=["attn_out.2"])["attn_out.2"]

        def patch(value, donor=donor, place=place):
            value[:, place] = donor[:, place]
            return value

        runs = [specimen.trace(pair.clean), specimen.trace(pair.corrupted)]
        runs.append(specimen.trace(pair.corrupted, edits={"attn_out.2": patch}))
        clean, corrupted, after = (float(run.logits[0, -1, ids[0]] - run.logits[0, -1, ids[1]]) for run in runs)
        total, changed = total + clean - corrupted, changed + after - corrupted
    found = next(each for each in result.effects if (each.site, each.place) == ("attn_out.2", "S2"))
    assert found.share == pytest.approx(changed / total, abs=1e-5)
    assert result.places == ("S2", "the end")
    assert result.views()[1].columns[0].label == "S2"


def test_the_stream_is_taken_apart_by_roles_where_nothing_is_said(specimen):
    result = task_patching(specimen, "facts", variant="capital", pairs=3, part="resid_pre", floor=False)
    assert result.places == ("subject", "the end")
    first = next(each for each in result.effects if each.place == "subject")
    assert first.share == pytest.approx(1, abs=1e-5)  # all that differs
    assert result.task == "facts (capital)"


def test_the_heads_of_the_card_stand_out_of_shuffled_pairs(ioi):
    first = [each.label for each in ioi.standing()[:2]]
    assert first == ["L4H2", "L3H2"]
    assert len(ioi.standing()) < 16
    assert all(pair.prefers for pair in ioi.pairs)
    for pair, other in ((pair, ioi.pairs[pair.donor]) for pair in ioi.pairs if pair.donor is not None):
        assert not {pair.answer, pair.foil} & {other.answer, other.foil}
    sizes = torch.tensor([each.noise for each in ioi.effects], dtype=torch.float64).abs()
    assert ioi.level == pytest.approx(float(sizes.quantile(0.95)))
    assert [each.label for each in ioi.standing()] == [
        each.label for each in ioi.ranked() if min(each.share_low, each.share_high, key=abs) > ioi.level
    ]


def test_what_people_read(ioi):
    assert "L4H2 " in ioi.summary()
    assert "over 6 pairs of ioi" in ioi.summary()
    assert "of 48 heads stand out of the noise of shuffled pairs" in ioi.summary()
    bars, grid, table = ioi.views()
    assert bars.items[0].remark.endswith(f"foreign {100 * ioi.ranked()[0].foreign:.1f} %")
    assert grid.values[4][2] == ioi.ranked()[0].share
    assert len(table.rows) == 5
    assert ioi.recipe.seed == 3
    assert TaskPatching.from_json(ioi.to_json()) == ioi


def test_pairs_that_ask_nothing_are_counted(specimen, tmp_path):
    names = "When Mary and John went to the store, {} gave a drink to"
    good = {"clean": names.format("John"), "corrupted": names.format("Mary"), "answer": " Mary", "foil": " John"}
    wrong = {"clean": names.format("Mary"), "corrupted": names.format("John"), "answer": " Mary", "foil": " John"}
    third = {"clean": names.format("Tom"), "corrupted": names.format("Anna"), "answer": " Mary", "foil": " John"}
    file = saved(tmp_path, [good, good | {"answer": " John", "foil": " Mary"}, third, good, good])
    result = task_patching(specimen, "mine", file=file, pairs=5)
    assert [pair.prefers for pair in result.pairs][:2] == [True, False]
    assert "In 1 of 5 pairs the model does not prefer the answer" in result.summary()
    assert "In 1 of 5 pairs the scores lie the other way round; they count against." in result.summary()
    assert result.views()[-1].rows[0].cells[-1] == "no"
    assert result.task == "mine"
    assert {pair.donor for pair in result.pairs} == {None}, "all are about the same names"
    assert result.level is None
    assert "have an interval without 0" in result.summary()
    with pytest.raises(ArgumentError, match="score the same in the mean"):
        task_patching(specimen, "mine", file=saved(tmp_path, [good, wrong]), pairs=2)


def test_one_pair_has_no_interval_and_no_floor(specimen):
    result = task_patching(specimen, "ioi", pairs=1)
    assert result.level is None
    assert {each.share_low for each in result.effects} == {None}
    assert result.summary().endswith("one pair says nothing of others.")


@pytest.mark.parametrize("case", ["llama", "gemma2", "mixtral"])
def test_other_families_need_a_tokenizer(case):
    with pytest.raises(TokenError, match="no tokenizer"):
        task_patching(common.model(case), "ioi")


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"task": "iou"}, ArgumentError, "ioi"),
        ({"variant": "swop"}, ArgumentError, "swap"),
        ({"file": "x.csv"}, ArtifactError, "there is no file"),
        ({"pairs": 0}, ArgumentError, "0 pairs cannot"),
        ({"pairs": 100_000}, ArgumentError, "100,000 pairs cannot"),
        ({"task": "presets", "variant": "ioi"}, ArgumentError, "at most 1"),
        ({"positions": ["S4"]}, ArgumentError, "S2"),
        ({"positions": ["40"]}, TokenError, "no token 40"),
        ({"budget": 0, "pairs": 2}, ArgumentError, "budget of 0"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        task_patching(specimen, **{"task": "ioi"} | arguments)


def test_a_model_without_such_parts_is_refused():
    with pytest.raises(UnavailableError, match="offers z on no block"):
        task_patching(common.model("qwen3_next"), "ioi")


def test_what_is_measured_before_a_cancel_is_kept(specimen, monkeypatch):
    monkeypatch.setattr("fluoroscope.portions.ROWS", 64)
    full = task_patching(specimen, "ioi", pairs=3)

    def listener(label, done, total):
        return not (label == "sweep" and done > total // 2)

    with listening(listener), pytest.raises(Cancelled) as stopped:
        task_patching(specimen, "ioi", pairs=3)
    partial = stopped.value.partial
    assert isinstance(partial, TaskPatching)
    assert 0 < partial.missing < 48
    assert partial.missing + len(partial.effects) == 48
    whole = {each.site: each for each in full.effects}
    for each in partial.effects:
        assert each.share == pytest.approx(whole[each.site].share, abs=1e-6)
    assert partial.summary().startswith(f"Partial, {partial.missing} not measured")
    assert partial.views()


def test_a_file_of_fewer_pairs_is_read_whole(specimen, tmp_path):
    path = str(tasks.make("ioi", specimen, 2).save(tmp_path / "two.json"))
    assert len(task_patching(specimen, "mine", file=path).pairs) == 2
    with pytest.raises(ArtifactError, match="there is no file '/nowhere'"):
        task_patching(specimen, "mine", file="/nowhere")
