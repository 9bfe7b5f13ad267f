"""Which way a difference between two prompts takes to the answer: effects of nodes, and of the paths between them.

Both prompts have the same tokens but for one stretch, and the model answers them differently. The share of a node is
what the logit difference of the two answers loses when that node alone has its value of the other prompt: 0 is nothing,
1 as much as the other prompt itself. The share of a path from a sender to a receiver is the same for the receiver, set
to the value that it has when, of all that it reads, only the sender is the other prompt's (path patching: Wang et al.
2022, "Interpretability in the Wild"; Goldowsky-Dill et al. 2023). Shares of nodes need not sum to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Float
from torch import Tensor

from fluoroscope.methods.patching import Patch, patched
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model


class Node(NamedTuple):
    """A head (`z.3.1`) or an MLP (`mlp_out.3`) at one position."""

    site: Site
    slot: int


@dataclass(frozen=True, eq=False)
class Contrast:
    """Two runs that differ at some tokens.

    Args:
        clean: the prompt that is looked at, with the sites that `sites_needed` names.
        other: the other prompt, of the same length, with the same sites.
        changed: the slots at which their tokens differ.
        slot: the position after which both answer.
        answer: token of the clean prompt.
        foil: token of the other prompt.
    """

    clean: Trace
    other: Trace
    changed: tuple[int, ...]
    slot: int
    answer: int
    foil: int

    def gap(self, logits: Float[Tensor, "*row d_vocab"]) -> Float[Tensor, "*row"]:
        """The logit of the answer minus that of the foil."""
        return logits[..., self.answer].double() - logits[..., self.foil].double()

    @property
    def whole(self) -> float:
        """How far the other prompt moves the logit difference, in logits; above 0 where each answer is its prompt's."""
        clean, other = (self.gap(trace.logits[0, self.slot]) for trace in (self.clean, self.other))
        return float(clean - other)

    def share(self, logits: Float[Tensor, "row d_vocab"]) -> Float[Tensor, "row"]:
        """How much of the way from the clean to the other prompt's logit difference the logits have gone."""
        return (self.gap(self.clean.logits[0, self.slot]) - self.gap(logits)) / self.whole


def sites_needed(model: "Model") -> list[Site]:
    """What the traces of a contrast must keep."""
    return [site for name in ("resid_pre", "z", "attn_out", "mlp_out") for site in model.sites(name)]


def nodes(model: "Model", slots: Sequence[int]) -> list[Node]:
    """Every head and every MLP at the given positions, in the order of computation."""
    heads = [Site("z", site.layer, unit) for site in model.sites("z") for unit in range(model.n_heads)]
    sites = sorted([*heads, *model.sites("mlp_out")], key=lambda site: (site.layer, site.name == "mlp_out", site.unit))
    return [Node(site, slot) for site in sites for slot in slots]


def connected(sender: Node, receiver: Node) -> bool:
    """Whether a receiver may read a sender: an MLP its own position, a head all up to it; both what is earlier."""
    above, below = sender.site.layer or 0, receiver.site.layer or 0
    if receiver.site.name == "mlp_out":
        beside = above == below and sender.site.name == "z"
        return sender.slot == receiver.slot and (above < below or beside)
    return sender.slot <= receiver.slot and above < below


def effects(model: "Model", contrast: Contrast, patched_nodes: Sequence[Node]) -> Float[Tensor, "node"]:
    """The share of each node."""
    variants = [[_from(contrast.other, node)] for node in patched_nodes]
    return contrast.share(_run(model, contrast, variants)[0])


def paths(model: "Model", contrast: Contrast, pairs: Sequence[tuple[Node | None, Node]]) -> Float[Tensor, "pair"]:
    """The share of each path from a sender to a receiver, everything between them as in the clean run.

    Args:
        pairs: sender and receiver; None as sender is the whole column of the changed tokens, as the receiver's block
            finds it. A sender that cannot be read by its receiver, being later or elsewhere, has the share 0.
    """
    added = _added(model, contrast, sorted({sender for sender, _ in pairs if sender is not None}))
    first = [_read(contrast, sender, receiver, added) for sender, receiver in pairs]
    keep = sorted({receiver.site.whole for _, receiver in pairs})
    _, values = _run(model, contrast, first, keep)
    second = [
        [Patch(receiver.site, receiver.slot, _unit(values[receiver.site.whole][row, receiver.slot], receiver.site))]
        for row, (_, receiver) in enumerate(pairs)
    ]
    return contrast.share(_run(model, contrast, second)[0])


def _run(
    model: "Model", contrast: Contrast, variants: Sequence[Sequence[Patch]], keep: Sequence[Site] = ()
) -> tuple[Tensor, dict[Site, Tensor]]:
    return patched(model, contrast.clean.tokens.rows[0], variants, contrast.slot, keep)


def _from(trace: Trace, node: Node) -> Patch:
    return Patch(node.site, node.slot, _unit(trace[node.site.whole][0, node.slot], node.site))


def _unit(value: Tensor, site: Site) -> Tensor:
    return value if site.unit is None else value[site.unit]


def _added(model: "Model", contrast: Contrast, senders: Sequence[Node]) -> dict[Node, Float[Tensor, "d_model"]]:
    """What the stream holds more at each sender's position when the sender alone is the other prompt's."""
    outputs = [Site("attn_out" if node.site.name == "z" else "mlp_out", node.site.layer) for node in senders]
    variants = [[_from(contrast.other, sender)] for sender in senders]
    _, values = _run(model, contrast, variants, sorted(set(outputs)))
    return {
        sender: values[site][row, sender.slot] - contrast.clean[site][0, sender.slot]
        for row, (sender, site) in enumerate(zip(senders, outputs, strict=True))
    }


def _read(contrast: Contrast, sender: Node | None, receiver: Node, added: dict[Node, Tensor]) -> list[Patch]:
    """The clean run but for what the receiver's block reads of the sender."""
    layer = receiver.site.layer
    stream, attention = Site("resid_pre", layer), Site("attn_out", layer)
    patches: list[Patch] = []
    if sender is None:
        patches = [Patch(stream, slot, contrast.other[stream][0, slot]) for slot in contrast.changed]
    elif (sender.site.layer or 0) < (layer or 0):
        patches = [Patch(stream, sender.slot, contrast.clean[stream][0, sender.slot] + added[sender])]
    if receiver.site.name == "mlp_out":
        # Its own block's attention reads the sender as well; only the sender itself may reach the MLP.
        before = contrast.clean[attention][0, receiver.slot]
        beside = sender is not None and sender.site.layer == layer and sender.site.name == "z"
        mine = added[sender] if sender is not None and beside and sender.slot == receiver.slot else 0.0
        patches.append(Patch(attention, receiver.slot, before + mine))
    return patches
