"""Finding a circuit, against its parts called one by one."""

import pytest
import torch

from architectures.common import model
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import discovery, edge_patching, edges, faithfulness, selection
from fluoroscope.methods.acdc import acdc
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.discovery import Method
from fluoroscope.methods.faithfulness import Faithfulness

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


def finding(case: str = "llama") -> Faithfulness:
    found = model(case)
    return Faithfulness(Circuits(found, *(found.tokens([side]) for side in PAIR)), metrics.logit_diff([7], [11]))


def find(made: Faithfulness, method: Method, size: float | None = None, threshold: float = 0.2) -> discovery.Found:
    return discovery.find(made, method, size=size, threshold=threshold, steps=3)


def test_each_method_ranks_by_its_own_scores() -> None:
    made = finding()
    runs = made.circuits
    sides = (runs.model, runs.tokens, runs.corrupted, made.metric)
    for method, scored in (
        ("exact", edge_patching.exact(*sides)),
        ("eap", edges.linear(*sides)),
        ("eap-ig", edges.integrated(*sides, steps=3)),
    ):
        found = find(made, method, 0.1)
        assert found.scored is not None
        assert torch.allclose(found.scored.mean.float(), scored.mean.float(), atol=1e-5)
        assert torch.equal(found.kept, selection.top(scored, 19))
        way = float((made.clean - made.corrupted).mean())
        values = discovery.values(made, found)
        assert len(values) == int(found.kept.sum())
        assert all(value == pytest.approx(-scored.score(edge) / way, abs=1e-5) for edge, value in values.items())


def test_without_a_size_it_is_the_smallest_that_is_faithful() -> None:
    made = finding()
    found = find(made, "exact")
    assert found.scored is not None
    kept = faithfulness.curve(found.scored, selection.top)
    faithful = [each.mean for each in made.of(torch.stack(kept))]
    first = next(index for index, value in enumerate(faithful) if value >= discovery.FAITHFUL)
    assert torch.equal(found.kept, kept[first])


def test_acdc_worsens_away_from_the_clean_score_and_values_are_what_the_circuit_loses() -> None:
    made = finding("gpt2")
    found = find(made, "acdc", threshold=0.5)
    worse = bool(made.clean < made.corrupted)
    assert torch.equal(found.kept, acdc(made.circuits, made.metric, 0.5, larger_is_worse=worse))
    values = discovery.values(made, found)
    whole = made.of(found.kept[None])[0].mean
    for edge, value in list(values.items())[:3]:
        without = found.kept.clone()
        without[made.circuits.graph.place(edge)] = False
        assert value == pytest.approx(whole - made.of(without[None])[0].mean, abs=1e-5)


def test_nothing_left_is_refused() -> None:
    with pytest.raises(ArgumentError, match="no edge is left"):
        find(finding("gpt2"), "acdc", threshold=1e6)
