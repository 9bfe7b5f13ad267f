"""Circuits against the clean and the corrupted run, and against plain runs edge by edge, on every family."""

import random

import pytest
import torch

from architectures.common import model
from architectures.zoo import CASES
from exact import planted
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods import circuits
from fluoroscope.methods.circuits import Circuits
from fluoroscope.methods.graph import graph
from fluoroscope.model import Model
from fluoroscope.tokens import Tokens
from methods.edge_runs import output, score, written

PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
OTHER = [8, 1, 2, 4, 90], [8, 1, 3, 4, 91]


def refused(case: str) -> bool:
    try:
        graph(model(case))
    except UnavailableError:
        return True
    return False


ACCEPTED = [case for case in CASES if not case.startswith(("deepseek", "qwen3_next", "opt-350m"))]


def sides(found: Model, pad: str = "right") -> tuple[Tokens, Tokens]:
    return found.tokens([PAIR[0], OTHER[0]], pad=pad), found.tokens([PAIR[1], OTHER[1]], pad=pad)


def ends(found: Model, tokens: Tokens) -> torch.Tensor:
    return found.trace(tokens).logits[torch.arange(len(tokens)), tokens.last]


def far(made: Circuits, kept: torch.Tensor, logits: torch.Tensor) -> float:
    """How far from some logits a circuit answers, as a share of their size."""
    return float(made.scores(kept, metrics.l2(logits)).max() / logits.norm())


def test_the_families_that_are_no_graphs_are_those_that_say_so() -> None:
    assert {case for case in ("deepseek_v3", "qwen3_next", "opt-350m") if refused(case)} == set(CASES) - set(
        ACCEPTED
    ) - {"deepseek_v3-lite"}


@pytest.mark.parametrize("case", ACCEPTED)
def test_all_edges_are_the_clean_run_and_none_the_corrupted_one(case: str) -> None:
    found = model(case)
    clean, corrupted = sides(found)
    made = Circuits(found, clean, corrupted)
    given, other = ends(found, clean), ends(found, corrupted)
    assert far(made, made.whole, given) < 1e-5
    assert far(made, made.empty, other) < 1e-5
    assert (given - other).norm() > 0.1 * given.norm()


@pytest.mark.parametrize(
    ("case", "pad"),
    [
        *(
            (case, "right")
            for case in ("gpt2", "llama", "cohere", "gemma2", "olmo2", "mixtral", "granite", "falcon-7b")
        ),
        *((case, "left") for case in ("gpt2", "llama", "bloom")),
        ("falcon-7b", "right"),
    ],
)
def test_without_one_edge_a_run_is_that_of_plain_hooks(case: str, pad: str) -> None:
    found, metric = model(case), metrics.logit_diff([7, 5], [11, 9])
    clean, corrupted = sides(found, pad)
    made, draw = Circuits(found, clean, corrupted), random.Random(0)
    own, given = written(found, clean), written(found, corrupted)
    for kind in (".q", ".k", ".v", "mlp", "logits"):
        for sender, receiver in draw.sample([edge for edge in made.graph.edges if kind in edge[1]], 3):
            kept = made.whole.clone()
            kept[0][made.graph.place((sender, receiver))] = False
            expected = score(found, clean, receiver, output(given, sender) - output(own, sender), metric)
            assert made.scores(kept, metric)[0].tolist() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)


def test_a_planted_circuit_answers_as_the_whole_model() -> None:
    """Induction's circuit says all that the model says, and nothing of it without its last edges."""
    found = planted.circuit("induction")
    made = Circuits(found.model, *(found.model.tokens(part) for part in (found.prompts, found.corrupted)))
    metric = metrics.logit_diff(found.answers.tolist(), found.foils.tolist())
    active = torch.zeros_like(made.whole)
    for edge in found.edges:
        active[0][made.graph.place(edge)] = True
    assert (made.scores(active, metric) - planted.GAIN).abs().max() < 1e-3
    for edge in (("L1H1", "logits"), ("embed", "L1H1.v")):
        without = active.clone()
        without[0][made.graph.place(edge)] = False
        assert (made.scores(without, metric) < 1).any()


def test_several_circuits_and_pairs_together_are_each_alone() -> None:
    found, metric = model("qwen3"), metrics.logit_diff([7, 5], [11, 9])
    clean, corrupted = sides(found)
    made = Circuits(found, clean, corrupted)
    generator = torch.Generator().manual_seed(0)
    kept = made.whole & (torch.rand(5, *made.graph.exists.shape, generator=generator) < 0.5)
    together = made.scores(kept, metric)
    for circuit, row in zip(kept, together, strict=True):
        for pair in range(2):
            rows = [found.tokens([part[pair]]) for part in ((PAIR[0], OTHER[0]), (PAIR[1], OTHER[1]))]
            alone = Circuits(found, *rows).scores(circuit[None], metric.at([pair]))
            assert float(alone) == pytest.approx(float(row[pair]), rel=1e-4, abs=1e-4)
    small = Circuits(found, clean, corrupted, budget=1 << 20)
    assert torch.allclose(small.scores(kept, metric), together, atol=1e-4)


@pytest.mark.parametrize("ablation", ["zero", "mean"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "cohere"])
def test_cut_off_senders_write_nothing_or_their_mean(case: str, ablation: circuits.Ablation) -> None:
    """A sender with all its edges cut is one whose output is set to that by a plain edit."""
    found = model(case)
    clean, corrupted = sides(found)
    made, given = Circuits(found, clean, corrupted, ablation), written(found, corrupted)
    for sender, site in (("mlp.1", "mlp_out.1"), ("L1H2", "attn_out.1")):
        kept = made.whole.clone()
        kept[0, made.graph.places[0][sender]] = False
        own = output(written(found, clean), sender)
        instead = torch.zeros_like(own[0, 0]) if ablation == "zero" else output(given, sender)[corrupted.mask].mean(0)
        plain = found.trace(clean, edits={site: lambda value, own=own, instead=instead: value - own + instead})
        assert far(made, kept, plain.logits[torch.arange(2), clean.last]) < 1e-5


def test_refusals() -> None:
    found = model("gpt2")
    clean, corrupted = sides(found)
    made, metric = Circuits(found, clean, corrupted), metrics.logit([7, 5])
    with pytest.raises(ArgumentError, match="edges that this model has not"):
        made.scores(~made.empty, metric)
    with pytest.raises(ArgumentError, match="Reword one of a pair"):
        Circuits(found, clean, found.tokens([PAIR[1], PAIR[1]]))
    with pytest.raises(ArgumentError, match="Raise the budget"):
        Circuits(found, clean, corrupted, budget=1000).scores(made.whole, metric)
    other = model("deepseek_v3")
    with pytest.raises(UnavailableError, match="no graph of heads and MLPs"):
        Circuits(other, *sides(other))
