"""Effects of edges against edge patching and attribution called one by one, and the specimen's name movers."""

from typing import Any

import pytest

import fluoroscope
from architectures import common
from fluoroscope import metrics
from fluoroscope.analyses.edges import Edges, edges
from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.methods import edge_patching
from fluoroscope.methods import edges as methods
from fluoroscope.views import Graph, Table

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("method", ["exact", "eap", "eap-ig"])
def test_effects_are_shares_of_the_way(method: Any, direction: Any) -> None:
    found, metric = common.model("llama"), metrics.logit_diff([7], [11])
    result = edges(found, [IDS[0]], [IDS[1]], answer="#7", foil="#11", method=method, direction=direction, steps=3)
    base, donor = (found.tokens([side]) for side in (IDS if direction == "noise" else IDS[::-1]))
    exact = edge_patching.exact(found, base, donor, metric)
    made = {
        "exact": lambda: exact,
        "eap": lambda: methods.linear(found, base, donor, metric),
        "eap-ig": lambda: methods.integrated(found, base, donor, metric, steps=3),
    }[method]()
    way = (result.clean_score - result.corrupted_score) * (1 if direction == "denoise" else -1)
    for row, sender in enumerate(result.senders):
        for column, receiver in enumerate(result.receivers):
            value = result.effects[row][column]
            if (sender, receiver) in made.edges:
                assert value == pytest.approx(made.score((sender, receiver)) / way, rel=1e-4, abs=1e-6)
            else:
                assert value is None
    assert len(result.top) == 20
    for each, (edge, _) in zip(result.top, made.ranked(20), strict=True):
        assert (each.sender, each.receiver) == edge
        assert each.exact == pytest.approx(exact.score(edge) / way, rel=1e-3, abs=1e-5)
    assert result.agreement is not None
    assert result.agreement <= 1.0001
    assert result.group == 2


def test_the_specimens_name_movers_write_to_the_logits() -> None:
    result = edges(fluoroscope.load(), CLEAN, OTHER, top_k=8)
    assert {(each.sender, each.receiver) for each in result.top} >= {("L4H2", "logits"), ("L3H2", "logits")}
    assert result.agreement is not None
    assert result.agreement > 0.9
    assert "L4H2 → logits" in result.summary()
    table, graph = result.views()
    assert isinstance(table, Table)
    assert isinstance(graph, Graph)
    assert len(table.rows) == 8
    assert {edge.target for edge in graph.edges} >= {"logits", "L4H2"}
    assert Edges.from_json(result.to_json()) == result


def test_a_single_edge_is_told_without_agreement() -> None:
    result = edges(common.model("gpt2"), [IDS[0]], [IDS[1]], answer="#7", foil="#11", top_k=1)
    assert result.agreement is None
    assert "rank correlation" not in result.summary()


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"top_k": 0}, ArgumentError, "top_k=0 shows nothing"),
        ({"metric": "kl", "method": "eap"}, ArgumentError, "kl is measured from the clean prediction"),
        ({"metric": "rank"}, ArgumentError, "rank has no gradient"),
        ({"steps": 0}, ArgumentError, "0 steps are no way"),
        ({"answer": "#7", "foil": "#7"}, ArgumentError, "both token 7"),
        ({"answer": "#7777"}, TokenError, "7777"),
    ],
)
def test_refusals(arguments: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        edges(common.model("gpt2"), [IDS[0]], [IDS[1]], **({"answer": "#7", "foil": "#11"} | arguments))


def test_a_model_that_is_no_graph_says_so() -> None:
    with pytest.raises(UnavailableError, match="no graph of heads and MLPs"):
        edges(common.model("deepseek_v3"), [IDS[0]], [IDS[1]], answer="#7", foil="#11")
