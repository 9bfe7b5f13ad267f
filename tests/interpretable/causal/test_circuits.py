"""mlxterp's `acdc`: planted circuits are found with every metric, where there the least important nodes were kept."""

import pytest

from architectures import common
from exact import planted
from fluoroscope.analyses.circuit import circuit
from fluoroscope.errors import ArgumentError, SiteError, TokenError, UnavailableError
from fluoroscope.interpretable.causal import acdc
from fluoroscope.interpretable.causal.circuits import CircuitResult
from fluoroscope.render.text import share

IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]
NAMES = {"correct_token": 7, "incorrect_token": 11}


def sides(name):
    found = planted.circuit(name)
    prompts = found.every()
    others = prompts.roll(1, 0)
    return found, prompts.tolist(), others.tolist()


@pytest.fixture(scope="module")
def llama():
    """Grouped queries: two heads share a key and a value."""
    return acdc(common.model("llama"), [IDS[0]], [IDS[1]], 0.05, metric="logit_diff", metric_kwargs=NAMES)


@pytest.mark.parametrize("metric", ["l2", "kl", "cosine", "cross_entropy"])
def test_the_edges_of_a_planted_circuit_are_found_by_any_metric(metric):
    """There, a threshold held against a distance kept the parts that matter least (trap 4), and edges were all pairs of
    nodes, each with the weight of its sender (trap 3)."""
    found, clean, corrupted = sides("induction")
    made = acdc(found.model, clean, corrupted, 0.02, metric=metric)
    assert {(sender, receiver) for sender, receiver, _ in made.edges} == found.active()
    assert made.faithfulness == pytest.approx(1, abs=0.02)
    assert made.rest == pytest.approx(0, abs=0.02)
    assert max(made.random) < 0.9
    assert made.nodes == ["embed", "L0H0", "L1H1", "logits"]
    assert len(made.edges) == 5  # and not the six ordered pairs of these
    weights = {edge[:2]: edge[2] for edge in made.edges}
    assert min(weights.values()) > 0.3
    assert weights["L1H1", "logits"] == pytest.approx(1, abs=0.02)  # all there is goes through it
    assert made.pairs == len(clean)


def test_it_is_the_analysis_with_a_threshold_of_a_share(llama):
    model = common.model("llama")
    gap = abs(llama.clean_score - llama.corrupted_score)
    named = {"answer": "#7", "foil": "#11", "metric": "logit_diff"}
    same = circuit(model, clean=[IDS[0]], corrupted=[IDS[1]], method="acdc", threshold=0.05 * gap, **named)
    assert [edge[:2] for edge in llama.edges] == [(wire.sender, wire.receiver) for wire in same.edges]
    assert [edge[2] for edge in llama.edges] == pytest.approx([wire.value for wire in same.edges], abs=1e-4)
    assert llama.faithfulness == pytest.approx(same.faithfulness.mean, abs=1e-4)
    assert llama.rest == pytest.approx(same.rest.mean, abs=1e-4)
    assert llama.random == pytest.approx(same.random, abs=1e-4)
    assert llama.tested == same.total


def test_the_graph_has_every_end_and_every_weight(llama):
    drawn = llama.to_graph()
    assert [node["id"] for node in drawn["nodes"]] == list(llama.nodes)
    assert len(set(llama.nodes)) == len(llama.nodes)
    ids = set(llama.nodes)
    for edge in drawn["edges"]:
        assert {edge["source"], edge["target"]} <= ids
    group = common.model("llama").n_heads // common.model("llama").n_kv_heads
    assert group > 1
    shared = sum(receiver.endswith((".k", ".v")) for _, receiver, _ in llama.edges)
    assert len(drawn["edges"]) == len(llama.edges) + (group - 1) * shared
    sender, receiver, weight = next(edge for edge in llama.edges if edge[1].endswith(".q"))
    assert {"source": sender, "target": receiver[:-2], "weight": weight, "reads": "q"} in drawn["edges"]


def test_a_larger_threshold_leaves_fewer_edges(llama):
    more = acdc(common.model("llama"), [IDS[0]], [IDS[1]], 0.3, metric="logit_diff", metric_kwargs=NAMES)
    assert 0 < len(more.edges) < len(llama.edges)
    assert more.threshold == 0.3
    assert share(more.faithfulness) in more.summary()
    assert "threshold 30.0 %" in more.summary()


def test_edges_of_other_parts_are_neither_cut_nor_listed():
    model = common.model("llama")
    given = {"metric": "logit_diff", "metric_kwargs": NAMES}
    heads = acdc(model, [IDS[0]], [IDS[1]], 0.05, components=["attn"], **given)
    assert heads.components == ("attn",)
    assert not [edge for edge in heads.edges if edge[0].startswith("mlp")]
    assert not heads.random
    one = acdc(model, [IDS[0]], [IDS[1]], 0.05, components=["self_attn", "mlp"], layers=[1], **given)
    assert {edge[0] for edge in one.edges if "embed" not in edge[0]} <= {"mlp.1", *(f"L1H{n}" for n in range(9))}
    assert one.tested < heads.tested
    # Each circuit does what the model does but for what its cuts cost, at most the threshold each.
    assert one.faithfulness > 0.5
    assert "tested edges" in one.summary()


def test_a_function_of_ones_own_is_a_metric():
    found, clean, corrupted = sides("induction")

    def recovery(patched, clean_logits, corrupted_logits):
        way = (clean_logits - corrupted_logits).norm(dim=-1)
        return 1 - (patched - clean_logits).norm(dim=-1) / way

    made = acdc(found.model, clean, corrupted, 0.02, metric=recovery)
    assert made.metric_name == "recovery"
    assert {edge[:2] for edge in made.edges} == found.active()
    assert (made.clean_score, made.corrupted_score) == (pytest.approx(1), pytest.approx(0, abs=1e-5))


def test_it_is_a_result_like_any_other(llama, tmp_path):
    assert CircuitResult.from_json(llama.to_json()) == llama
    assert llama.result_type == "circuit"
    assert llama.data["faithfulness"] == llama.faithfulness
    assert llama.metadata["components"] == ("attn", "mlp")
    assert llama.to_html()
    for suffix in (".dot", ".graphml"):
        assert llama.save(tmp_path / f"circuit{suffix}").stat().st_size
    assert len(llama.network().edges) >= len(llama.views()[0].edges)


def test_refusals():
    model, pair = common.model("llama"), ([IDS[0]], [IDS[1]])
    for threshold in (0, -1, 1.5, float("nan")):
        with pytest.raises(ArgumentError, match="no share of the way"):
            acdc(model, *pair, threshold)
    for nothing in ({"components": []}, {"layers": []}):
        with pytest.raises(ArgumentError, match="nothing is tested"):
            acdc(model, *pair, **nothing)
    with pytest.raises(ArgumentError, match="sends no edge"):
        acdc(model, *pair, components=["resid_post"])
    with pytest.raises(SiteError, match="beyond the last layer"):
        acdc(model, *pair, layers=[99])
    with pytest.raises(SiteError):
        acdc(model, *pair, components=["head"])
    with pytest.raises(ArgumentError, match="tokens"):
        acdc(model, [IDS[0]], [IDS[1][:-1]])
    with pytest.raises(TokenError):
        acdc(model, *pair, metric="logit_diff", metric_kwargs={"correct_token": 10**6})
    with pytest.raises(UnavailableError, match="no graph of heads"):
        acdc(common.model("qwen3_next"), *pair)
    with pytest.raises(TypeError, match="max_iterations"):  # there, it did nothing; one pass is all there is
        acdc(model, *pair, max_iterations=10)
