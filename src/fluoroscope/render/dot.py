"""A graph as source for Graphviz, whose programs draw it in any form and size."""

from fluoroscope.render import palette
from fluoroscope.render.cells import amount
from fluoroscope.render.text import number, prose, visible
from fluoroscope.views import Graph, Node

_THINNEST, _THICKEST = 1.0, 6.0


def source(view: Graph) -> str:
    """The digraph in the DOT language, one line for each node, rank and edge."""
    name = {node.id: f"n{index}" for index, node in enumerate(view.nodes)}  # no text can make two of them the same
    unit = f" · {prose(view.unit)}" if view.unit else ""
    about = f"label={_quoted(prose(view.title) + unit)}, tooltip={_quoted(prose(view.caption))}"
    strongest = palette.strongest([[edge.value for edge in view.edges]])
    lines = [
        f"digraph {_quoted(prose(view.title))} {{",
        f"  graph [rankdir=TB, {about}]; node [shape=box, style=rounded];",
    ]
    lines += [f"  {name[node.id]} [label={_quoted(_label(view, node))}];" for node in view.nodes]
    for rank in sorted({node.rank for node in view.nodes}):
        beside = " ".join(f"{name[node.id]};" for node in view.nodes if node.rank == rank)
        lines.append(f"  {{ rank=same; {beside} }}")
    for edge in view.edges:
        value = edge.value or 0.0
        colour = (palette.LIGHT.against if value < 0 else palette.LIGHT.toward)[-1]
        width = _THINNEST + (_THICKEST - _THINNEST) * abs(value) / strongest
        about = f'label={_quoted(amount(view, edge))}, color="{colour}", penwidth={width:.2f}'
        lines.append(f"  {name[edge.source]} -> {name[edge.target]} [{about}];")
    return "\n".join([*lines, "}"]) + "\n"


def _label(view: Graph, node: Node) -> str:
    name = visible(node.label) if node.token else prose(node.label)
    return name if node.value is None else f"{name}  {number(node.value, view.signed)}"


def _quoted(text: str) -> str:
    r"""A quoted string; a backslash stands for itself, so that no \N or \n of a label is an escape."""
    shown = prose(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
