"""Circuits that are known edge by edge are found whole, and nothing else is; what a method cannot see is shown."""

import random
from collections.abc import Callable

import pytest
import torch

from exact import planted, tracr_programs
from exact.tracr_programs import NAMES, Edge
from fluoroscope import metrics
from fluoroscope.methods import edge_patching, edges, faithfulness
from fluoroscope.methods.acdc import acdc
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.faithfulness import Faithfulness
from fluoroscope.methods.graph import Graph, outputs, written
from fluoroscope.metrics import Metric
from fluoroscope.model import Model
from fluoroscope.tokens import Tokens

every_circuit = pytest.mark.parametrize("name", list(planted.MAKERS))
every_program = pytest.mark.parametrize("name", NAMES)


def pairs(model: Model, prompts: torch.Tensor, count: int, *, same: bool = False) -> tuple[Tokens, Tokens]:
    """Some ordered pairs of prompts; those of a prompt with itself too where the donor differs anyway."""
    rows = range(len(prompts))
    all_pairs = [(one, other) for one in rows for other in rows if same or one != other]
    drawn = random.Random(0).sample(all_pairs, min(count, len(all_pairs)))
    return tuple(model.tokens(prompts[list(side)]) for side in zip(*drawn, strict=True))  # pyright: ignore[reportReturnType]


def distance(model: Model, tokens: Tokens, position: int = -1) -> Metric:
    """From what the model says itself."""
    return metrics.l2(model.trace(tokens).logits[:, position])


def largest(made: Graph) -> dict[Edge, float]:
    """The largest effect of each edge over all pairs."""
    assert made.scores is not None
    most = made.scores.abs().amax(0)[made.exists].tolist()
    return dict(zip(made.edges, most, strict=True))


def told_apart(effects: dict[Edge, float]) -> set[Edge]:
    """The edges with an effect; none has one that is neither large nor nothing."""
    assert not [value for value in effects.values() if 1e-3 < value < 0.1]
    return {edge for edge, value in effects.items() if value >= 0.1}


def named(graph: Graph, kept: torch.Tensor) -> set[Edge]:
    return {(graph.senders[row], graph.receivers[column]) for row, column in kept.nonzero().tolist()}


# ── planted ──────────────────────────────────────────────────────────────────────────────────────────


@every_circuit
def test_exact_patching_finds_planted_edges_and_no_others(name: str) -> None:
    found = planted.circuit(name)
    base, donor = pairs(found.model, found.every(), 60)
    made = edge_patching.exact(found.model, base, donor, distance(found.model, base))
    assert told_apart(largest(made)) == found.active()


@every_circuit
def test_acdc_finds_planted_edges_and_no_others(name: str) -> None:
    found = planted.circuit(name)
    base, donor = pairs(found.model, found.every(), 24)
    made = Circuits(found.model, base, donor)
    kept = acdc(made, distance(found.model, base), 0.05, larger_is_worse=True)
    assert named(made.graph, kept) == found.active()


def integrated(name: str) -> dict[Edge, float]:
    found = planted.circuit(name)
    base, donor = pairs(found.model, found.every(), 60)
    answers = found.model.trace(base).logits[:, -1].argmax(-1).tolist()
    return largest(edges.integrated(found.model, base, donor, metrics.logit(answers), steps=16))


@pytest.mark.parametrize("name", ["induction", "names", "xor"])
def test_integrated_gradients_find_planted_edges_and_no_others(name: str) -> None:
    assert told_apart(integrated(name)) == planted.circuit(name).active()


def test_integrated_gradients_see_idle_edges_of_the_backup_for_the_way_leads_through_looks_undecided() -> None:
    found = planted.circuit("backup")
    assert told_apart(integrated("backup")) - found.active() == {("embed", "L0H0.q"), ("embed", "L0H0.k")}


@pytest.mark.parametrize("name", ["induction", "names", "xor"])
def test_integrated_scores_are_nearer_to_the_exact_ones_than_first_order_scores(name: str) -> None:
    found = planted.circuit(name, 8.0)
    base, donor = (found.model.tokens(part) for part in (found.corrupted, found.prompts))
    metric = metrics.logit_diff(found.answers.tolist(), found.foils.tolist())
    truth = edge_patching.exact(found.model, base, donor, metric)

    def missed(made: Graph) -> float:
        return float((made.mean - truth.mean).norm())

    first = missed(edges.linear(found.model, base, donor, metric))
    assert missed(edges.integrated(found.model, base, donor, metric, steps=8, path="values")) < 0.7 * first


def test_with_answers_of_other_prompts_nothing_is_found() -> None:
    """Of names that no prompt of the pair has, which nothing on the way from one to the other makes it say."""
    found = planted.circuit("names")
    own = list(zip(found.answers.tolist(), found.foils.tolist(), strict=True))
    chosen, shuffled = list[int](), list[tuple[int, int]]()
    for row, pair in enumerate(own):
        other = next((each for each in own if not {*each} & {*pair}), None)
        if other is not None:
            chosen.append(row)
            shuffled.append(other)
    clean, corrupted = (found.model.tokens(part[chosen]) for part in (found.prompts, found.corrupted))
    metric = metrics.logit_diff([pair[0] for pair in shuffled], [pair[1] for pair in shuffled])
    assert len(chosen) > 2
    for made in (
        edge_patching.exact(found.model, clean, corrupted, metric),
        edges.integrated(found.model, clean, corrupted, metric),
    ):
        assert told_apart(largest(made)) == set()
    assert not acdc(Circuits(found.model, clean, corrupted), metric, 0.05).any()


def test_one_by_one_no_input_of_an_exclusive_or_is_seen_from_blanks_and_together_all_are() -> None:
    found = planted.circuit("xor")
    blank = found.prompts.clone()
    blank[:, 1:3] = found.vocabulary.index("blank")
    base, donor = (found.model.tokens(ids) for ids in (blank, found.prompts))
    metric = metrics.logit_diff(found.answers.tolist(), found.foils.tolist())
    made = edge_patching.exact(found.model, base, donor, metric)
    assert told_apart(largest(made)) == {("mlp.0", "logits")}
    runs = Circuits(found.model, base, donor)
    both = runs.whole.clone()
    for head in ("L0H0", "L0H1"):
        both[0][runs.graph.place((head, "mlp.0"))] = False
    assert (runs.scores(both, metric) - runs.scores(runs.empty, metric)).abs().max() < 1e-3


def test_the_backup_hides_what_the_first_head_does_until_both_are_gone() -> None:
    found = planted.circuit("backup")
    made = Circuits(found.model, *(found.model.tokens(part) for part in (found.prompts, found.controls[:4])), "zero")
    judged = Faithfulness(made, metrics.logit(found.answers.tolist()))
    nodes = faithfulness.by_node(made.graph, made.graph.exists)
    first, backup, both = judged.without(
        made.graph.exists, [nodes["L0H0"], nodes["L1H0"], nodes["L0H0"] | nodes["L1H0"]]
    )
    assert (first, backup, both) == (pytest.approx(0, abs=1e-4), pytest.approx(0, abs=1e-4), pytest.approx(1))


# ── compiled ─────────────────────────────────────────────────────────────────────────────────────────


def longest(name: str) -> int:
    """The most tokens of which a program has inputs that it answers differently: four all sort alike."""
    return 3 if name == "sort_unique" else max(tracr_programs.program(name).tracr)


def over_positions(name: str, score: Callable[[int, int], dict[Edge, float]]) -> dict[Edge, float]:
    """The largest of what is said of each edge at every position behind the first."""
    length = longest(name)
    groups = [score(length, position) for position in range(1, length + 1)]
    return {edge: max(group[edge] for group in groups) for edge in groups[0]}


@pytest.mark.parametrize("moves", [False, True], ids=["as they are", "positions moved"])
@every_program
def test_exact_patching_finds_the_edges_of_a_program_and_no_others(name: str, moves: bool) -> None:
    found = tracr_programs.program(name)
    model = found.model

    def score(length: int, position: int) -> dict[Edge, float]:
        base, other = pairs(model, found.ids(length), 16, same=moves)
        given = model.trace(other, written(model), {"pos_embed": tracr_programs.moved} if moves else {})
        donor = outputs(model, given.values)
        return largest(edge_patching.exact(model, base, donor, distance(model, base, position), position=position))

    effects = over_positions(name, score)
    assert told_apart(effects) == (found.edges_when_positions_move() if moves else found.edges("active"))


@every_program
def test_acdc_finds_the_edges_of_a_program_and_no_others(name: str) -> None:
    found = tracr_programs.program(name)
    base, donor = pairs(found.model, found.ids(longest(name)), 20)
    made = Circuits(found.model, base, donor)
    kept = acdc(made, distance(found.model, base), 1e-3, larger_is_worse=True)
    assert named(made.graph, kept) == found.edges("active")
