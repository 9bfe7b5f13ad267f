"""Path patching by sweeps against its definition, written out with whole runs."""

import pytest
import torch

from architectures.common import model
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import paths
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.sites import Site
from methods.path_runs import by_hand

CASES = ["gpt2", "llama", "gemma2", "qwen3", "olmo2", "gpt_neox", "mixtral", "deepseek_v3", "falcon", "bloom"]
PAIR = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
METRIC = metrics.logit_diff([7], [11])
RECEIVERS = {
    "a query and a key": [Site("q", 2, 1), Site("k", 2, 0)],
    "a value": [Site("v", 1, 0)],
    "an MLP": [Site("mlp_out", 2)],
    "the end": [Site("logits")],
}


@pytest.mark.parametrize("hold_mlps", [False, True])
@pytest.mark.parametrize("direction", ["noise", "denoise"])
@pytest.mark.parametrize("case", CASES)
def test_every_path_equals_two_whole_runs(case, direction, hold_mlps):
    """All are swept; in each direction every other sender is run by hand, so that all are in one of them."""
    found, pair = model(case), PAIR[:: 1 if direction == "noise" else -1]
    for turn, (name, receivers) in enumerate(RECEIVERS.items(), direction == "noise"):
        sweep = Sweep(found, [PAIR], paths.needed(receivers), direction)
        heads, mlps = [Site("z", layer, head) for layer, head in ((0, 1), (1, 0), (2, 2))], found.sites("mlp_out")[:2]
        senders = [*heads, *mlps, Site("embed")]
        for places in (None, (3, 7)):
            found_ = paths.effects(sweep, [Part((s,), places) for s in senders], receivers, METRIC, hold_mlps=hold_mlps)
            turn += 1
            scores = found_.scores[:, 0].tolist()
            for sender, score in [*zip(senders, scores, strict=True)][turn % 2 :: 2]:
                slow = by_hand(found, pair, sender, receivers, hold_mlps, list(places or range(8)), METRIC)
                assert score == pytest.approx(slow, abs=2e-5), (name, str(sender), places)


@pytest.mark.parametrize("case", ["gpt2", "gemma2", "qwen3_moe"])
def test_a_sender_without_a_path_has_exactly_no_effect(case):
    found = model(case)
    sweep = Sweep(found, [PAIR], ["z", "q", "mlp_out"], "noise")
    late = [Part((Site("z", layer, head),)) for layer in (1, 2) for head in range(4)]
    assert (paths.effects(sweep, late, [Site("q", 1, 0)], METRIC).shares == 0).all()
    before = [Part((Site("z", 0, head),), (0, 1, 2)) for head in range(4)]  # no token that differs is seen there
    assert (paths.effects(sweep, before, [Site("q", 2, 0)], METRIC).shares == 0).all()
    elsewhere = [Part((Site("z", 0, head),), (4,)) for head in range(4)]  # a token that the end is not
    assert (paths.effects(sweep, elsewhere, [Site("logits")], METRIC).shares == 0).all()


@pytest.mark.parametrize("case", ["gpt2", "gemma2", "gpt_neox"])
def test_behind_the_last_heads_the_direct_path_is_all_there_is(case):
    found = model(case)
    sweep = Sweep(found, [PAIR], ["z"], "noise")
    last = [Part((Site("z", 2, head),)) for head in range(found.n_heads)]
    direct = paths.effects(sweep, last, [Site("logits")], METRIC).shares
    assert torch.allclose(direct, sweep.effects(last, METRIC).shares, atol=1e-5)
    assert direct.abs().min() > 1e-4


@pytest.mark.parametrize(
    ("receivers", "why"),
    [
        ([], "nothing receives"),
        ([Site("z", 1, 0)], "z.1.0 receives nothing"),
        ([Site("logits"), Site("q", 1, 0)], "by itself"),
    ],
)
def test_refusals(receivers, why):
    sweep = Sweep(model("gpt2"), [PAIR], ["z", "q"])
    with pytest.raises(ArgumentError, match=why):
        paths.effects(sweep, [Part((Site("z", 0, 0),))], receivers, METRIC)
