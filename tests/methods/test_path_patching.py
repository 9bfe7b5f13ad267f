"""Shares of nodes and paths: against plain traces in which all heads and MLPs are frozen but those on the path."""

import pytest
import torch

from architectures.common import ids, model, true_float64
from fluoroscope.interventions import at, replace
from fluoroscope.methods import path_patching
from fluoroscope.methods.patching import Patch, patched
from fluoroscope.methods.path_patching import Contrast, Node, connected
from fluoroscope.sites import Site

CHANGED, END = (4,), 12


def head(layer, unit, slot):
    return Node(Site("z", layer, unit), slot)


def mlp(layer, slot):
    return Node(Site("mlp_out", layer), slot)


def contrast(found):
    clean, other = (list(ids(1)[0]) for _ in range(2))
    other[CHANGED[0]] = (other[CHANGED[0]] + 7) % 97
    sites = path_patching.sites_needed(found)
    traces = [found.trace(prompt, sites=sites) for prompt in (clean, other)]
    return Contrast(*traces, CHANGED, END, answer=11, foil=23)


class ByHand:
    """The same numbers from plain traces with plain edits."""

    def __init__(self, found, given):
        self.model, self.clean, self.other = found, given.clean, given.other

    def gap(self, logits):
        return float(logits[0, END, 11] - logits[0, END, 23])

    def share(self, node, value):
        """What the answer loses when a node is set to a value."""
        trace = self.model.trace(self.clean.tokens, edits={node.site: at(replace(value), positions=node.slot)})
        clean, other = self.gap(self.clean.logits), self.gap(self.other.logits)
        return (clean - self.gap(trace.logits)) / (clean - other)

    def value(self, trace, node):
        value = trace[node.site.whole][0, node.slot]
        return value if node.site.unit is None else value[node.site.unit]

    def frozen(self, receiver, slots):
        """Every head and MLP that the receiver could read, as in the clean run, at the given slots."""
        edits = {}
        for site in [*self.model.sites("z"), *self.model.sites("mlp_out")]:
            below = site.layer < receiver.site.layer
            beside = site.layer == receiver.site.layer and site.name == "z" and receiver.site.name == "mlp_out"
            if below or beside:
                edits[site] = [at(replace(self.clean[site][:, slots]), positions=slots)]
        return edits

    def path(self, sender, receiver):
        if sender is None:
            edits = self.frozen(receiver, [slot for slot in range(END + 1) if slot not in CHANGED])
            trace = self.model.trace(self.other.tokens, sites=[receiver.site.whole], edits=edits)
        else:
            edits = self.frozen(receiver, list(range(END + 1)))
            value = self.value(self.other, sender)
            if sender.site.whole in edits:
                edits[sender.site.whole].append(self.written(sender, value))
            trace = self.model.trace(self.clean.tokens, sites=[receiver.site.whole], edits=edits)
        return self.share(receiver, self.value(trace, receiver))

    def written(self, sender, value):
        def write(part):
            if sender.site.unit is None:
                part[0, 0] = value
            else:
                part[0, 0, sender.site.unit] = value
            return part

        return at(write, positions=sender.slot)


CASES = ["gpt2", "llama", "gemma2", "gpt_neox", "mixtral", "granite", "olmo2", "gptj"]


@pytest.mark.parametrize("case", CASES)
def test_nodes_and_paths_are_what_frozen_traces_give(case):
    with true_float64():
        check_nodes_and_paths(model(case, dtype=torch.float64))


def check_nodes_and_paths(found):
    given = contrast(found)
    by_hand = ByHand(found, given)
    nodes = [head(0, 1, 6), mlp(0, 6), head(1, 2, 6), mlp(1, 12), head(1, 0, 12), head(2, 3, 12), mlp(2, 12)]
    effects = path_patching.effects(found, given, nodes)
    expected = [by_hand.share(node, by_hand.value(given.other, node)) for node in nodes]
    assert effects.tolist() == pytest.approx(expected, abs=1e-9)
    pairs = [(one, other) for one in nodes for other in nodes if connected(one, other)]
    pairs += [(None, node) for node in nodes if node.site.name == "z"]
    shares = path_patching.paths(found, given, pairs)
    expected = [by_hand.path(sender, receiver) for sender, receiver in pairs]
    assert shares.tolist() == pytest.approx(expected, abs=1e-9)
    assert shares.abs().max() > 1e-3


def test_what_is_not_connected_has_no_path():
    found = model("gpt2", dtype=torch.float64)
    given = contrast(found)
    nodes = [head(0, 1, 6), mlp(0, 6), head(1, 2, 6), mlp(1, 12), head(1, 0, 12), head(2, 3, 9), mlp(2, 12)]
    apart = [(one, other) for one in nodes for other in nodes if not connected(one, other)]
    assert path_patching.paths(found, given, apart).abs().max() < 1e-9
    assert len(apart) > len(nodes)


def test_a_node_is_every_head_and_mlp_at_every_slot_in_the_order_of_computation():
    found = model("gpt2", dtype=torch.float64)
    every = path_patching.nodes(found, [4, 5])
    assert every[:2] == [head(0, 0, 4), head(0, 0, 5)]
    assert len(every) == 3 * (4 + 1) * 2
    assert every == sorted(every, key=lambda node: (node.site.layer, node.site.name == "mlp_out", node.site.unit or 0))


def test_nothing_is_nothing_and_the_other_prompt_is_all():
    found = model("gpt2", dtype=torch.float64)
    given = contrast(found)
    clean, other = given.clean.logits[0, END], given.other.logits[0, END]
    assert given.whole == pytest.approx(float((clean - other)[11] - (clean - other)[23]))
    assert given.share(torch.stack([clean, other])).tolist() == pytest.approx([0, 1])
    before = [Node(Site("z", layer, 0), 2) for layer in range(3)]
    assert path_patching.effects(found, given, before).abs().max() < 1e-9


def test_the_last_stream_is_the_whole_effect():
    """All heads and the MLP of the last block, and the stream before it, patched together, are the other prompt."""
    found = model("gpt2", dtype=torch.float64)
    given = contrast(found)
    patches = [Patch(site, END, given.other[site][0, END]) for site in map(Site.parse, ("resid_pre.2", "z.2"))]
    logits, _ = patched(found, given.clean.tokens.rows[0], [patches], END)
    assert given.share(logits).item() == pytest.approx(1, abs=1e-9)
