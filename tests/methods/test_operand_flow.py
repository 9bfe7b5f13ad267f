"""The flow of operands: its means, its exact sum, its neurons, against the plain model and plain traces by hand."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from fluoroscope.interventions import at, replace
from fluoroscope.loading import load
from fluoroscope.methods import operand_flow, path_patching
from fluoroscope.methods.arithmetic import SIDES, parse
from fluoroscope.methods.operands import Counterfactual
from fluoroscope.sites import Site

TEXT = "2 times 3 is"
END = len(TEXT) - 1


@pytest.fixture(scope="module")
def double(tiny_folder):
    return load(tiny_folder, dtype="float64")


@pytest.fixture(scope="module")
def clean(double):
    return double.trace(TEXT, sites=operand_flow.sites_needed(double))


def others(model, side, sizes):
    asked = parse(TEXT)
    swapped = [asked.swapped(side, size) for size in sizes]
    return [Counterfactual(each, tuple(model.tokens(each.text).rows[0]), answer=7) for each in swapped]


@pytest.fixture(scope="module")
def trials(double, clean):
    """Two contrasts for each operand; where a random model answers all alike, between two answers chosen here."""
    found = {}
    for side in SIDES:
        drawn = others(double, side, range(10))
        contrasts = operand_flow.trial(double, clean, drawn).contrasts[:2]
        found[side] = contrasts or tuple(chosen(double, clean, other) for other in (drawn[7], drawn[9]))
    return found


def chosen(model, clean, other):
    trace = model.trace(list(other.ids), sites=operand_flow.sites_needed(model))
    pairs = enumerate(zip(clean.tokens.rows[0], other.ids, strict=True))
    changed = tuple(slot for slot, (one, another) in pairs if one != another)
    return path_patching.Contrast(clean, trace, changed, END, answer=3, foil=5)


def test_a_trial_counts_what_the_plain_model_answers(double, clean, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64).eval()
    drawn = others(double, "left", range(10))
    with torch.no_grad():
        said = [int(plain(torch.tensor([each.ids])).logits[0, -1].argmax()) for each in drawn]
        own = int(plain(double.tokens(TEXT).ids).logits[0, -1].argmax())
    found = operand_flow.trial(double, clean, [each._replace(answer=said[0]) for each in drawn])
    assert [each.left.value for each in found.calculations] == list(range(10))
    assert found.solved == said.count(said[0])
    assert [(each.answer, each.foil) for each in found.contrasts] == [(own, token) for token in said if token != own]
    assert {each.changed for each in found.contrasts} <= {(0,)}


def test_shares_are_means_over_contrasts(double, trials):
    found = operand_flow.flow(double, trials, top_k=100)
    every = path_patching.nodes(double, range(END + 1))
    for side, column in zip(SIDES, (0, 8), strict=True):
        counted = [node for node in every if node.slot > column]
        alone = [path_patching.effects(double, contrast, counted) for contrast in trials[side]]
        expected = dict(zip(counted, torch.stack(alone).mean(0).tolist(), strict=True))
        measured = {node: shares[side] for node, shares in found.nodes.items() if side in shares}
        assert measured == pytest.approx(expected, abs=1e-9)
        pairs = [(None, node) for node in counted if node.site.name == "z"]
        alone = [path_patching.paths(double, contrast, pairs) for contrast in trials[side]]
        expected = torch.stack(alone).mean(0).tolist()
        assert [found.paths[side, node][side] for _, node in pairs] == pytest.approx(expected, abs=1e-9)
    assert list(found.nodes) == [node for node in every if node in found.nodes]
    ends = {node for pair in found.paths for node in pair if not isinstance(node, str)}
    assert ends <= set(found.nodes)


def test_the_largest_are_chosen(double, trials):
    every = operand_flow.flow(double, trials, top_k=100).nodes
    few = operand_flow.flow(double, trials, top_k=2).nodes
    for name in ("z", "mlp_out"):
        shares = [share for node, share in every.items() if node.site.name == name]
        sizes = sorted(map(operand_flow.size, shares), reverse=True)
        mine = [operand_flow.size(share) for node, share in few.items() if node.site.name == name]
        assert sorted(mine, reverse=True) == pytest.approx(sizes[:2])


def test_what_all_parts_write_is_the_whole_difference(double, trials, tiny_folder):
    """By hand from the plain model: heads and MLPs through the final norm of each run, and the rest that no node is."""
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64).eval()
    found = operand_flow.flow(double, {"left": trials["left"][:1], "right": ()}, top_k=100)
    (contrast,) = trials["left"][:1]
    runs = [Plain(plain, torch.tensor([trace.tokens.rows[0]])) for trace in (contrast.clean, contrast.other)]
    whole = contrast.whole
    for node, shares in found.written.items():
        by_hand = [run.writes(node.site, contrast.answer, contrast.foil) for run in runs]
        assert shares == {"left": pytest.approx((by_hand[0] - by_hand[1]) / whole, abs=1e-9)}
    assert {node.slot for node in found.written} == {END}
    assert len(found.written) == 2 * (3 + 1)
    rest = [run.rest(contrast.answer, contrast.foil) for run in runs]
    total = sum(shares["left"] for shares in found.written.values()) + (rest[0] - rest[1]) / whole
    assert total == pytest.approx(1, abs=1e-9)


class Plain:
    """What parts of the plain model write of a logit difference at the last position; none of our code."""

    def __init__(self, hf, ids):
        self.hf, self.z, self.mlp = hf, [], []
        handles = []
        for block in hf.transformer.h:
            handles.append(block.attn.c_proj.register_forward_pre_hook(lambda _, args: self.z.append(args[0][0, -1])))
            handles.append(block.mlp.register_forward_hook(lambda _, args, output: self.mlp.append(output[0, -1])))
        last = hf.transformer.ln_f
        handles.append(last.register_forward_pre_hook(lambda _, args: setattr(self, "last", args[0][0, -1])))
        with torch.no_grad():
            self.logits = hf(ids).logits[0, -1]
        self.embedded = (hf.transformer.wte.weight[ids[0, -1]] + hf.transformer.wpe.weight[ids.shape[1] - 1]).detach()
        for handle in handles:
            handle.remove()

    def through(self, added, answer, foil):
        norm = self.hf.transformer.ln_f
        scale = (self.last.var(correction=0) + norm.eps).sqrt()
        row = (self.hf.lm_head.weight[answer] - self.hf.lm_head.weight[foil]).detach()
        return float((row * norm.weight.detach() * (added - added.mean()) / scale).sum())

    def writes(self, site, answer, foil):
        if site.name == "mlp_out":
            return self.through(self.mlp[site.layer], answer, foil)
        mine = slice(site.unit * 8, site.unit * 8 + 8)
        weight = self.hf.transformer.h[site.layer].attn.c_proj.weight.detach()
        return self.through(self.z[site.layer][mine] @ weight[mine], answer, foil)

    def rest(self, answer, foil):
        biases = sum(block.attn.c_proj.bias.detach() for block in self.hf.transformer.h)
        return self.through(self.embedded + biases, answer, foil)


def test_neurons_are_ranked_by_what_they_write_and_confirmed_by_patching(double, trials):
    found = operand_flow.flow(double, trials, top_k=5)
    assert len(found.neurons) == 5
    sizes = [operand_flow.size(writes) for writes, _ in found.neurons.values()]
    assert sizes == sorted(sizes, reverse=True)
    for site, (_, alone) in found.neurons.items():
        for side in SIDES:
            shares = []
            for contrast in trials[side]:
                value = contrast.other[site][0, END]
                trace = double.trace(contrast.clean.tokens, edits={site: at(replace(value), positions=END)})
                shares.append(float(contrast.share(trace.logits[:, END])))
            assert alone[side] == pytest.approx(sum(shares) / len(shares), abs=1e-9)


def test_the_neurons_and_the_bias_of_an_mlp_are_the_mlp(double, trials, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float64).eval()
    contrast = trials["left"][0]
    runs = [Plain(plain, torch.tensor([trace.tokens.rows[0]])) for trace in (contrast.clean, contrast.other)]
    every = operand_flow.flow(double, {"left": (contrast,), "right": ()}, top_k=10_000)
    for layer, block in enumerate(plain.transformer.h):
        (mlp,) = (share["left"] for node, share in every.written.items() if node.site == Site("mlp_out", layer))
        mine = [writes["left"] for site, (writes, _) in every.neurons.items() if site.layer == layer]
        assert len(mine) == double.d_mlp
        bias = [run.through(block.mlp.c_proj.bias.detach(), contrast.answer, contrast.foil) for run in runs]
        assert sum(mine) + (bias[0] - bias[1]) / contrast.whole == pytest.approx(mlp, abs=1e-9)


def test_without_a_contrast_there_is_nothing(double):
    found = operand_flow.flow(double, {"left": (), "right": ()}, top_k=3)
    assert (found.nodes, found.paths, found.written, found.neurons) == ({}, {}, {}, {})
