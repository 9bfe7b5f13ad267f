"""Patches of one prompt's values into another against plain hooks on Hugging Face's own modules."""

import pytest
import torch

import fluoroscope
from architectures.common import model, relative
from architectures.zoo import build
from fluoroscope import metrics
from fluoroscope.causal_trace import CausalTrace
from fluoroscope.errors import ArgumentError, EditError, SiteError, TokenError, UnavailableError
from fluoroscope.interventions import at, replace

CLEAN = "When Mary and John went to the store, John gave a drink to"
OTHER = "When Mary and John went to the store, Mary gave a drink to"
IDS = [5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]


@pytest.fixture(scope="module")
def specimen():
    return fluoroscope.load()


def hooked(hf, base, donor, path, change):
    """Logits of `base` where the output of a module is `change`d towards that of `donor`, by two plain hooks."""
    module, kept = hf.get_submodule(path), []
    handle = module.register_forward_hook(lambda _m, _a, out: kept.append(out))
    with torch.no_grad():
        hf(torch.tensor([donor]))
    handle.remove()
    handle = module.register_forward_hook(lambda _m, _a, out: change(out, kept[0]))
    with torch.no_grad():
        logits = hf(torch.tensor([base])).logits
    handle.remove()
    return logits


def whole(out, new):
    return (new[0], *out[1:]) if isinstance(out, tuple) else new


def at_tokens(places):
    def change(out, new):
        mine, other = (each[0] if isinstance(each, tuple) else each for each in (out, new))
        mine = mine.clone()
        mine[:, places] = other[:, places]
        return (mine, *out[1:]) if isinstance(out, tuple) else mine

    return change


PATHS = {"attn_out.1": "self_attn", "mlp_out.1": "mlp", "resid_post.1": ""}


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("site", list(PATHS))
def test_it_is_what_plain_hooks_on_the_modules_do(site, direction):
    hf, found = build("llama").eval(), model("llama")
    base, donor = IDS[::-1] if direction == "denoise" else IDS
    path = f"model.layers.1.{PATHS[site]}".rstrip(".")
    for places, change in ((None, whole), ([3, -1], at_tokens([3, 7]))):
        ct = CausalTrace(found, [IDS[0]], [IDS[1]], direction=direction).patch(site, places)
        assert relative(ct.logits, hooked(hf, base, donor, path, change)) < 1e-5
    with torch.no_grad():
        assert relative(ct.clean_logits, hf(torch.tensor([IDS[0]])).logits) < 1e-5
        assert relative(ct.corrupted_logits, hf(torch.tensor([IDS[1]])).logits) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "qwen3_moe", "bloom", "falcon-7b", "gpt_neox"])
def test_patches_of_any_kind_act_together_as_in_one_edited_run(case):
    found = model(case)
    places = {"L0H1": [3], "q.2.1": None, "mlp_out.0": [-1], "pattern.1": [4, 7], "v.1.0": [3], "neurons.1": None}
    if case == "qwen3_moe":
        del places["neurons.1"]
    ct = CausalTrace(found, [IDS[0]], [IDS[1]])
    for site, positions in places.items():
        assert ct.patch(site, positions) is ct
    clean = found.trace([IDS[0]], sites=[found.site(site).whole for site in places])
    edits = {}
    for site, positions in places.items():
        value, kind = clean[site], found.site(site).kind
        axis = kind.position_axis
        if found.site(site).unit is not None and kind.unit_axis < axis:
            axis -= 1
        slots = range(8) if positions is None else [place % 8 for place in positions]
        edits[site] = at(replace(value.index_select(axis, torch.tensor(list(slots)))), positions)
    assert relative(ct.logits, found.trace([IDS[1]], edits=edits).logits) < 1e-5


@pytest.mark.parametrize("case", ["gpt2", "olmo2", "bloom"])
def test_the_whole_stream_restores_all_of_it_at_every_layer_and_what_is_the_same_nothing(case):
    found = model(case)
    for layer in range(found.n_layers):
        ct = CausalTrace(found, [IDS[0]], [IDS[1]]).patch(f"resid_post.{layer}")
        assert relative(ct.logits, ct.clean_logits) < 1e-5
        assert ct.metric(answer=7, foil=11).share == pytest.approx(1, abs=1e-3)
        same = CausalTrace(found, [IDS[0]], [IDS[1]]).patch(f"resid_post.{layer}", [0, 1, 2])
        assert torch.allclose(same.logits, same.corrupted_logits, atol=1e-5 if case == "bloom" else 0)


def test_a_metric_says_the_direction_and_both_ends(specimen):
    ct = CausalTrace(specimen, CLEAN, OTHER).patch("L4H2", -1)
    assert repr(ct) == "CausalTrace(denoise: clean values of L4H2 at 13 into the corrupted prompt)"
    effect = ct.metric("logit_diff", answer=" Mary", foil=" John")
    value = specimen.trace(CLEAN, sites=["z.4"])["L4H2"][:, -1:]
    mary, john = (specimen.single_token(name) for name in (" Mary", " John"))
    runs = [
        specimen.trace(OTHER, edits={"L4H2": at(replace(value), -1)}), specimen.trace(CLEAN), specimen.trace(OTHER)
    ]  # fmt: skip
    score, clean, corrupted = (float(run.logits[0, -1, mary] - run.logits[0, -1, john]) for run in runs)
    assert (effect.score, effect.clean, effect.corrupted) == pytest.approx((score, clean, corrupted), abs=1e-4)
    assert effect.direction == "denoise"
    assert effect.share == pytest.approx((score - corrupted) / (clean - corrupted), abs=1e-4)
    by_function = ct.metric(lambda logits: logits[:, mary] - logits[:, john])
    assert by_function.score == pytest.approx(effect.score, abs=1e-5)
    assert ct.metric(metrics.logit_diff(mary, john)).score == pytest.approx(effect.score, abs=1e-5)
    assert ct.metric() == effect  # the two prompts' own answers
    noise = CausalTrace(specimen, CLEAN, OTHER, direction="noise").patch("resid_post.5")
    assert "corrupted values of resid_post.5 at all tokens into the clean prompt" in repr(noise)
    assert noise.metric("kl").share == pytest.approx(1, abs=1e-4)
    earlier = ct.metric("logit", answer=" gave", position=9)
    assert earlier.score == earlier.corrupted == pytest.approx(
        float(specimen.trace(OTHER).logits[0, 9, specimen.single_token(" gave")]), abs=1e-4
    )  # fmt: skip


def test_other_peoples_names_are_the_same_patch(specimen):
    ours = CausalTrace(specimen, CLEAN, OTHER).patch("mlp_out.1").logits
    for name in ("blocks.1.hook_mlp_out", "transformer.h.1.mlp", "MLP L1"):
        assert torch.equal(CausalTrace(specimen, CLEAN, OTHER).patch(name).logits, ours)
    ct = CausalTrace(specimen, CLEAN, OTHER)
    assert torch.equal(ct.value("transformer.h.1.mlp"), specimen.trace(CLEAN, sites=["mlp_out.1"])["mlp_out.1"])
    ct.patch("L1H1")  # looking at a value ends nothing


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("L1H2", None), ("L1H2", [3])),
        (("L1H2", [3, 4]), ("z.1", [-10])),
        (("resid_post.1", [0]), ("resid_pre.2", None)),
        (("mlp_out.0", -1), ("mlp_out.0", 13)),
    ],
)
def test_the_same_value_twice_is_a_conflict(specimen, first, second):
    ct = CausalTrace(specimen, CLEAN, OTHER).patch(*first)
    with pytest.raises(EditError, match="is patched already, as"):
        ct.patch(*second)
    ct.patch("L1H3", [3]).patch("mlp_out.0", [5])  # other units and tokens are none


@pytest.mark.parametrize("read", ["logits", "clean_logits", "metric"])
def test_what_was_read_is_not_patched_any_more(specimen, read):
    ct = CausalTrace(specimen, CLEAN, OTHER).patch("L1H2")
    value = getattr(ct, read)
    value() if callable(value) else value
    with pytest.raises(EditError, match=r"was read already.* Make another CausalTrace"):
        ct.patch("L1H3")


@pytest.mark.parametrize(
    ("site", "positions", "error", "why"),
    [
        ("L9H0", None, SiteError, "beyond the last layer"),
        ("attn.3", None, SiteError, "names no site"),
        ("head_out.1", None, EditError, "write z of that head"),
        ("logits", None, EditError, "resid_post of the last block"),
        ("L1H1", 14, TokenError, "no token 14"),
        ("L1H1", [], EditError, "names no token"),
    ],
)
def test_what_cannot_be_patched(specimen, site, positions, error, why):
    with pytest.raises(error, match=why):
        CausalTrace(specimen, CLEAN, OTHER).patch(site, positions)
    with pytest.raises(UnavailableError, match="not available"):
        CausalTrace(model("gpt_neox"), [IDS[0]], [IDS[1]]).patch("resid_mid.1")


def test_refusals(specimen):
    with pytest.raises(ArgumentError, match="14 and 6 tokens"):
        CausalTrace(specimen, CLEAN, "When Mary and John went to")
    with pytest.raises(ArgumentError, match="same tokens"):
        CausalTrace(specimen, CLEAN, CLEAN)
    with pytest.raises(ArgumentError, match="2 prompts were given"):
        CausalTrace(specimen, [CLEAN, CLEAN], OTHER)
    with pytest.raises(ArgumentError, match="unknown direction"):
        CausalTrace(specimen, CLEAN, OTHER, direction="clean")
    with pytest.raises(EditError, match="nothing was patched"):
        _ = CausalTrace(specimen, CLEAN, OTHER).logits
    ct = CausalTrace(specimen, CLEAN, OTHER).patch("L1H1")
    with pytest.raises(ArgumentError, match="takes no answer"):
        ct.metric(lambda logits: logits[:, 0], answer=" Mary")
    with pytest.raises(ArgumentError, match="gave float for 3 rows"):
        ct.metric(lambda logits: 1.0)
    with pytest.raises(ArgumentError, match="unknown metric"):
        ct.metric("logit_dif")
    with pytest.raises(TokenError, match="is 2 tokens"):
        ct.metric(answer=" Mary John")


def chat(word):
    texts = (("user", f"The password is {word}."), ("assistant", "Thank you."), ("user", "What is it?"))
    return [{"role": role, "content": text} for role, text in texts]


def test_a_turn_of_two_chats_is_patched_with_its_template(specimen):
    clean, corrupted = chat("red"), chat("blue")
    pieces = "".join(specimen.tokens(clean).pieces[0])
    assert pieces.startswith("User: The password is red.\nAssistant: Thank you.\nUser: What")
    shares, covered = [], []
    for turn in range(3):
        trace = CausalTrace(specimen, clean, corrupted).patch("resid_pre.0", turn=turn)
        spans = specimen.tokens(clean).turns[0][turn]
        slots = list(range(spans.full_start, spans.full_end))
        same = CausalTrace(specimen, clean, corrupted).patch("resid_pre.0", slots)
        assert torch.equal(trace.logits, same.logits)
        shares.append(trace.metric("l2").share)
        covered += slots
    assert covered == list(range(len(covered)))  # turns tile the chat up to what the answer begins with
    assert shares == pytest.approx([1, 0, 0], abs=1e-4)  # only the first differs
    last = CausalTrace(specimen, clean, corrupted).patch("resid_pre.0", turn=-3)
    assert last.metric("l2").share == pytest.approx(shares[0])


def test_a_piece_of_the_clean_prompt_names_its_tokens(specimen):
    trace = CausalTrace(specimen, CLEAN, OTHER).patch("mlp_out.0", text=", John")
    assert torch.equal(trace.logits, CausalTrace(specimen, CLEAN, OTHER).patch("mlp_out.0", [8, 9]).logits)


def test_refusals_of_tokens_by_name(specimen):
    trace = CausalTrace(specimen, chat("red"), chat("blue"))
    with pytest.raises(ArgumentError, match="no turn 3"):
        trace.patch("resid_pre.0", turn=3)
    with pytest.raises(ArgumentError, match="more than one way"):
        trace.patch("resid_pre.0", 0, turn=0)
    with pytest.raises(ArgumentError, match="no chats"):
        CausalTrace(specimen, CLEAN, OTHER).patch("resid_pre.0", turn=0)
    with pytest.raises(TokenError, match="more than once"):
        CausalTrace(specimen, CLEAN, OTHER).patch("resid_pre.0", text=" John")
    longer = [{"role": "user", "content": "It is red, red."}, {"role": "user", "content": "What is it?"}]
    other = [{"role": "user", "content": "It is red."}, {"role": "user", "content": "What is it, red?"}]
    sides = [len(specimen.tokens(each).rows[0]) for each in (longer, other)]
    assert sides[0] == sides[1]
    with pytest.raises(ArgumentError, match="not at the same tokens"):
        CausalTrace(specimen, longer, other).patch("resid_pre.0", turn=0)
