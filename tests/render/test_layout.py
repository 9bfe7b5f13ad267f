"""Layouts of random graphs keep their promises; small ones have as few crossings as any order, by brute force."""

from itertools import pairwise, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.render.layout import curve, layered, number_places
from fluoroscope.views import Edge, Graph, Node


def graph(ranks, pairs):
    nodes = tuple(Node(id=f"n{number}", rank=rank, label="x") for number, rank in enumerate(ranks))
    edges = tuple(Edge(source=f"n{a}", target=f"n{b}", value=1.0) for a, b in pairs if ranks[a] < ranks[b])
    return Graph(title="t", unit="u", nodes=nodes, edges=edges)


@st.composite
def graphs(draw):
    ranks = draw(st.lists(st.integers(-3, 9), max_size=9))
    index = st.integers(0, max(0, len(ranks) - 1))
    pairs = draw(st.lists(st.tuples(index, index), max_size=14, unique=True)) if ranks else []
    return graph(ranks, pairs)


@given(graphs())
def test_nodes_stand_in_their_rank_apart_and_inside(view):
    layout = layered(view)
    ranks = sorted({node.rank for node in view.nodes})
    assert layout.rows == len(ranks)
    assert layout == layered(view)
    for row, rank in enumerate(ranks):
        beside = [layout.nodes[node.id] for node in view.nodes if node.rank == rank]
        assert {y for _, y in beside} == {row}
        columns = sorted(x for x, _ in beside)
        assert all(right - left >= 1 - 1e-9 for left, right in pairwise(columns))
        assert columns[0] >= 0.5 - 1e-9
        assert columns[-1] <= layout.columns - 0.5 + 1e-9


@given(graphs())
def test_an_edge_passes_every_rank_between_its_nodes(view):
    layout = layered(view)
    for edge, route in zip(view.edges, layout.routes, strict=True):
        (x, first), (to_x, last) = layout.nodes[edge.source], layout.nodes[edge.target]
        assert [y for _, y in route] == [float(row) for row in range(int(first), int(last) + 1)]
        assert abs(route[0][0] - x) <= 0.3
        assert abs(route[-1][0] - to_x) <= 0.3
        for bend, row in route[1:-1]:
            assert all(abs(bend - at) >= 0.5 for at, y in layout.nodes.values() if y == row)


def test_edges_of_one_node_do_not_touch_each_other():
    layout = layered(graph([0, 0, 0, 1], [(0, 3), (1, 3), (2, 3)]))
    ends = [route[-1][0] for route in layout.routes]
    starts = [route[0][0] for route in layout.routes]
    assert len(set(ends)) == 3
    assert sorted(range(3), key=lambda n: starts[n]) == sorted(range(3), key=lambda n: ends[n])


def crossings(upper, lower, pairs):
    return sum(
        (upper.index(a) - upper.index(c)) * (lower.index(b) - lower.index(d)) < 0
        for number, (a, b) in enumerate(pairs)
        for c, d in pairs[:number]
    )


@pytest.mark.parametrize(
    "pairs",
    [
        [(0, 7), (1, 6), (2, 5), (3, 4)],
        [(0, 6), (0, 7), (1, 4), (2, 5), (3, 4)],
        [(0, 7), (3, 7), (1, 4), (1, 5), (2, 6), (2, 7)],
    ],
)
def test_two_ranks_cross_no_more_than_in_the_best_of_all_orders(pairs):
    layout = layered(graph([0] * 4 + [1] * 4, pairs))
    order = sorted(range(8), key=lambda n: (layout.nodes[f"n{n}"][1], layout.nodes[f"n{n}"][0]))
    fewest = min(crossings(a, b, pairs) for a, b in product(permutations(range(4)), permutations(range(4, 8))))
    assert crossings(order[:4], order[4:], pairs) == fewest


def test_a_chain_is_drawn_straight():
    layout = layered(graph([0, 1, 2, 7], [(0, 1), (1, 2), (2, 3)]))
    assert {x for x, _ in layout.nodes.values()} == {0.5}
    assert layout.columns == 1


def test_no_nodes_are_no_trouble():
    assert layered(graph([], [])) == (1.0, 0, {}, ())


def on_the_curve(route, steps=40):
    """Points of the curve, by de Casteljau."""
    first, *bends = curve(route)
    for start in range(0, len(bends), 3):
        for step in range(steps + 1):
            level = [first, *bends[start : start + 3]]
            while len(level) > 1:
                level = [(a + (c - a) * step / steps, b + (d - b) * step / steps) for (a, b), (c, d) in pairwise(level)]
            yield level[0]
        first = bends[start + 2]


def apart(a, b):
    return a[0] >= b[2] - 1e-9 or b[0] >= a[2] - 1e-9 or a[1] >= b[3] - 1e-9 or b[1] >= a[3] - 1e-9


@given(graphs())
def test_numbers_stand_on_their_edges_and_cover_no_node_and_no_number(view):
    layout = layered(view)
    taken = [(x - 0.4, y - 0.2, x + 0.4, y + 0.2) for x, y in layout.nodes.values()]
    places = number_places(layout.routes, [(0.4, 0.15)] * len(layout.routes), taken)
    boxes = [(x - 0.2, y - 0.075, x + 0.2, y + 0.075) for x, y in filter(None, places)]
    for number, own in enumerate(boxes):
        assert all(apart(own, other) for other in (*taken, *boxes[:number]))
    for place, route in zip(places, layout.routes, strict=True):
        assert place is None or min(abs(x - place[0]) + abs(y - place[1]) for x, y in on_the_curve(route)) < 0.2


def test_a_number_without_room_is_left_out():
    route = ((0.0, 0.0), (0.0, 1.0))
    found = number_places([route] * 9, [(1.0, 0.3)] * 9, [])
    assert found[0] is not None
    assert found[-1] is None
