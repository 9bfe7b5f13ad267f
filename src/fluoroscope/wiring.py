"""Edges between the parts of a model for people: their names, the picture of some of them, the table of all.

A sender is called as in `methods/graph.py` (embed, L0H1, mlp.2), a receiver likewise (L1H0.q, mlp.2, logits). Keys and
values are those of a group of heads where these share them.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fluoroscope.errors import ArgumentError
from fluoroscope.result import Record
from fluoroscope.sites import Site
from fluoroscope.views import Column, Edge, Graph, Node, Row, Table

if TYPE_CHECKING:
    import networkx

_PLAIN = {"embed": "token embedding", "pos_embed": "position embedding", "logits": "logits"}
_BRIEF = {"embed": "embedding", "pos_embed": "position"}
_READ = {"q": "query", "k": "key", "v": "value"}
_GROUPS = {"e": "embedding", "p": "embedding", "L": "head", "m": "MLP", "l": "logits"}


class Wire(Record):
    """An edge with what it is worth."""

    sender: str
    receiver: str
    value: float


def label(name: str, group: int = 1) -> str:
    """The name of a sender or a receiver: L3H1, MLP 2, "L4H0 query", "L4H0-H3 key".

    Args:
        group: how many heads share a key.
    """
    if name.startswith("mlp."):
        return f"MLP {name[4:]}"
    head, _, letter = name.partition(".")
    if not letter:
        return _PLAIN.get(head, head)
    if letter == "q" or group == 1:
        return f"{head} {_READ[letter]}"
    layer, unit = head[1:].split("H")
    first = int(unit) * group
    return f"L{layer}H{first}-H{first + group - 1} {_READ[letter]}"


def readers(receiver: str, group: int) -> list[str]:
    """The nodes that a receiver is part of: a head, the heads that share a key or value, an MLP, the logits."""
    head, _, letter = receiver.partition(".")
    if receiver == "logits" or head == "mlp":
        return [receiver]
    layer, unit = head[1:].split("H")
    shared = 1 if letter == "q" else group
    return [f"L{layer}H{int(unit) * shared + other}" for other in range(shared)]


def picture(title: str, caption: str, unit: str, wires: Sequence[Wire], group: int = 1, most: int = 40) -> Graph:
    """The nodes of edges and an edge from each to each, of several such the largest.

    Args:
        group: how many heads share a key.
        most: how many edges are drawn, those of the largest value that lead to what is drawn already.
    """
    drawn = _connected(wires, group, most)
    names = {"logits", *(end for pair in drawn for end in pair)}
    ranks = sorted(names, key=_rank)
    return Graph(
        title=title,
        caption=caption,
        unit=unit,
        signed=True,
        nodes=tuple(
            Node(id=name, label=_named(name), rank=_rank(name), group=_GROUPS[name[0]], site=_site(name))
            for name in ranks
        ),
        edges=tuple(Edge(source=sender, target=to, value=value) for (sender, to), value in drawn.items()),
    )


def table(title: str, caption: str, value: str, wires: Sequence[Wire], group: int = 1) -> Table:
    """Every edge with its value, in the given order."""
    columns = ("sender", "receiver", value)
    rows = (
        Row(cells=(label(wire.sender), label(wire.receiver, group), wire.value), site=_site(wire.sender))
        for wire in wires
    )
    return Table(title=title, caption=caption, columns=tuple(Column(name=name) for name in columns), rows=tuple(rows))


def to_networkx(wires: Sequence[Wire], group: int = 1) -> "networkx.DiGraph[str]":
    """A graph of senders and receivers with the values of edges; a receiver (L1H0.q) leads to its nodes (L1H0).

    Raises:
        ArgumentError: networkx is not installed.
    """
    try:
        import networkx
    except ImportError as error:
        raise ArgumentError("networkx is not installed", "pip install networkx") from error
    made: networkx.DiGraph[str] = networkx.DiGraph()
    for wire in wires:
        made.add_edge(wire.sender, wire.receiver, value=wire.value)
        made.add_edges_from((wire.receiver, node) for node in readers(wire.receiver, group) if node != wire.receiver)
    return made


def _named(name: str) -> str:
    """As boxes have room for."""
    return _BRIEF.get(name, label(name))


def _connected(wires: Sequence[Wire], group: int, most: int) -> dict[tuple[str, str], float]:
    """The ties to draw, beginning at the logits."""
    ties: dict[tuple[str, str], float] = {}
    for wire, reader in _ties(wires, group):
        tie = wire.sender, reader
        ties[tie] = max(ties.get(tie, 0.0), wire.value, key=abs)
    drawn: dict[tuple[str, str], float] = {}
    inside = {"logits"}
    while len(drawn) < most:
        waiting = [tie for tie in ties if tie[1] in inside and tie not in drawn]
        if not waiting:
            break
        chosen = max(waiting, key=lambda tie: abs(ties[tie]))
        drawn[chosen] = ties[chosen]
        inside.add(chosen[0])
    return drawn


def _ties(wires: Sequence[Wire], group: int) -> Iterator[tuple[Wire, str]]:
    """Edges with the nodes that read them; of heads that share a key those that anybody listens to."""
    heard = {wire.sender for wire in wires}
    for wire in wires:
        reading = readers(wire.receiver, group)
        for reader in [node for node in reading if node in heard] or reading[:1]:
            yield wire, reader


def _rank(name: str) -> int:
    """Its place from the embeddings, 0, to the logits."""
    if name.startswith("mlp."):
        return 2 + 2 * int(name[4:])
    if name.startswith("L"):
        return 1 + 2 * int(name[1:].partition("H")[0])
    return 1 << 30 if name == "logits" else 0


def _site(name: str) -> str | None:
    if name.startswith("mlp."):
        return str(Site("mlp_out", int(name[4:])))
    if name.startswith("L"):
        layer, unit = name[1:].split("H")
        return str(Site("z", int(layer), int(unit)))
    return name
