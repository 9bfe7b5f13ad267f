"""Circuits of the specimen's tasks and of planted models, and the result against its parts called one by one."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import networkx
import pytest
import torch

import fluoroscope
from architectures import common
from exact import planted
from fluoroscope import metrics, registry, tasks
from fluoroscope.analyses.circuit import Circuit, circuit
from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.faithfulness import Faithfulness
from fluoroscope.views import Graph

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]

PAGES = Path(__file__).resolve().parents[2] / "docs"
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.fixture(scope="module")
def facts() -> Circuit:
    return circuit(fluoroscope.load(), task="facts", pairs=4, leave_out=True)


def test_a_few_edges_do_a_task_on_new_pairs_and_random_ones_do_not(facts: Circuit) -> None:
    assert (facts.found_on, facts.judged_on) == (4, 4)
    assert len(facts.edges) < 0.05 * facts.total
    assert facts.faithfulness.mean > 0.9
    assert facts.faithfulness.low is not None
    assert abs(facts.rest.mean) < 0.1
    assert max(map(abs, facts.random)) < 0.05
    assert facts.summary().startswith(f"{len(facts.edges)} of 3,779 edges")
    assert "on 4 new pairs of facts" in facts.summary()


def test_views_and_files_of_a_task(facts: Circuit, tmp_path: Any) -> None:
    graph = facts.views()[0]
    assert isinstance(graph, Graph)
    assert len(graph.edges) <= 40
    assert len(facts.network().edges) >= len(graph.edges)
    assert Circuit.from_json(facts.to_json()) == facts
    made = facts.to_networkx()
    assert {(wire.sender, wire.receiver) for wire in facts.edges} <= set(made.edges)
    assert networkx.is_directed_acyclic_graph(made)
    assert networkx.has_path(made, "embed", "logits")
    assert networkx.read_graphml(facts.save(tmp_path / "c.graphml")).number_of_edges() == len(facts.network().edges)
    assert facts.save(tmp_path / "c.dot").read_text(encoding="utf8").count("->") == len(facts.network().edges)


def test_the_curve_ends_at_the_whole_model_and_its_areas_are_trapezoids(facts: Circuit) -> None:
    values = [size.faithfulness.mean for size in facts.curve]
    shares = [size.share for size in facts.curve]
    assert values[-1] == pytest.approx(1)
    assert facts.curve[-1].edges == facts.total
    assert facts.cpr == pytest.approx(float(torch.trapezoid(torch.tensor(values), torch.tensor(shares))), rel=1e-5)
    beside = torch.trapezoid((1 - torch.tensor(values)).abs(), torch.tensor(shares))
    assert facts.cmd == pytest.approx(float(beside), rel=1e-4)


def test_the_help_names_every_task() -> None:
    about = next(item.help for item in registry.get("circuit").parameters if item.name == "task")
    assert set(tasks.names()) <= set(re.findall(r"\w+", about))


def test_losses_are_of_every_sender(facts: Circuit) -> None:
    assert {each.node for each in facts.without} == {wire.sender for wire in facts.edges}
    losses = {each.node: each.loss for each in facts.without}
    assert losses["embed"] == pytest.approx(facts.faithfulness.mean, abs=1e-4)


@pytest.mark.parametrize("ablation", ["resample", "mean", "zero"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "gpt_neox"])
def test_scores_are_those_of_runs(case: str, ablation: Any) -> None:
    found = common.model(case)
    result = circuit(
        found, clean=[IDS[0]], corrupted=[IDS[1]], answer="#7", foil="#11", method="exact", size=0.3, ablation=ablation
    )
    runs = Circuits(found, *(found.tokens([side]) for side in IDS), ablation)
    kept = torch.zeros_like(runs.graph.exists)
    for wire in result.edges:
        kept[runs.graph.place((wire.sender, wire.receiver))] = True
    metric = metrics.logit_diff([7], [11])
    score, clean, corrupted = runs.scores(torch.cat([kept[None], runs.whole, runs.empty]), metric)[:, 0].tolist()
    assert (result.score, result.clean_score, result.corrupted_score) == (
        pytest.approx(score, abs=1e-4), pytest.approx(clean, abs=1e-4), pytest.approx(corrupted, abs=1e-4),
    )  # fmt: skip
    assert result.faithfulness.mean == pytest.approx((score - corrupted) / (clean - corrupted), abs=1e-4)
    assert result.rest.mean == pytest.approx(Faithfulness(runs, metric).completeness(kept).mean, abs=1e-4)
    assert result.faithfulness.low is None


@pytest.mark.parametrize("method", ["eap-ig", "exact", "acdc"])
def test_a_planted_circuit_is_found(method: Any) -> None:
    """All of it that this pair differs in."""
    found = planted.circuit("induction", 12.0)
    result = circuit(
        found.model,
        clean=[found.prompts[0].tolist()],
        corrupted=[found.corrupted[0].tolist()],
        answer=f"#{found.answers[0]}",
        foil=f"#{found.foils[0]}",
        method=method,
        size=None if method == "acdc" else len(found.active()),
        threshold=0.5 if method == "acdc" else None,
    )
    edges = {(wire.sender, wire.receiver) for wire in result.edges}
    assert edges <= found.active()
    assert ("L1H1", "logits") in edges
    assert result.faithfulness.mean == pytest.approx(1, abs=0.02)
    assert (result.threshold is None) == (method != "acdc")
    assert bool(result.curve) == (method != "acdc")
    assert len(result.views()) == (3 if method == "acdc" else 4)
    assert "this pair" in result.summary()


def test_the_page_of_circuits_says_what_the_command_finds() -> None:
    spec = importlib.util.spec_from_file_location("circuits_page", PAGES / "circuits.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (PAGES / "circuits.md").read_text(encoding="utf8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in rows] == list(script.TASKS)
    told = next(line for line in rows if "`facts`" in line)
    made = f"| {' | '.join(script.row(script.found('facts')))} |"
    assert script.page([]).partition("| task |")[0] == text.partition("| task |")[0]
    assert NUMBER.sub("0", made) == NUMBER.sub("0", told)
    for one, other in zip(NUMBER.findall(made), NUMBER.findall(told), strict=True):
        assert float(one) == pytest.approx(float(other), rel=0.01, abs=0.2)


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({}, ArgumentError, "needs a task, or a clean and a corrupted prompt"),
        ({"clean": CLEAN}, ArgumentError, "needs a task"),
        ({"task": "ioi", "clean": CLEAN, "corrupted": OTHER}, ArgumentError, "prompts and answers of its own"),
        ({"task": "ioi", "answer": " Mary"}, ArgumentError, "prompts and answers of its own"),
        ({"task": "ioix"}, ArgumentError, "unknown task 'ioix'"),
        ({"task": "ioi", "pairs": 0}, ArgumentError, "0 pairs cannot be analysed at once"),
        ({"task": "ioi", "method": "acdc", "size": 0.1}, ArgumentError, "finds its own size"),
        ({"task": "ioi", "method": "eap", "metric": "kl"}, ArgumentError, "no slope"),
        ({"clean": CLEAN, "corrupted": CLEAN}, ArgumentError, "the same tokens"),
        ({"clean": CLEAN, "corrupted": OTHER, "size": 0}, ArgumentError, "size 0 is no size"),
        ({"clean": CLEAN, "corrupted": OTHER, "answer": "two words"}, TokenError, "tokens"),
    ],
)
def test_refusals(arguments: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        circuit(fluoroscope.load(), **arguments)
