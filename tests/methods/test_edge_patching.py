"""Every edge against plain hooks, against circuits without it, and against path patching."""

import random

import pytest
import torch

import linear
from architectures.common import model, relative
from exact import planted
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import edge_patching, edges, paths
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.graph import Graph, outputs
from fluoroscope.methods.graph import written as sites
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.model import Model
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from methods.edge_runs import output, score, written

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
OTHER = [8, 1, 2, 4, 90], [8, 1, 3, 4, 91]
CASES = ["gpt2", "llama", "qwen3", "gemma2", "olmo2", "granite", "mixtral", "gpt_neox", "cohere", "falcon-7b", "bloom"]
CASES += ["gpt_oss", "phi-qk_norm", "glm4", "opt", "gpt_neo", "codegen"]


def sides(found: Model, pad: str = "right") -> tuple[Tokens, Tokens]:
    return found.tokens([PAIR[0], OTHER[0]], pad=pad), found.tokens([PAIR[1], OTHER[1]], pad=pad)


def both() -> metrics.Metric:
    return metrics.logit_diff([7, 5], [11, 9])


def values(made: Graph) -> torch.Tensor:
    """[edge, pair]."""
    assert made.scores is not None
    assert (made.scores[:, ~made.exists] == 0).all()
    return made.scores[:, made.exists].T


@pytest.mark.parametrize(("case", "pad"), [*((case, "right") for case in CASES), ("gpt2", "left"), ("llama", "left")])
def test_every_edge_does_what_a_run_without_it_loses(case: str, pad: str) -> None:
    found, metric = model(case), both()
    clean, corrupted = sides(found, pad)
    made = edge_patching.exact(found, clean, corrupted, metric)
    runs = Circuits(found, clean, corrupted)
    places = runs.graph.exists.nonzero()
    kept = runs.whole.repeat(len(places), 1, 1)
    kept[torch.arange(len(places)), places[:, 0], places[:, 1]] = False
    assert relative(values(made), runs.scores(kept, metric) - runs.scores(runs.whole, metric)) < 1e-4


@pytest.mark.parametrize("case", ["gpt2", "llama", "cohere", "gemma2", "mixtral"])
def test_single_edges_are_those_of_plain_hooks(case: str) -> None:
    found, metric, draw = model(case), both(), random.Random(1)
    clean, corrupted = sides(found)
    made = edge_patching.exact(found, corrupted, clean, metric)
    own, given = written(found, corrupted), written(found, clean)
    plain = metric(own.logits[torch.arange(2), corrupted.last])
    assert made.scores is not None
    for kind in (".q", ".k", ".v", "mlp", "logits"):
        for edge in draw.sample([edge for edge in made.edges if kind in edge[1]], 3):
            row, column = made.place(edge)
            changed = score(found, corrupted, edge[1], output(given, edge[0]) - output(own, edge[0]), metric)
            assert made.scores[:, row, column].tolist() == pytest.approx((changed - plain).tolist(), rel=1e-3, abs=2e-5)


@pytest.mark.parametrize("name", ["induction", "names", "xor"])
def test_an_edge_between_parts_is_the_path_that_holds_everything_else(name: str) -> None:
    found = planted.circuit(name, 6.0)
    prompts, others = found.prompts[:2], found.corrupted[:2]
    metric = metrics.logit_diff(found.answers[:2].tolist(), found.foils[:2].tolist())
    made = edge_patching.exact(found.model, *(found.model.tokens(part) for part in (prompts, others)), metric)
    names = ("z", "q", "k", "v", "mlp_out")
    sweep = Sweep(found.model, list(zip(prompts.tolist(), others.tolist(), strict=True)), names, "noise")
    senders = [(sender, site(sender)) for sender in made.senders if "embed" not in sender]
    assert made.scores is not None
    for receiver in made.receivers:
        effects = paths.effects(
            sweep, [Part((place,)) for _, place in senders], [site(receiver)], metric, hold_mlps=True
        )
        for (sender, _), scores in zip(senders, effects.scores, strict=True):
            if (sender, receiver) in made.edges:
                row, column = made.place((sender, receiver))
                assert made.scores[:, row, column].tolist() == pytest.approx(
                    (scores - effects.clean).tolist(), abs=1e-3
                )


def site(name: str) -> Site:
    """The site of a sender or receiver of two heads a block."""
    if name == "logits":
        return Site("logits")
    if name.startswith("mlp"):
        return Site("mlp_out", int(name[4:]))
    head, _, letter = name.partition(".")
    layer, unit = head[1:].split("H")
    return Site(letter or "z", int(layer), int(unit))


def test_on_a_linear_model_attribution_is_exact() -> None:
    found, metric = linear.through(), metrics.logit_diff([7], [11])
    base, donor = (found.tokens([[token % 30 for token in side]]) for side in PAIR)
    truth = values(edge_patching.exact(found, base, donor, metric))
    assert relative(values(edges.linear(found, base, donor, metric)), truth) < 1e-7
    assert relative(values(edges.integrated(found, base, donor, metric, steps=2)), truth) < 1e-7


def test_without_a_difference_an_edge_has_exactly_no_effect() -> None:
    found = model("llama")
    clean, _ = sides(found)
    same = edge_patching.exact(found, clean, clean, both())
    assert (values(same) == 0).all()
    one = found.tokens([[5, 3, 9, 7, 5, 3, 22, 60]])
    made = edge_patching.exact(found, found.tokens([PAIR[0]]), one, metrics.logit([7]))
    assert made.scores is not None
    last = [made.places[1][f"L2H{head}.q"] for head in range(4)]
    assert (made.scores[0, 0, last] != 0).all()


@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_only_some_edges(case: str) -> None:
    found = model(case)
    clean, corrupted = sides(found)
    every = edge_patching.exact(found, clean, corrupted, both())
    only = every.exists & (torch.rand(every.exists.shape, generator=torch.Generator().manual_seed(0)) < 0.2)
    some = edge_patching.exact(found, clean, corrupted, both(), only=only)
    assert every.scores is not None
    assert some.scores is not None
    assert (some.scores[:, ~only] == 0).all()
    assert relative(some.scores[:, only], every.scores[:, only]) < 1e-5


def test_what_senders_write_instead_may_be_given() -> None:
    found, metric = model("gpt2"), both()
    clean, corrupted = sides(found)
    given = outputs(found, found.trace(corrupted, sites(found)).values)
    made = (edge_patching.exact(found, clean, donor, metric) for donor in (corrupted, given))
    assert torch.equal(*(values(each) for each in made))
    doubled = edge_patching.exact(found, clean, 2 * given, metric)
    assert not torch.allclose(values(doubled), values(edge_patching.exact(found, clean, given, metric)))


def test_metrics_that_read_all_logits_and_have_no_slope() -> None:
    found, metric = model("gpt2"), metrics.rank([7, 5])
    clean, corrupted = sides(found)
    made, runs = edge_patching.exact(found, clean, corrupted, metric), Circuits(found, clean, corrupted)
    edge = ("mlp.1", "logits")
    kept = runs.whole.clone()
    kept[0][made.place(edge)] = False
    change = runs.scores(kept, metric) - runs.scores(runs.whole, metric)
    assert made.scores is not None
    assert made.scores[:, made.place(edge)[0], made.place(edge)[1]].tolist() == change[0].tolist()


def test_refusals() -> None:
    found = model("gpt2")
    clean, corrupted = sides(found)
    with pytest.raises(ArgumentError, match="Reword one of a pair"):
        edge_patching.exact(found, clean, found.tokens([PAIR[1], PAIR[1]]), both())
    with pytest.raises(ArgumentError, match="Raise the budget"):
        edge_patching.exact(found, clean, corrupted, both(), budget=1000)
    other = model("qwen3_next")
    with pytest.raises(UnavailableError, match="no graph of heads and MLPs"):
        edge_patching.exact(other, *sides(other), both())
