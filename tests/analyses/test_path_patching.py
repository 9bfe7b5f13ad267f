import pytest

import fluoroscope
from architectures import common
from exact import planted
from fluoroscope import metrics
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.path_patching import PathPatching, path_patching
from fluoroscope.errors import ArgumentError, SiteError, UnavailableError
from fluoroscope.methods import paths, sweeps
from fluoroscope.sites import Site

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def test_the_name_movers_reach_the_logits_by_themselves(specimen):
    result = path_patching(specimen, CLEAN, OTHER, receivers=["logits"], positions=[-1])
    assert [sender.label for sender in result.top()[:3]] == ["L4H2", "L3H2", "L4H1"]
    assert "the direct path to the logits" in result.summary()
    last = {sender.site: sender.effect for sender in result.senders if sender.site.startswith("z.5.")}
    whole = head_patching(specimen, CLEAN, OTHER, direction="noise", positions=[-1])
    assert [last[f"z.5.{head}"] for head in range(8)] == pytest.approx([row[0] for row in whole.effects[5]], abs=1e-5)
    assert PathPatching.from_json(result.to_json()) == result


def test_senders_are_what_computes_before_the_receivers():
    found = common.model("llama")
    result = path_patching(found, [IDS[0]], [IDS[1]], receivers=["L1H3", "L2H1"], reads="k", answer="#7", foil="#11")
    assert result.receivers == ("k.1.1", "k.2.0")  # 4 heads share 2 keys
    assert result.readers == (("L1H2", "L1H3"), ("L2H0", "L2H1"))
    assert "the keys of L1H2 and L1H3 (one kv head), L2H0 and L2H1 (one kv head)" in result.summary()
    assert {Site.parse(sender.site).layer for sender in result.senders} == {None, 0, 1}
    sweep = sweeps.Sweep(found, [([IDS[0]], [IDS[1]])], ["embed", "z", "k", "mlp_out"], "noise")
    parts = [sweeps.Part((Site.parse(sender.site),)) for sender in result.senders]
    receivers = [Site("k", 1, 1), Site("k", 2, 0)]
    effects = paths.effects(sweep, parts, receivers, metrics.logit_diff([7], [11]))
    assert [sender.effect for sender in result.senders] == pytest.approx(effects.shares[:, 0].tolist(), abs=1e-6)
    mlp = path_patching(found, [IDS[0]], [IDS[1]], receivers=["mlp_out.1"], answer="#7", foil="#11")
    assert [
        sender.site for sender in mlp.senders if sender.site.startswith("z.1")
    ]  # the MLP reads its own block's heads
    both = path_patching(found, [IDS[0]], [IDS[1]], receivers=["mlp_out.1", "L2H0"], answer="#7", foil="#11")
    assert "mlp_out.1" not in {sender.site for sender in both.senders}  # nothing is a path to itself
    assert "mlp_out.0" in {sender.site for sender in both.senders}
    parallel = path_patching(
        common.model("gpt_neox"), [IDS[0]], [IDS[1]], receivers=["mlp_out.1"], answer="#7", foil="#11"
    )
    assert {Site.parse(sender.site).layer for sender in parallel.senders} == {None, 0}


def test_the_planted_inhibition_is_found_on_its_way():
    """L0H0 sees the repetition, L1H0 tells the queries of the name mover L2H0."""
    circuit = planted.circuit("names")
    clean, corrupted = [circuit.prompts[0]], [circuit.corrupted[0]]
    answer, foil = f"#{circuit.answers[0]}", f"#{circuit.foils[0]}"
    movers = path_patching(circuit.model, clean, corrupted, receivers=["logits"], answer=answer, foil=foil)
    assert movers.top()[0].label == "L2H0"
    told = path_patching(circuit.model, clean, corrupted, receivers=["L2H0"], answer=answer, foil=foil)
    assert told.top()[0].label == "L1H0"
    assert abs(told.top()[0].effect) > 0.5
    by_keys = path_patching(circuit.model, clean, corrupted, receivers=["L2H0"], reads="k", answer=answer, foil=foil)
    assert max(abs(sender.effect) for sender in by_keys.senders if sender.site != "embed") < 0.05
    said = next(sender.effect for sender in by_keys.senders if sender.site == "embed")
    assert said == pytest.approx(0.5, abs=1e-3)  # it stands at two keys then, of which one has the other value
    directly = next(sender.effect for sender in movers.senders if sender.site == "embed")
    assert directly == 0  # the last token is the same


def test_a_model_whose_heads_cannot_be_held_is_refused():
    with pytest.raises(UnavailableError, match=r"need z\.0, which"):
        path_patching(common.model("qwen3_next"), [IDS[0]], [IDS[1]], receivers=["logits"])


@pytest.mark.parametrize(
    ("arguments", "error", "why"),
    [
        ({"receivers": []}, ArgumentError, "no receiver was named"),
        ({"receivers": ["resid_pre.1"]}, ArgumentError, "receives nothing"),
        ({"receivers": ["L9H9"]}, SiteError, "beyond the last layer"),
        ({"receivers": ["logits", "L1H0"]}, ArgumentError, "by itself"),
    ],
)
def test_refusals(specimen, arguments, error, why):
    with pytest.raises(error, match=why):
        path_patching(specimen, CLEAN, OTHER, **arguments)
