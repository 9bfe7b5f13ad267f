"""How the answer comes about: path patching from the logits backwards, as a tree of heads.

The parts that reach the logits by themselves, then for each of them the parts that reach it through its queries, keys
and values, and so on. Every edge is patched in truth and measured at the answer. Wang et al. 2022, "Interpretability in
the Wild", found the circuit of indirect object identification so.
"""

from typing import TYPE_CHECKING, Any

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, path_trees, paths, sweeps
from fluoroscope.methods.path_trees import Growth
from fluoroscope.patched import Patched
from fluoroscope.render.text import counted, share
from fluoroscope.result import Record
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site
from fluoroscope.views import Edge, Graph, Node, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

_READS = {"q": "queries", "k": "keys", "v": "values"}


class Link(Record):
    """An edge: what one part does to the answer through what another reads, and nothing else.

    Args:
        sender: canonical site of a head (z.3.1), an MLP or embed.
        node: that of the head or MLP that reads it, or logits.
        receiver: what of the node reads: q.4.2 its queries; k and v are those of a kv head.
        readers: all heads that read this receiver, by their labels: several where they share a kv head.
        effect: share of the way from its own prompt's score to the other's.
        score: the metric then.
    """

    sender: str
    node: str
    receiver: str
    readers: tuple[str, ...]
    effect: float
    score: float

    @property
    def way(self) -> str:
        """By which of a head's inputs: q, k or v; empty for others."""
        name = Site.parse(self.receiver).name
        return name if name in _READS else ""


class PathTree(Patched):
    """The edges that lead to the answer.

    Args:
        top_k: at most so many senders into each receiver; `depth` edges back from the logits.
        threshold: the size of a share that is worth an edge.
        hold_mlps: whether MLPs between two nodes kept their values.
        links: level by level from the logits, the largest first.
        chain: indices of the links of the strongest chain, from the logits backwards.
        measured: how many edges were patched.
    """

    top_k: int
    depth: int
    threshold: float
    hold_mlps: bool
    links: tuple[Link, ...]
    chain: tuple[int, ...]
    measured: int

    def summary(self) -> str:
        what, measured = f"the {self.asked()} ({self.gap()})", counted(self.measured, "edge")
        partial = f"Partial, {counted(self.missing, 'receiver')} not looked into. " if self.missing else ""
        if not self.links:
            least = share(self.threshold)
            none = f"no part {self.verb()} {least} by the direct path to the logits"
            return f"{partial}Of {what}, {none}, of {measured} measured.{self.doubts()}"
        told = [f"{self.verb()} {share(self.links[self.chain[0]].effect)} by the direct path to the logits"]
        names = [_label(self.links[index].sender) for index in self.chain]
        for link, read in zip((self.links[index] for index in self.chain[1:]), names, strict=False):
            through = f"the {_READS[link.way]} of {patched.reading(link.readers)}" if link.way else read
            told.append(f"{share(link.effect)} through {through}")
        steps = ", ".join(f"{name} {step}" for name, step in zip(names, told, strict=True))
        return (
            f"{partial}The strongest chain back from {what}: {steps}; {len(self.links)} of {measured} reach "
            f"{share(self.threshold)} and are drawn.{self.doubts()}"
        )

    def views(self) -> list[View]:
        ends = list(dict.fromkeys(["logits", *(end for link in self.links for end in (link.node, link.sender))]))
        way = "by the direct path alone" if self.hold_mlps else "by the stream, and by MLPs on the way"
        graph = Graph(
            title=f"What leads to the {self.asked()}",
            caption=f"At an edge: how much its sender {self.verb()} of the {self.asked()} through what the node below "
            f"reads of it {way}, and what follows from that; q, k and v are a head's queries, keys and values. Share "
            f"of the way between the two scores ({self.gap()}). At most {self.top_k} senders into each, of at least "
            f"{share(self.threshold)}, {self.depth} edges back. Shares along a chain neither multiply nor "
            f"sum.{self._shared()}",
            unit="share",
            signed=True,
            nodes=tuple(sorted(map(_node, ends), key=lambda node: node.rank)),
            edges=tuple(
                Edge(source=link.sender, target=link.node, value=link.effect, label=link.way) for link in self.links
            ),
        )
        return [graph]

    def _shared(self) -> str:
        groups = dict.fromkeys(link.readers for link in self.links if len(link.readers) > 1)
        told = "; ".join(map(patched.reading, groups))
        return f" Keys and values act through all heads that share them: {told}." if told else ""


@checked
def path_tree(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    top_k: int = 3,
    depth: int = 3,
    threshold: float = 0.05,
    hold_mlps: bool = True,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "noise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> PathTree:
    """Patches paths from the logits backwards and keeps the strongest ones.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        top_k: how many senders to follow into each head's queries, keys and values, and into each MLP, at most.
        depth: how many edges to go back from the logits.
        threshold: the least share, for or against, that is drawn and followed.
        hold_mlps: keeps MLPs between two nodes as they are, so that each edge is a direct path; without it differences
            also pass through them.
        metric: what is measured at the end of the prompt.
        direction: noise puts corrupted values into the clean prompt, as the paper does; denoise the reverse.
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length or the same tokens, both scored alike, or a tree of no size.
        TokenError: answer or foil is not one token or a set of them.
        UnavailableError: heads or MLPs of this model cannot be held.
    """
    _check(top_k, depth, threshold)
    paths.check(model, hold_mlps=hold_mlps)
    names = paths.needed([site for name in paths.RECEIVERS for site in model.sites(name)])
    sweep = sweeps.Sweep(model, [(clean, corrupted)], names, direction, budget << 20, precision)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    about = patched.fields(model, sweep, sweep.effects([], measured), told, against)
    asks: dict[str, Any] = {"top_k": top_k, "depth": depth, "threshold": threshold, "hold_mlps": hold_mlps}

    def result(found: path_trees.Tree) -> PathTree:
        about["missing"] = found.missing
        return PathTree(
            **about,
            **asks,
            metric=metrics.resolve(metric),
            links=tuple(_link(model, edge) for edge in found.edges),
            chain=tuple(found.edges.index(edge) for edge in path_trees.chain(found.edges)),
            measured=found.measured,
        )

    return sweeps.told(lambda: path_trees.tree(sweep, measured, Growth(*asks.values())), result)


def _check(top_k: int, depth: int, threshold: float) -> None:
    if min(top_k, depth) < 1 or threshold < 0:
        raise ArgumentError(
            f"top_k={top_k}, depth={depth}, threshold={threshold} are no tree", "Give 1 or more, 1 or more, 0 or more."
        )


def _link(model: "Model", edge: path_trees.Edge) -> Link:
    return Link(
        sender=str(edge.sender),
        node=str(edge.node),
        receiver=str(edge.receiver),
        readers=tuple(head.label for head in paths.readers(model, edge.receiver)),
        effect=edge.share,
        score=edge.score,
    )


def _label(name: str) -> str:
    return patched.part(Site.parse(name))


def _node(name: str) -> Node:
    """Ranks follow the order of computation: the embedding, the heads of a block, its MLP, the logits."""
    site = Site.parse(name)
    kinds = {"z": (2 * (site.layer or 0), "head"), "mlp_out": (2 * (site.layer or 0) + 1, "MLP")}
    rank, group = kinds.get(site.name, (-1, "embedding") if name == "embed" else (1 << 20, "answer"))
    return Node(id=name, rank=rank, group=group, label=_label(name).removeprefix("token "), site=name)
