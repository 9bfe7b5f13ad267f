"""The steps are those of their analyses, about one answer throughout; the narrative is made of their numbers."""

import re

import pytest

import fluoroscope
from architectures import common
from fluoroscope.analyses.activation_patching import activation_patching
from fluoroscope.analyses.attribution_patching import attribution_patching
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.path_patching import path_patching
from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled
from fluoroscope.progress import listening
from fluoroscope.render.text import number, share
from fluoroscope.workflows import localise as module
from fluoroscope.workflows.localise import Localisation, localise

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
STEPS = ["estimates", "stream", "heads", "mlps", "direct"]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def found(specimen):
    return localise(specimen, CLEAN, OTHER, top_k=6)


def test_its_steps_are_those_analyses_about_one_answer(specimen, found):
    named = {"answer": " Mary", "foil": " John"}
    assert [name for name, _ in found.steps] == STEPS
    assert found.get_step("estimates") == attribution_patching(specimen, CLEAN, OTHER, top_k=6, **named)
    assert found.get_step("stream") == activation_patching(specimen, CLEAN, OTHER, **named)
    assert found.get_step("heads") == head_patching(specimen, CLEAN, OTHER, **named)
    assert found.get_step("mlps") == activation_patching(specimen, CLEAN, OTHER, site="mlp_out", **named)
    direct = {"receivers": ["logits"], "hold_mlps": True, "direction": "denoise"}
    assert found.get_step("direct") == path_patching(specimen, CLEAN, OTHER, **direct, **named)
    for _, step in found.steps:
        assert (step.answer_ids, step.foil_ids) == (found.answer_ids, found.foil_ids)
        assert (step.metric, step.direction) == (found.metric, found.direction)


def test_parts_are_the_largest_and_stand_beside_all_their_numbers(found):
    exact = {(f"z.{layer}.{head}", None): value for layer, row in enumerate(found.heads.effects)
             for head, value in enumerate(row)}  # fmt: skip
    exact |= {(f"mlp_out.{layer}", place): value for layer, place, value in found.mlps.cells()}
    largest = sorted(exact, key=lambda key: -abs(exact[key]))[:6]
    assert [(part.site, part.position) for part in found.parts] == largest
    alone = {sender.site: sender.effect for sender in found.direct.senders}
    heads, mlps = found.estimates.kinds
    for part in found.parts:
        assert part.exact == exact[part.site, part.position]
        if part.position is None:
            _, layer, head = part.site.split(".")
            assert part.estimate == heads.shares[int(layer)][int(head)]
            assert part.direct == alone[part.site]
        else:
            assert part.estimate == mlps.shares[int(part.site.split(".")[1])][part.position]
            assert part.direct == (alone[part.site] if part.position == 13 else 0)


def test_the_narrative_says_how_far_estimates_are_off_and_who_acts_through_others(found):
    opening, estimates, stream, heads, mlps, direct = found.narrative
    assert number(found.clean_score) in opening
    assert number(found.corrupted_score) in opening
    assert "clean values are put into the corrupted prompt" in opening
    assert (stream, heads, mlps) == (found.stream.summary(), found.heads.summary(), found.mlps.summary())
    guess, truth = found.furthest.estimate, found.furthest.exact
    assert f"{share(guess)} estimated, {share(truth)} exactly" in estimates
    assert f"rank correlation of {number(found.agreement)}" in estimates
    all_guesses = [value for kind in found.estimates.kinds for row in kind.shares for value in row]
    flat = [value for row in found.heads.effects for value in row]
    flat += [value for row in found.mlps.effects for value in row]
    off = max(abs(one - other) for one, other in zip(all_guesses, flat, strict=True))
    assert abs(guess - truth) == pytest.approx(off)
    own, through = direct.split("; those that act through others: ")
    for part in found.parts:
        told = f"({share(part.direct)} of {share(part.exact)})"
        assert told in (own if part.direct / part.exact >= 0.5 else through)
    numbers = re.findall(r"\d+", " ".join(found.narrative))
    assert len(numbers) > 20


def test_everything_is_in_json_and_markdown(found):
    assert Localisation.from_json(found.to_json()) == found
    page = found.to_markdown()
    for sentence in found.narrative:
        head = re.split(r"[‘·’]", sentence)[0]
        assert head in page
    titles = [view.title for view in found.views()]
    assert len(set(titles)) == len(titles)
    assert found.summary().startswith("Of the lead of ‘·Mary’ over ‘·John’ (")


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(specimen, found, tmp_path, monkeypatch):
    folder = str(tmp_path / "run")

    def stop(label, done, _total):
        return not (label == "localise" and done == 3)

    with listening(stop), pytest.raises(Cancelled) as stopped:
        localise(specimen, CLEAN, OTHER, top_k=6, resume=folder)
    partial = stopped.value.partial
    assert isinstance(partial, Localisation)
    assert [name for name, _ in partial.steps] == ["estimates", "stream", "heads"]
    assert partial.heads == found.heads
    assert partial.summary().startswith("Partial, 2 steps of 5 not made. Of the lead")
    assert partial.refused == ("Not made, as the run was cancelled: mlps, direct.",)
    kept = {path.stem for path in (tmp_path / "run").iterdir()}
    assert kept == {"about", "estimates", "stream", "heads"}

    def again(*_args, **_keywords):
        pytest.fail("a step that was kept is made again")

    for name in ("attribution_patching", "head_patching"):
        monkeypatch.setattr(module, name, again)
    assert localise(specimen, CLEAN, OTHER, top_k=6, resume=folder) == found
    assert localise(specimen, CLEAN, OTHER, top_k=6, answer=" Mary", resume=folder) == found
    for other in ({"top_k": 5}, {"direction": "noise"}, {"foil": " the"}):
        with pytest.raises(ArtifactError, match="steps of another run"):
            localise(specimen, CLEAN, OTHER, resume=folder, **{"top_k": 6} | other)
    with pytest.raises(ArtifactError, match="tokens differs"):
        localise(specimen, OTHER, CLEAN, answer=" Mary", foil=" John", top_k=6, resume=folder)


def test_noise_and_a_distance(specimen):
    noise = localise(specimen, CLEAN, OTHER, direction="noise")
    assert "the parts that destroy most are " in noise.summary()
    assert all(step.direction == "noise" for _, step in noise.steps)
    distance = localise(specimen, CLEAN, OTHER, metric="kl", direction="noise")
    assert distance.estimates is None  # where the distance is least it has no slope
    assert "There is no step 'estimates' here: kl is measured from the clean prediction" in distance.refused[0]
    assert distance.refused[0] in distance.views()[0].caption
    assert (distance.agreement, distance.furthest, distance.compared) == (None, None, 0)
    assert [name for name, _ in distance.steps] == STEPS[1:]


@pytest.mark.parametrize("case", ["llama", "gemma2", "gpt_neox", "mixtral", "bloom", "qwen3_next", "opt-350m"])
def test_every_family_is_localised_or_says_what_is_missing(case):
    result = localise(common.model(case), [IDS[0]], [IDS[1]], answer="#7", foil="#11", top_k=3)
    missing = set(STEPS) - {name for name, _ in result.steps}
    assert len(result.refused) == len(missing)
    assert (not missing) == (case not in ("qwen3_next", "opt-350m"))
    assert len(result.narrative) == 1 + len(result.steps)
    assert result.to_html()
    assert Localisation.from_json(result.to_json()) == result


def test_progress_counts_the_steps(specimen):
    seen = []
    with listening(lambda *report: seen.append(report)):
        localise(specimen, CLEAN, OTHER)
    assert [(done, total) for label, done, total in seen if label == "localise"] == [(n, 5) for n in range(6)]


def test_refusals(specimen):
    with pytest.raises(ArgumentError, match="lists nothing"):
        localise(specimen, CLEAN, OTHER, top_k=0)
    with pytest.raises(ArgumentError, match="same tokens"):
        localise(specimen, CLEAN, CLEAN)
    alike = [f"The {animal} lay on the hotel. The {animal} lay on the" for animal in ("owl", "bee")]
    with pytest.raises(ArgumentError, match="score the same"):
        localise(specimen, *alike, metric="rank", answer=" hotel")
