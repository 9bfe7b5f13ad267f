"""A graph as GraphML, which networkx, Gephi, yEd and Cytoscape read."""

from xml.etree import ElementTree

from fluoroscope.render.text import prose, visible
from fluoroscope.views import Graph, Node

_NODE = {"name": "string", "label": "string", "group": "string", "site": "string", "rank": "int", "value": "double"}
_KEYS = {"node": _NODE, "edge": {"value": "double"}}
"""What nodes and edges carry; what is missing is left out."""


def source(view: Graph) -> str:
    """The directed graph as a document in UTF-8, with its title and caption as descriptions."""
    root = ElementTree.Element("graphml", xmlns="http://graphml.graphdrawing.org/xmlns")
    for kind, keys in _KEYS.items():
        for name, of in keys.items():
            about = {"id": f"{kind}-{name}", "for": kind, "attr.name": name, "attr.type": of}
            ElementTree.SubElement(root, "key", about)
    graph = ElementTree.SubElement(root, "graph", id="G", edgedefault="directed")
    ElementTree.SubElement(graph, "desc").text = f"{prose(view.title)}. {prose(view.caption)}"
    ids = {node.id: f"n{index}" for index, node in enumerate(view.nodes)}  # no text can make two of them the same
    for node in view.nodes:
        _with(ElementTree.SubElement(graph, "node", id=ids[node.id]), "node", _facts(node))
    for edge in view.edges:
        ends = {"source": ids[edge.source], "target": ids[edge.target]}
        _with(ElementTree.SubElement(graph, "edge", ends), "edge", {"value": edge.value})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _facts(node: Node) -> dict[str, str | int | float | None]:
    label = visible(node.label) if node.token else prose(node.label)
    about = {
        "name": prose(node.id),
        "label": label,
        "group": prose(node.group) if node.group else None,
        "site": node.site,
    }
    return {**about, "rank": node.rank, "value": node.value}


def _with(element: ElementTree.Element, kind: str, facts: dict[str, str | int | float | None]) -> None:
    for name, value in facts.items():
        if value is not None:
            ElementTree.SubElement(element, "data", key=f"{kind}-{name}").text = str(value)
