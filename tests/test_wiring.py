"""Names, pictures and tables of edges, written down by hand."""

import pytest

from fluoroscope import wiring
from fluoroscope.errors import ArgumentError
from fluoroscope.wiring import Wire


def wires(*edges: tuple[str, str, float]) -> list[Wire]:
    return [Wire(sender=sender, receiver=receiver, value=value) for sender, receiver, value in edges]


@pytest.mark.parametrize(
    ("name", "group", "label"),
    [
        ("embed", 1, "token embedding"), ("pos_embed", 1, "position embedding"), ("logits", 1, "logits"),
        ("L3H2", 1, "L3H2"), ("mlp.2", 1, "MLP 2"), ("L4H0.q", 1, "L4H0 query"), ("L4H3.k", 1, "L4H3 key"),
        ("L4H1.v", 4, "L4H4-H7 value"), ("L4H5.q", 4, "L4H5 query"),
    ],
)  # fmt: skip
def test_names(name: str, group: int, label: str) -> None:
    assert wiring.label(name, group) == label


def test_what_a_receiver_is_part_of() -> None:
    assert wiring.readers("L1H1.k", 2) == ["L1H2", "L1H3"]
    assert wiring.readers("L1H1.q", 2) == ["L1H1"]
    assert [wiring.readers(name, 2) for name in ("mlp.0", "logits")] == [["mlp.0"], ["logits"]]


def test_the_picture_joins_query_key_and_value_and_keeps_what_leads_to_the_logits() -> None:
    some = wires(
        ("embed", "L0H1.q", 0.1), ("embed", "L0H1.v", -0.3), ("L0H1", "mlp.0", 0.2), ("mlp.0", "logits", 0.5),
        ("embed", "L1H0.q", 0.9),
    )  # fmt: skip
    made = wiring.picture("t", "c", "share", some)
    assert [(edge.source, edge.target, edge.value) for edge in made.edges] == [
        ("mlp.0", "logits", 0.5), ("L0H1", "mlp.0", 0.2), ("embed", "L0H1", -0.3),
    ]  # fmt: skip
    assert [(node.id, node.rank, node.site) for node in made.nodes[:3]] == [
        ("embed", 0, "embed"), ("L0H1", 1, "z.0.1"), ("mlp.0", 2, "mlp_out.0"),
    ]  # fmt: skip
    assert [(edge.source, edge.target) for edge in wiring.picture("t", "c", "", some, most=1).edges] == [
        ("mlp.0", "logits")
    ]


def test_a_shared_key_leads_to_the_heads_that_are_heard() -> None:
    some = wires(("embed", "L0H1.k", 0.1), ("L0H3", "logits", 0.4))
    drawn = wiring.picture("t", "c", "", some, group=2).edges
    assert [(edge.source, edge.target) for edge in drawn] == [("L0H3", "logits"), ("embed", "L0H3")]
    assert wiring.picture("t", "c", "", wires(("embed", "L0H1.k", 0.1)), group=2).edges == ()


def test_the_table_has_every_edge() -> None:
    made = wiring.table("t", "c", "value", wires(("embed", "L0H1.k", 0.1), ("mlp.0", "logits", -1.0)), 2)
    assert [row.cells for row in made.rows] == [("token embedding", "L0H2-H3 key", 0.1), ("MLP 0", "logits", -1.0)]


def test_networkx_keeps_queries_keys_and_values_apart() -> None:
    made = wiring.to_networkx(wires(("embed", "L0H1.k", 0.1), ("L0H3", "logits", 0.4)), 2)
    assert dict(made.edges) == {
        ("embed", "L0H1.k"): {"value": 0.1}, ("L0H1.k", "L0H2"): {}, ("L0H1.k", "L0H3"): {},
        ("L0H3", "logits"): {"value": 0.4},
    }  # fmt: skip


def test_without_networkx_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "networkx", None)
    with pytest.raises(ArgumentError, match="networkx is not installed"):
        wiring.to_networkx(wires(("mlp.0", "logits", 1.0)))
