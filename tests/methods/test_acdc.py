"""ACDC against the algorithm by plain loops, one cut after the other."""

import pytest
import torch

from architectures.common import model
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


@pytest.mark.parametrize("together", [1, 16])
@pytest.mark.parametrize(("case", "threshold"), [("gpt2", 0.4), ("llama", 0.2), ("cohere", 0.2)])
def test_trying_several_cuts_at_once_is_trying_one_by_one(case: str, threshold: float, together: int) -> None:
    made, metric = runs(case), metrics.logit_diff([7], [11])
    found = acdc(made, metric, threshold, together=together)
    assert torch.equal(found, one_by_one(made, metric, threshold, -1))
    assert 0 < int(found.sum()) < len(made.graph)


def test_a_distance_worsens_as_it_grows() -> None:
    made = runs("gpt2")
    clean = made.model.trace(made.tokens).logits[:, -1]
    metric = metrics.kl(clean)
    found = acdc(made, metric, 0.05, larger_is_worse=True)
    assert torch.equal(found, one_by_one(made, metric, 0.05, 1))
    assert float(made.scores(found[None], metric)) < 0.5 * float(made.scores(made.empty, metric))


def test_a_larger_threshold_leaves_fewer_edges_and_none_leaves_all_that_matter() -> None:
    made, metric = runs("gpt2"), metrics.logit_diff([7], [11])
    sizes = [int(acdc(made, metric, threshold).sum()) for threshold in (0.1, 1, 100)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


def test_refusal() -> None:
    with pytest.raises(ArgumentError, match="with a threshold of 0 no edge goes"):
        acdc(runs("gpt2"), metrics.logit([7]), 0)
