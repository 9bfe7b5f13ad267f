"""The TinyStories Llama: llama2.c's own continuation, its loss, and the pronoun circuit, as SOURCE.md has them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fluoroscope.analyses.head_types import head_types
from fluoroscope.analyses.task_patching import task_patching
from fluoroscope.interventions import zero
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.replay import Replay
from fluoroscope.sites import Site
from fluoroscope.variants import Variant
from shared import SHARED, needs_shared

pytestmark = needs_shared
FOLDER = SHARED / "models" / "stories260k"
SHE, HE = 338, 346
GIRLS = ("Lily", "Sue", "Mia", "Anna", "Sara")
BOYS = ("Tim", "Tom", "Ben", "Max", "Sam")
EIGHT = ("Sam", "Max", "Ben", "Tim", "Lily", "Mia", "Sue", "Anna")
HALF_GAP = 2.968
ABLATED = {
    "mlp_out.1": -2.346,
    "L4H2": -2.024,
    "mlp_out.2": -1.413,
    "mlp_out.3": -1.301,
    "mlp_out.0": -1.054,
    "L4H0": -0.624,
    "L1H2": -0.419,
    "L1H5": +0.447,
    "L0H2": +0.394,
    "L1H4": +0.368,
}
"""Zero-ablated component -> change of the half gap; each published number, for and against."""


@cache
def stories() -> Model:
    return load(FOLDER)


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_story_is_llama2_cs(cache: bool) -> None:
    generated = stories().generate([[1]], max_new_tokens=200, cache=cache)
    assert generated.text == (FOLDER / "expected_greedy_200.txt").read_text(encoding="utf8")
    assert len(generated.ids[0]) == 200


def test_continuation_of_lily() -> None:
    generated = stories().generate("Once upon a time, there was a little girl named Lily.", max_new_tokens=60)
    assert generated.text.lstrip().startswith(
        "She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but "
        "it was too high."
    )


def losses(text: str) -> tuple[Tensor, Tensor]:
    """Nats of every token after the first, and whether it was the likeliest, in windows of the context."""
    nats, right = [], []
    tokens = stories().tokens(text).ids[0]
    for window in tokens[1:].split(511):
        ids = torch.cat([tokens[:1], window])
        logits = stories().trace(ids[None]).logits[0, :-1]
        nats.append(torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none"))
        right.append(logits.argmax(-1) == ids[1:])
    return torch.cat(nats), torch.cat(right)


def test_loss_and_accuracy_on_stories() -> None:
    sample = (SHARED / "data" / "text" / "tinystories_sample.txt").read_text(encoding="utf8")
    parts = [losses(story.strip()) for story in sample.split("<|endoftext|>") if story.strip()]
    assert len(parts) == 5
    nats, right = (torch.cat(values) for values in zip(*parts, strict=True))
    assert len(nats) == 1804
    assert float(nats.mean()) == pytest.approx(1.266, abs=5e-4)
    assert float(right.double().mean()) == pytest.approx(0.651, abs=5e-4)


def pronouns(names: tuple[str, ...], kind: str, edits: dict[str, Any] | None = None) -> Tensor:
    """logit(She) - logit(He) after "One day, a KIND named NAME went to the park." for each name."""
    prompts = [f"One day, a {kind} named {name} went to the park." for name in names]
    trace = stories().trace(prompts, edits=edits)
    last = trace.tokens.lengths - 1
    logits = trace.logits[torch.arange(len(names)), last]
    return logits[:, SHE] - logits[:, HE]


def half_gap(edits: dict[str, Any] | None = None) -> float:
    return float((pronouns(EIGHT, "girl", edits).mean() - pronouns(EIGHT, "boy", edits).mean()) / 2)


def test_the_pronouns_are_the_tokens_published() -> None:
    assert stories().single_token(" She") == SHE
    assert stories().single_token(" He") == HE


def test_right_pronoun_wins_for_all_ten_names() -> None:
    assert (pronouns(GIRLS, "girl") > 3.7).all()
    assert (pronouns(BOYS, "boy") < -3.7).all()


def test_mean_differences() -> None:
    assert float(pronouns(EIGHT, "girl").mean()) == pytest.approx(3.596, abs=5e-4)
    assert float(pronouns(EIGHT, "boy").mean()) == pytest.approx(-2.340, abs=5e-4)
    assert half_gap() == pytest.approx(HALF_GAP, abs=5e-4)


@cache
def changes() -> dict[str, float]:
    """Change of the half gap by zero-ablation of every head and every MLP."""
    model = stories()
    heads = [f"L{layer}H{head}" for layer in range(model.n_layers) for head in range(model.n_heads)]
    clean = half_gap()
    return {name: half_gap({name: zero()}) - clean for name in heads + [f"mlp_out.{i}" for i in range(model.n_layers)]}


@pytest.mark.parametrize("component", ABLATED)
def test_ablation_changes_the_half_gap_as_published(component: str) -> None:
    assert changes()[component] == pytest.approx(ABLATED[component], abs=6e-4)


def test_the_published_components_are_the_strongest() -> None:
    ranked = sorted(changes(), key=lambda name: changes()[name])
    assert ranked[:7] == [name for name, change in ABLATED.items() if change < 0]
    assert ranked[::-1][:3] == [name for name, change in ABLATED.items() if change > 0]


# ── the same by sweeps ───────────────────────────────────────────────────────────────────────────────


def prompts() -> list[str]:
    return [f"One day, a {kind} named {name} went to the park." for kind in ("girl", "boy") for name in EIGHT]


def test_one_sweep_over_all_prompts_gives_the_published_ranking() -> None:
    """Every head and MLP zero in every prompt: sixteen prompts of several lengths, in one replay."""
    model = stories()
    sites = [Site("z", layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)]
    sites += model.sites("mlp_out")
    replay = Replay(model, prompts())
    assert replay.why_whole is None
    assert len(set(replay.trace.tokens.lengths.tolist())) > 1
    variants = [Variant({site: zero()}, row) for site in sites for row in range(16)]
    leads = torch.empty(len(variants), dtype=torch.float64)
    read = torch.tensor([[SHE, HE]] * 16)
    for indices, logits in replay.logits(variants, read):
        leads[indices] = (logits[:, 0, 0] - logits[:, 0, 1]).double()

    def half(values: Tensor) -> Tensor:
        girls, boys = values.view(-1, 16).split(8, 1)
        return (girls.mean(1) - boys.mean(1)) / 2

    base = replay.base_logits(read)[:, 0]
    clean = half((base[:, 0] - base[:, 1]).double())
    assert float(clean) == pytest.approx(HALF_GAP, abs=5e-4)
    found = dict(zip((site.label for site in sites), (half(leads) - clean).tolist(), strict=True))
    for name, change in ABLATED.items():
        assert found[name] == pytest.approx(change, abs=6e-4), name
    ranked = sorted(found, key=found.__getitem__)
    assert ranked[:7] == [name for name, change in ABLATED.items() if change < 0]
    assert ranked[::-1][:3] == [name for name, change in ABLATED.items() if change > 0]


def test_the_task_over_pairs_has_the_published_gap_and_its_components_stand_out(tmp_path: Path) -> None:
    girls, boys = prompts()[:8], prompts()[8:]
    rows = [{"clean": g, "corrupted": b, "answer": " She", "foil": " He"} for g, b in zip(girls, boys, strict=True)]
    file = tmp_path / "pronouns.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf8")
    result = task_patching(stories(), "pronouns", file=str(file), pairs=8, part="mlp_out")
    assert result.clean_score == pytest.approx(3.596, abs=5e-4)
    assert result.corrupted_score == pytest.approx(-2.340, abs=5e-4)
    assert (result.clean_score - result.corrupted_score) / 2 == pytest.approx(HALF_GAP, abs=5e-4)
    heads = task_patching(stories(), "pronouns", file=str(file), pairs=8, direction="noise")
    published = [name for name, change in ABLATED.items() if change < 0 and name.startswith("L")]
    assert [each.label for each in heads.standing()[:3]] == published
    assert heads.level is None, "values of any pair know the answer of all"


def words(rows: int, length: int, seed: int) -> Tensor:
    """Random tokens after <s>, of the pieces that are more than a byte: with bytes among them the score is 0.87."""
    ids = torch.randint(259, 512, (rows, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = 1
    return ids


def test_l3h6_looks_at_the_previous_token() -> None:
    patterns = stories().trace(words(32, 64, 0), sites=["pattern.*"]).stack("pattern")
    scores = patterns.diagonal(-1, dim1=-2, dim2=-1).mean((1, 3))  # [layer, head]
    assert float(scores[3, 6]) == pytest.approx(0.747, abs=0.005)  # the very tokens are not published
    assert divmod(int(scores.argmax()), stories().n_heads) == (3, 6)


def test_head_types_say_the_same() -> None:
    """On the product's own random tokens, bytes among them."""
    result = head_types(stories())
    assert result.of("previous")[0].label == "L3H6"
    assert result.of("induction") == result.of("duplicate") == []
    assert max(head.score("induction").mean for head in result.heads) < 0.05


def test_there_is_no_induction_head() -> None:
    half = words(20, 101, 1)
    repeated = torch.cat([half, half[:, 1:]], 1)
    trace = stories().trace(repeated, sites=["pattern.*"])
    scores = trace.stack("pattern").diagonal(-99, dim1=-2, dim2=-1)[..., 1:].mean((1, 3))
    assert float(scores.max()) == pytest.approx(0.021, abs=0.01)
    nats = torch.nn.functional.cross_entropy(trace.logits[:, :-1].mT, repeated[:, 1:], reduction="none")
    first, second = nats[:, :100].mean(), nats[:, 100:].mean()
    assert float(second) > 0.95 * float(first)  # a repetition is not predicted
