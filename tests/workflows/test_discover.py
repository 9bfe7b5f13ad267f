"""The steps are those of their analyses; what is said of them together is counted again, and doubts are provoked."""

import re

import pytest
import torch

import fluoroscope
from architectures import common
from exact import planted
from fluoroscope import tasks
from fluoroscope.analyses.attention_patterns import attention_patterns
from fluoroscope.analyses.circuit import Loss, Share, circuit
from fluoroscope.analyses.edges import edges
from fluoroscope.analyses.head_roles import head_roles
from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled, UnavailableError
from fluoroscope.progress import listening
from fluoroscope.render.text import number, percent, share
from fluoroscope.views import Graph
from fluoroscope.workflows import discover as module
from fluoroscope.workflows.discover import Discovery, discover

IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
STEPS = ["estimates", "circuit", "attention", "roles"]
ASKED = {"task": "ioi", "pairs": 3, "size": 0.02}


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


@pytest.fixture(scope="module")
def found(specimen):
    return discover(specimen, **ASKED, top_k=8, heads=4)


def test_its_steps_are_those_analyses(specimen, found):
    pair = tasks.make("ioi", specimen, 6, 0).pairs[0]
    named = {"answer": pair.answer, "foil": pair.foil}
    assert [name for name, _ in found.steps] == STEPS
    assert found.get_step("estimates") == edges(specimen, pair.clean, pair.corrupted, top_k=8, **named)
    assert found.get_step("circuit") == circuit(specimen, **ASKED, leave_out=True)
    assert found.get_step("attention") == attention_patterns(specimen, pair.clean)
    assert found.get_step("roles") == head_roles(specimen, pair.clean)
    assert (found.circuit.found_on, found.circuit.judged_on) == (3, 3)
    assert found.circuit.random


def test_heads_are_those_that_the_circuit_loses_most_without(specimen, found):
    losses = {each.node: each.loss for each in found.circuit.without}
    ranked = sorted((name for name in losses if name.startswith("L")), key=lambda name: -losses[name])
    assert [head.name for head in found.heads] == ranked[:4]
    values = {(wire.sender, wire.receiver): wire.value for wire in found.circuit.edges}
    pair = tasks.make("ioi", specimen, 6, 0).pairs[0]
    trace = specimen.trace(pair.clean, sites=["pattern.*"])
    for head in found.heads:
        layer, unit = map(int, re.findall(r"\d+", head.name))
        assert head.site == f"z.{layer}.{unit}"
        assert head.loss == losses[head.name]
        assert head.direct == values.get((head.name, "logits"))
        into = [abs(value) for (_, to), value in values.items() if to.startswith(f"{head.name}.")]
        assert abs(head.reads.value) == max(into)
        pattern = trace[f"pattern.{layer}"][0, unit]
        assert head.look.weight == pytest.approx(float(pattern[head.look.query, head.look.key]), abs=1e-6)
        if head.direct is not None:
            assert head.look.query == len(pattern) - 1
            assert head.look.weight == pytest.approx(float(pattern[-1].max()), abs=1e-6)


def test_every_claim_of_the_narrative_carries_its_number(found):
    opening, checked, worth, needed, *heads, doubts = found.narrative
    for score in (found.circuit.clean_score, found.circuit.corrupted_score):
        assert number(score) in opening
    assert "on 3 new pairs of ioi" in opening
    assert checked.startswith(found.estimates.summary())
    furthest = max(found.estimates.top, key=lambda each: abs(each.effect - each.exact))
    assert f"{share(furthest.effect)} estimated, {share(furthest.exact)} exactly" in checked
    assert worth == found.circuit.summary()
    idle = sum(abs(each.loss) < 0.01 for each in found.circuit.without)
    assert f"{idle} of its {len(found.circuit.without)} nodes" in needed
    for head, told in zip(found.heads, heads, strict=False):
        assert told.startswith(f"{head.name}, without which {share(head.loss)} is lost")
        assert percent(head.look.weight) in told
    assert all(doubt in doubts for doubt in found.doubts)
    assert doubts.startswith("Not all of this agrees. ") == bool(found.doubts)


def test_the_graph_comes_first_and_everything_is_in_json_and_on_the_page(found):
    assert isinstance(found.views()[0], Graph)
    assert found.network() == found.circuit.network()
    assert Discovery.from_json(found.to_json()) == found
    page = found.to_markdown()
    for sentence in found.narrative:
        assert re.split(r"[‘·’]", sentence)[0] in page
    titles = [view.title for view in found.views()]
    assert len(set(titles)) == len(titles)
    assert "<svg" in found.to_html()


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(specimen, found, tmp_path, monkeypatch):
    folder = str(tmp_path / "run")

    def stop(label, done, _total):
        return not (label == "discover" and done == 2)

    with listening(stop), pytest.raises(Cancelled):
        discover(specimen, **ASKED, top_k=8, heads=4, resume=folder)
    assert {path.stem for path in (tmp_path / "run").iterdir()} == {"about", "estimates", "circuit"}

    def again(*_args, **_keywords):
        pytest.fail("a step that was kept is made again")

    for name in ("edges", "circuit"):
        monkeypatch.setattr(module, name, again)
    assert discover(specimen, **ASKED, top_k=8, heads=4, resume=folder) == found
    assert len(discover(specimen, **ASKED, top_k=8, heads=2, resume=folder).heads) == 2
    for other in ({"top_k": 5}, {"size": 0.1}, {"seed": 1}, {"task": "facts"}):
        with pytest.raises(ArtifactError, match="steps of another run"):
            discover(specimen, resume=folder, **ASKED | {"top_k": 8} | other)


def test_a_planted_circuit_is_found_with_its_heads():
    known = planted.circuit("induction")
    sides = [[known.prompts[0].tolist()], [known.corrupted[0].tolist()]]
    answers = {"answer": f"#{int(known.answers[0])}", "foil": f"#{int(known.foils[0])}"}
    made = discover(known.model, clean=sides[0], corrupted=sides[1], size=0.9, **answers)
    active = known.active()
    assert {(wire.sender, wire.receiver) for wire in made.circuit.edges if abs(wire.value) > 0.2} <= active
    assert "L1H1" in {head.name for head in made.heads} <= {"L0H0", "L1H1"}
    assert made.circuit.faithfulness.mean == pytest.approx(1, abs=0.05)
    assert "others were not tried" in made.summary()


def test_what_disagrees_is_said_with_its_numbers(found):
    """Each doubt is provoked by a result that was changed."""
    far = found.estimates.top[0].model_copy(update={"exact": -found.estimates.top[0].effect})
    lost = found.estimates.top[1].model_copy(update={"receiver": "mlp.5"})
    guessed = found.estimates.model_copy(update={"agreement": 0.25, "top": (far, lost, *found.estimates.top[2:])})
    made = found.circuit.model_copy(
        update={
            "clean_score": -1.5,
            "faithfulness": Share(mean=0.6, low=0.5, high=0.7),
            "rest": Share(mean=0.33, low=None, high=None),
            "random": (0.1, 0.45),
            "without": (Loss(node="L2H1", loss=-0.07), *found.circuit.without),
        }
    )
    head = found.heads[0].model_copy(update={"here": "induction", "elsewhere": ("previous",)})
    told = list(module._doubts(guessed, made, (head,), chosen=True))
    for numbers, doubt in zip(
        ["-1.500", "0.250", "1 edge of 8", "1 is not", "60.0 %", "33.0 %", "45.0 %", r"L2H1 \(7.0 %\)",
         "1 of 1 heads"],
        told,
        strict=True,
    ):  # fmt: skip
        assert re.search(numbers, doubt), doubt
    within = made.model_copy(update={"faithfulness": Share(mean=0.9, low=0.8, high=0.97)})
    assert not [doubt for doubt in module._doubts(guessed, within, (), chosen=True) if "was chosen" in doubt]
    assert list(module._doubts(found.estimates, found.circuit, (), chosen=False)) == [
        doubt for doubt in found.doubts if "random tokens" not in doubt
    ]


@pytest.mark.parametrize("case", ["llama", "gemma2", "gpt_neox", "mixtral"])
def test_every_family_is_discovered(case):
    made = discover(
        common.model(case), clean=[IDS[0]], corrupted=[IDS[1]], answer="#7", foil="#11", size=20, heads=2, top_k=4
    )
    missing = set(STEPS) - {name for name, _ in made.steps}
    assert len(made.refused) == len(missing)
    assert {"estimates", "circuit"} <= {name for name, _ in made.steps}
    assert made.to_html()
    assert Discovery.from_json(made.to_json()) == made


def test_heads_whose_attention_cannot_be_read_are_told_without_it(specimen, monkeypatch):
    def refuse(*_args, **_keywords):
        raise UnavailableError("no pattern here")

    for name in ("attention_patterns", "head_roles"):
        monkeypatch.setattr(module, name, refuse)
    made = discover(specimen, **ASKED, top_k=3, heads=2)
    assert made.refused == tuple(f"There is no step {name!r} here: no pattern here." for name in STEPS[2:])
    assert all(head.look is head.here is head.elsewhere is None for head in made.heads)
    assert made.refused[0] in made.to_markdown()


def test_progress_counts_the_steps(specimen):
    seen = []
    with listening(lambda *report: seen.append(report)):
        discover(specimen, task="ioi", pairs=1, size=20, top_k=1, heads=1)
    assert [(done, total) for label, done, total in seen if label == "discover"] == [(n, 4) for n in range(5)]


def test_refusals(specimen):
    with pytest.raises(ArgumentError, match="describes nothing"):
        discover(specimen, task="ioi", heads=0)
    with pytest.raises(ArgumentError, match="needs a task"):
        discover(specimen, clean="The cat")
    with pytest.raises(ArgumentError, match="of its own"):
        discover(specimen, task="ioi", answer=" Mary")
    with pytest.raises(ArgumentError, match="unknown task"):
        discover(specimen, task="iou")
    with pytest.raises(UnavailableError, match="no graph of heads"):
        discover(common.model("qwen3_next"), clean=torch.tensor([IDS[0]]), corrupted=torch.tensor([IDS[1]]))
