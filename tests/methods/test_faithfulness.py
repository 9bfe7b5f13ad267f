"""Faithfulness by hand, its interval against a bootstrap, its areas in closed form."""

import pytest
import torch

from architectures.common import model
from exact import planted
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import edge_patching, faithfulness, selection
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.faithfulness import Faithfulness

PAIRS = [([5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]), ([8, 1, 2, 4, 90], [8, 1, 3, 4, 91])]


def judged(case: str = "gpt2", count: int = 2) -> Faithfulness:
    found = model(case)
    sides = [found.tokens([pair[side] for pair in PAIRS[:count]]) for side in (0, 1)]
    return Faithfulness(Circuits(found, *sides), metrics.logit_diff([7, 5][:count], [11, 9][:count]))


def some(made: Faithfulness, share: float = 0.4) -> torch.Tensor:
    exists = made.circuits.graph.exists
    return exists & (torch.rand(exists.shape, generator=torch.Generator().manual_seed(0)) < share)


def test_it_is_the_share_of_the_way_from_no_edges_to_all() -> None:
    made = judged()
    kept = some(made)
    ends = made.circuits.scores(torch.cat([kept[None], made.circuits.whole, made.circuits.empty]), made.metric).mean(1)
    measured, whole, empty = made.of(torch.cat([kept[None], made.circuits.whole, made.circuits.empty]))
    assert measured.mean == pytest.approx(float((ends[0] - ends[2]) / (ends[1] - ends[2])))
    assert (whole.mean, empty.mean) == (pytest.approx(1), pytest.approx(0))
    assert measured.low is not None
    assert measured.high is not None
    assert measured.low < measured.mean < measured.high
    assert (whole.low, whole.high) == (pytest.approx(1, abs=1e-4), pytest.approx(1, abs=1e-4))


def test_a_single_pair_has_no_interval() -> None:
    made = judged(count=1)
    assert [(each.low, each.high) for each in made.of(made.circuits.whole)] == [(None, None)]


def test_the_interval_is_as_wide_as_a_bootstraps() -> None:
    generator = torch.Generator().manual_seed(0)
    way = 5 + torch.randn(400, generator=generator).double()
    done = 0.7 * way + 0.8 * torch.randn(400, generator=generator).double()
    made = object.__new__(Faithfulness)
    made.clean, made.corrupted, made.metric = way, torch.zeros_like(way), metrics.logit([0])

    class Given:
        def scores(self, kept: object, metric: object) -> torch.Tensor:
            return done[None]

    made.circuits = Given()  # pyright: ignore[reportAttributeAccessIssue]
    measured = made.of(torch.zeros(1, 1, 1, dtype=torch.bool))[0]
    rows = torch.randint(400, (4000, 400), generator=generator)
    ratios = done[rows].mean(1) / way[rows].mean(1)
    low, high = ratios.quantile(0.025), ratios.quantile(0.975)
    assert measured.mean == pytest.approx(float(done.mean() / way.mean()))
    assert measured.low == pytest.approx(float(low), abs=0.004)
    assert measured.high == pytest.approx(float(high), abs=0.004)


def test_areas_in_closed_form() -> None:
    sizes = (0.0, 0.25, 1.0)
    assert faithfulness.areas(sizes, (1.0, 1.0, 1.0)) == (1.0, 0.0)
    assert faithfulness.areas(sizes, (0.0, 0.25, 1.0)) == (pytest.approx(0.5), pytest.approx(0.5))
    assert faithfulness.areas(sizes, (0.0, 2.0, 1.0)) == (pytest.approx(0.25 + 1.125), pytest.approx(0.25 + 0.375))
    for wrong in ((0.0, 1.0), (1.0, 0.0, 0.5)):
        with pytest.raises(ArgumentError, match="are no curve"):
            faithfulness.areas(wrong, (0.0, 1.0, 1.0))


def test_a_planted_circuit_is_faithful_complete_and_minimal() -> None:
    found = planted.circuit("induction")
    sides = [found.model.tokens(part) for part in (found.prompts, found.corrupted)]
    metric = metrics.logit_diff(found.answers.tolist(), found.foils.tolist())
    made = Faithfulness(Circuits(found.model, *sides), metric)
    graph = made.circuits.graph
    kept = torch.zeros_like(graph.exists)
    for edge in found.active():
        kept[graph.place(edge)] = True
    measured = made.of(kept[None])[0]
    assert measured.mean == pytest.approx(1, abs=1e-4)
    assert measured.low == pytest.approx(1, abs=1e-3)
    assert made.completeness(kept).mean == pytest.approx(0, abs=1e-4)
    assert min(made.without(kept, [*faithfulness.by_edge(graph, kept).values()])) > 0.1
    nodes = faithfulness.by_node(graph, kept)
    assert set(nodes) == {"embed", "L0H0", "L1H1"}
    assert min(made.without(kept, [*nodes.values()])) > 0.4
    assert made.without(kept, []) == []
    idle = kept.clone()
    idle[graph.place(("L0H0", "L1H0.v"))] = True
    loss = dict(
        zip(
            faithfulness.by_edge(graph, idle),
            made.without(idle, [*faithfulness.by_edge(graph, idle).values()]),
            strict=True,
        )
    )
    assert loss["L0H0", "L1H0.v"] == pytest.approx(0, abs=1e-5)
    assert max(each.mean for each in made.random(len(found.active()), 5)) < 0.5


def test_curves_rise_to_the_whole_model() -> None:
    made = judged("llama")
    found = made.circuits.model
    sides = [found.tokens([pair[side] for pair in PAIRS]) for side in (0, 1)]
    scored = edge_patching.exact(found, *sides, made.metric)
    kept = faithfulness.curve(scored, selection.greedy)
    sizes = [int(each.sum()) for each in kept]
    assert len(sizes) == len(faithfulness.SIZES)
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(scored)
    assert made.of(kept[-1][None])[0].mean == pytest.approx(1)


def test_prompts_that_are_answered_alike_are_refused() -> None:
    found = model("gpt2")
    same = found.tokens([PAIRS[0][0]])
    with pytest.raises(ArgumentError, match="with all edges and with none the score is the same"):
        Faithfulness(Circuits(found, same, same), metrics.logit([7]))
