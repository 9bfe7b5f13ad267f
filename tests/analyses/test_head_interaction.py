"""Heads together: against runs of their own, planted circuits, and the specimen's own name movers."""

from itertools import combinations

import pytest

import fluoroscope
from architectures import common
from exact.planted import circuit
from fluoroscope.analyses.head_interaction import HeadInteraction, head_interaction
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.errors import ArgumentError, Cancelled, SiteError, TokenError, UnavailableError
from fluoroscope.interventions import at, replace
from fluoroscope.progress import listening

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def alone(model, base, donor, heads, place, answer, foil):
    """The lead in one plain run with some heads replaced."""
    edits = {}
    for head in heads:
        value = model.trace(donor, sites=[head.rpartition(".")[0]])[head]
        edits[head] = replace(value) if place is None else at(replace(value[:, [place]]), place)
    logits = model.trace(base, edits=edits).logits[0, -1]
    return float(logits[answer] - logits[foil])


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize(
    ("case", "place"), [("gpt2", None), ("llama", 5), ("gemma2", None), ("mixtral", 7), ("bloom", 4)]
)
def test_every_group_is_a_run_of_its_own(case, place, direction):
    found = common.model(case)
    heads = ["z.0.1", "z.2.0", "z.1.3"]
    result = head_interaction(
        found, [IDS[0]], [IDS[1]], heads=heads, position=place, answer="#7", foil="#11", direction=direction
    )
    base, donor = [IDS[1]] if direction == "denoise" else [IDS[0]], [IDS[0]] if direction == "denoise" else [IDS[1]]
    ends = [alone(found, [ids], [ids], [], None, 7, 11) for ids in IDS]
    way = (ends[0] - ends[1]) * (1 if direction == "denoise" else -1)

    def effect(*group):
        return (alone(found, base, donor, group, place, 7, 11) - ends[direction == "denoise"]) / way

    near = {"rel": 1e-4, "abs": 1e-4 / abs(way)}  # float32 logits of about 10
    assert list(result.alone) == pytest.approx([effect(head) for head in heads], **near)
    for one, two in combinations(range(3), 2):
        both = effect(heads[one], heads[two])
        assert result.pairs[one][two] == result.pairs[two][one] == pytest.approx(both, **near)
        assert result.interactions[one][two] == pytest.approx(both - effect(heads[one]) - effect(heads[two]), **near)
    assert result.together == pytest.approx(effect(*heads), **near)
    assert result.position == place
    assert HeadInteraction.from_json(result.to_json()) == result


def test_an_xor_needs_both_of_its_heads():
    """Against blanks, in which either sign alone says nothing."""
    planted = circuit("xor")
    prompt = planted.prompts[0].tolist()
    blank = [prompt[0], 3, 3, prompt[3]]
    answer, foil = (f"#{int(each[0])}" for each in (planted.answers, planted.foils))
    result = head_interaction(planted.model, [prompt], [blank], heads=["L0H0", "L0H1"], answer=answer, foil=foil)
    assert result.alone == pytest.approx((0, 0), abs=1e-4)
    assert result.pairs[0][1] == result.together == pytest.approx(1, abs=1e-4)
    assert result.interactions[0][1] == pytest.approx(1, abs=1e-4)
    assert "more than their sum do, as heads that need each other: L0H0 and L0H1 (+100.0 %)" in result.summary()
    taken = head_interaction(
        planted.model, [prompt], [blank], heads=["L0H0", "L0H1"], answer=answer, foil=foil, direction="noise"
    )
    assert taken.alone == pytest.approx((1, 1), abs=1e-4)
    assert taken.interactions[0][1] == pytest.approx(-1, abs=1e-4)
    assert "less than their sum do, as heads that need each other: L0H0 and L0H1 (-100.0 %)" in taken.summary()


def test_a_backup_is_missed_only_together_with_the_first():
    """Against a prompt without a letter, where the first head rests and does not say that it spoke."""
    planted = circuit("backup")
    prompt = planted.prompts[0].tolist()
    silent = [prompt[0], 5, 5, prompt[3]]
    answer = f"#{int(planted.answers[0])}"
    result = head_interaction(
        planted.model, [prompt], [silent], heads=["L0H0", "L1H0"], answer=answer, metric="logit", direction="noise"
    )
    assert result.alone == pytest.approx((0, 0), abs=1e-3)
    assert result.together == pytest.approx(1, abs=1e-3)
    assert "more than their sum do, as backups of each other: L0H0 and L1H0 (+100.0 %)" in result.summary()


def test_without_names_the_heads_that_do_most_alone_are_taken(specimen):
    result = head_interaction(specimen, CLEAN, OTHER, answer=" Mary", foil=" John", top_k=5)
    ranked = head_patching(specimen, CLEAN, OTHER, answer=" Mary", foil=" John").heads()[:5]
    assert list(result.heads) == [str(site) for site, _, _ in ranked]
    assert list(result.alone) == pytest.approx([share for _, _, share in ranked], abs=1e-6)
    assert result.labels[0] == "L4H2"


def test_what_people_read(specimen):
    result = head_interaction(specimen, CLEAN, OTHER, heads=["L4H2", "L5H1", "L2H3", "L3H7"])
    heatmap, bars = result.views()
    assert heatmap.values == result.interactions
    assert [bar.label for bar in bars.items][4:] == ["their sum", "with what pairs add", "all together"]
    assert bars.items[4].value == pytest.approx(sum(result.alone))
    assert "4 heads together restore" in result.summary()
    assert "as heads that need each other: L2H3 and L3H7 (+" in result.summary()
    assert "as backups of each other: L4H2 and L5H1 (-" in result.summary()
    quiet = head_interaction(specimen, CLEAN, OTHER, heads=["L0H0", "L0H1"])
    assert quiet.summary().endswith("no two differ from their sum by 1.0 %.")
    assert len(quiet.views()[1].items) == 4


def test_what_is_measured_before_a_cancel_is_kept(specimen, monkeypatch):
    heads = ["L4H2", "L3H2", "L2H5"]
    full = head_interaction(specimen, CLEAN, OTHER, heads=heads)
    monkeypatch.setattr("fluoroscope.portions.ROWS", 1)
    with (
        listening(lambda label, done, _total: not (label == "sweep" and done == 5)),
        pytest.raises(Cancelled) as stopped,
    ):
        head_interaction(specimen, CLEAN, OTHER, heads=heads)
    partial = stopped.value.partial
    assert isinstance(partial, HeadInteraction)
    assert partial.missing == 2
    assert partial.sums() is None
    assert partial.summary().startswith("Partial, 2 effects not measured.")
    for mine, whole in zip((*partial.alone, *partial.pairs[2]), (*full.alone, *full.pairs[2]), strict=True):
        assert mine is None or mine == pytest.approx(whole, abs=1e-6)
    assert partial.views()


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"heads": ["L4H2"]}, ArgumentError, "Name two or more"),
        ({"heads": ["L4H2", "z.4.2"]}, ArgumentError, "1 head has nobody"),
        ({"heads": ["L4H2", "z.3"]}, ArgumentError, "no single head"),
        ({"heads": ["L4H2", "mlp_out.0"]}, ArgumentError, "no single head"),
        ({"heads": ["L4H2", "L9H0"]}, SiteError, "beyond the last layer"),
        ({"top_k": 1}, ArgumentError, "top_k=1 of 48 heads makes no pair"),
        ({"position": 40}, TokenError, "40"),
        ({"corrupted": CLEAN}, ArgumentError, "same tokens"),
        ({"budget": 0}, ArgumentError, "budget of 0"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        head_interaction(specimen, **{"clean": CLEAN, "corrupted": OTHER} | arguments)


def test_a_model_without_such_heads_is_refused():
    with pytest.raises(UnavailableError, match="offers z on no block"):
        head_interaction(common.model("qwen3_next"), [IDS[0]], [IDS[1]])
