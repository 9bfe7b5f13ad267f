"""Compiled programs give what Tracr gives, and their true edges are those of their weights and of brute force."""

import pytest
import torch
from torch import Tensor

from exact import edge_patching, tracr_programs
from exact.tracr_programs import KINDS, NAMES, moved, program

every_program = pytest.mark.parametrize("name", NAMES)
MOVES = {"as they are": False, "positions moved": True}
PATCHED = [(name, moves) for name in NAMES for moves in MOVES if name != "shuffle_dyck" or not MOVES[moves]]
INNER = {"q_proj", "k_proj", "v_proj", "q", "k", "v", "scores", "pattern", "z", "head_out", "attn_out"}
LAYERED = INNER | {"resid_pre", "resid_mid", "up_proj", "neurons", "mlp_out", "resid_post"}


# ── the module is Tracr's ────────────────────────────────────────────────────────────────────────────


@every_program
def test_logits_are_tracrs_own(name: str) -> None:
    found = program(name)
    assert len(found.tracr) >= 3
    for length, expected in found.tracr.items():
        logits = found.model.trace(found.ids(length)).logits
        assert logits.shape == expected.shape
        assert (logits - expected).abs().max() < 1e-5
        assert (program(name, "float64").model.trace(found.ids(length)).logits - expected).abs().max() < 1e-5


def decoded(found: tracr_programs.Program, logits: Tensor) -> list[object]:
    labels = found.facts["answers"]
    if len(labels) == 1:
        return logits[:, 0].tolist()
    return [labels[place].partition(":")[2] for place in logits.argmax(-1).tolist()]


@every_program
def test_answers_are_those_of_the_program(name: str) -> None:
    """RASP's own answers, where it has one (None in front of the first token that a shift finds)."""
    found = program(name)
    for length in found.tracr:
        logits = found.model.trace(found.ids(length)).logits[:, 1:]
        cases = [case for case in found.facts["inputs"] if len(case["tokens"]) == length]
        for row, case in zip(logits, cases, strict=True):
            for said, wanted in zip(decoded(found, row), case["rasp"], strict=True):
                if isinstance(said, float):
                    assert said == pytest.approx(wanted, abs=1e-4)
                else:
                    assert wanted is None or said == str(wanted)


@every_program
def test_every_site_is_offered_and_sums_hold(name: str) -> None:
    found, model = program(name), program(name).model
    assert {str(site) for site in model.sites()} == {"embed", "pos_embed", "logits"} | {
        f"{part}.{layer}" for part in LAYERED for layer in range(model.n_layers)
    }
    trace = model.trace(found.ids(max(found.tracr)), sites=model.sites())
    total = trace["embed"] + trace["pos_embed"]
    for layer in range(model.n_layers):
        assert torch.equal(trace[f"resid_pre.{layer}"], total)
        assert torch.allclose(trace[f"head_out.{layer}"].sum(2), trace[f"attn_out.{layer}"], atol=1e-5)
        total = total + trace[f"attn_out.{layer}"]
        assert torch.equal(trace[f"resid_mid.{layer}"], total)
        total = total + trace[f"mlp_out.{layer}"]
        assert torch.equal(trace[f"resid_post.{layer}"], total)
        seen = trace[f"pattern.{layer}"]
        assert found.facts["causal"] == bool((seen.triu(1) == 0).all())
    assert torch.equal(total @ model.weights["W_U"], trace.logits)


# ── its circuit ──────────────────────────────────────────────────────────────────────────────────────


@every_program
def test_the_programs_edges_are_those_of_the_weights(name: str) -> None:
    """What a sender writes for the stored inputs meets the receiver's matrix for exactly these pairs."""
    found = program(name)
    wired = [edge_patching.wired(found.model, found.ids(length)) for length in found.tracr]
    assert set.union(*wired) == found.edges()


@every_program
def test_kinds_part_the_edges(name: str) -> None:
    found = program(name)
    groups = [found.edges(kind) for kind in KINDS]
    assert sum(map(len, groups)) == len(found.edges()) == len(found.facts["edges"])
    assert found.edges("active")
    assert found.edges_when_positions_move() <= found.edges("active", "positional")


@pytest.mark.parametrize(("name", "moves"), PATCHED)
def test_brute_force_finds_the_true_edges_and_no_others(name: str, moves: str) -> None:
    """Over all ordered pairs of stored inputs of a length at which they differ enough."""
    found, change = program(name), moved if MOVES[moves] else None
    lengths = {"sort_unique": list(found.tracr), "shuffle_dyck": [2]}.get(name, [max(found.tracr)])
    groups = [edge_patching.effects(found.model, found.ids(length), change=change) for length in lengths]
    largest = {edge: max(group[edge] for group in groups) for edge in groups[0]}
    true = found.edges_when_positions_move() if MOVES[moves] else found.edges("active")
    assert true < found.edges() < largest.keys()
    assert {edge for edge, value in largest.items() if value > 0.1} == true
    assert max(value for edge, value in largest.items() if edge not in true) < 1e-4


def test_the_circuits_are_the_textbooks() -> None:
    """Two of them, written down by hand from what their programs say."""
    assert program("frac_prevs").edges("active", "positional") == {
        ("embed", "mlp.0"), ("mlp.0", "L1H0.v"), ("L1H0", "logits"), ("pos_embed", "L1H0.q"), ("pos_embed", "L1H0.k"),
    }  # fmt: skip
    assert program("sort_unique").edges("active", "positional") == {
        ("embed", "L0H0.q"), ("embed", "L0H0.k"), ("L0H0", "mlp.0"), ("mlp.0", "L1H0.k"), ("pos_embed", "L1H0.q"),
        ("embed", "L1H0.v"), ("L1H0", "logits"),
    }  # fmt: skip
