"""ACDC against the algorithm by plain loops, one cut after the other."""

import pytest
import torch

from architectures.common import model
from exact import planted
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.methods.acdc import acdc
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.selection import pruned
from fluoroscope.metrics import Metric

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


def runs(case: str) -> Circuits:
    found = model(case)
    return Circuits(found, *(found.tokens([side]) for side in PAIR))


def one_by_one(made: Circuits, metric: Metric, threshold: float, sign: int) -> torch.Tensor:
    graph, kept = made.graph, made.graph.exists.clone()
    now = float(made.scores(kept[None], metric).mean())
    for receiver in reversed(graph.receivers):
        for sender in reversed(graph.senders):
            if (sender, receiver) not in graph.edges:
                continue
            without = kept.clone()
            without[graph.place((sender, receiver))] = False
            then = float(made.scores(without[None], metric).mean())
            if sign * (then - now) < threshold:
                kept, now = without, then
    return pruned(graph, kept)


def planted_runs(name: str) -> Circuits:
    found = planted.circuit(name, 8.0)
    return Circuits(found.model, *(found.model.tokens(part[:3]) for part in (found.prompts, found.corrupted)))


def test_trying_several_cuts_at_once_is_trying_one_by_one() -> None:
    made, metric = runs("llama"), metrics.logit_diff([7], [11])
    expected = one_by_one(made, metric, 0.2, -1)
    assert 0 < int(expected.sum()) < len(made.graph)
    for together in (5, 64):
        assert torch.equal(acdc(made, metric, 0.2, together=together), expected)


@pytest.mark.parametrize("name", ["induction", "xor"])
def test_a_distance_worsens_as_it_grows(name: str) -> None:
    made = planted_runs(name)
    metric = metrics.kl(made.model.trace(made.tokens).logits[:, -1])
    found = acdc(made, metric, 0.05, larger_is_worse=True)
    assert torch.equal(found, one_by_one(made, metric, 0.05, 1))
    assert made.scores(found[None], metric).mean() < 0.1 * made.scores(made.empty, metric).mean()


def test_a_larger_threshold_leaves_fewer_edges() -> None:
    made, metric = planted_runs("names"), metrics.logit(planted.circuit("names").answers[:3].tolist())
    sizes = [int(acdc(made, metric, threshold).sum()) for threshold in (0.1, 5, 100)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1] == 0


def test_refusal() -> None:
    with pytest.raises(ArgumentError, match="with a threshold of 0 no edge goes"):
        acdc(runs("gpt2"), metrics.logit([7]), 0)


def test_edges_that_are_not_tested_are_not_cut() -> None:
    made, metric = runs("llama"), metrics.logit_diff([7], [11])
    senders = torch.tensor([name.startswith("L1") for name in made.graph.senders])
    tested = made.graph.exists & senders[:, None]
    kept = acdc(made, metric, 0.2, tested=tested)
    assert torch.equal(kept & ~tested, pruned(made.graph, kept | ~tested & made.graph.exists) & ~tested)
    assert int((tested & ~kept).sum()) > 0
    everything = acdc(made, metric, 0.2, tested=made.graph.exists)
    assert torch.equal(everything, acdc(made, metric, 0.2))
