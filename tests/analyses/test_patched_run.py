"""One patch: against a plain run with the values replaced by hand, and against the sweeps that make it too."""

import pytest

from architectures import common
from fluoroscope.analyses.activation_patching import activation_patching
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.patched_run import patched_run
from fluoroscope.errors import ArgumentError, SiteError, TokenError
from fluoroscope.interventions import at, replace

IDS = [[5, 3, 9, 7, 5, 3, 22, 41]], [[5, 3, 9, 11, 5, 3, 22, 60]]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2"])
def test_a_patch_is_a_run_with_these_values(case, direction):
    model = common.model(case)
    found = patched_run(
        model, *IDS, sites=["z.1.0", "mlp_out.0"], positions=[4, -3], answer="#7", foil="#11", direction=direction
    )
    base, donor = reversed(IDS) if direction == "denoise" else IDS
    given = model.trace(donor, sites=["z.1", "mlp_out.0"])
    edits = {
        "z.1.0": at(replace(given["z.1.0"][:, [4, 5]]), [4, 5]),
        "mlp_out.0": at(replace(given["mlp_out.0"][:, [4, 5]]), [4, 5]),
    }
    logits = [model.trace(prompt, edits=edit).logits[0, -1].double() for prompt, edit in ((base, {}), (base, edits))]
    before, after = (float(row[7] - row[11]) for row in logits)
    assert (found.before, found.after) == (pytest.approx(before, abs=1e-4), pytest.approx(after, abs=1e-4))
    assert found.positions == (4, 5)
    shares = [row.softmax(-1) for row in (*logits, model.trace(donor).logits[0, -1].double())]
    assert {token.id for token in found.tokens} == {i for row in shares for i in row.topk(4).indices.tolist()}
    for token in found.tokens:
        told = (token.before, token.after, token.source)
        assert told == tuple(pytest.approx(float(row[token.id]), abs=1e-5) for row in shares)
    assert found.tokens[0].after == max(token.after for token in found.tokens)
    assert {view.kind for view in found.views()} == {"bars", "table"}


def test_it_is_one_cell_of_a_sweep():
    model = common.model("llama")
    about = {"answer": "#7", "foil": "#11"}
    heads = head_patching(model, *IDS, **about)
    one = patched_run(model, *IDS, sites=["z.1.2"], **about)
    assert one.effect == pytest.approx(heads.effects[1][2], abs=1e-4)
    assert "L1H2 restores" in one.summary()
    stream = activation_patching(model, *IDS, **about)
    one = patched_run(model, *IDS, sites=["resid_pre.1"], positions=[3], **about)
    assert one.effect == pytest.approx(stream.effects[1][3], abs=1e-4)
    everything = patched_run(model, *IDS, sites=["resid_pre.0"], **about)
    assert everything.effect == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"sites": []}, ArgumentError, "nothing is patched"),
        ({"sites": ["logits"]}, ArgumentError, "cannot be patched"),
        ({"sites": ["head_out.1.0"]}, ArgumentError, "write z"),
        ({"sites": ["z.9.0"]}, SiteError, "beyond the last layer"),
        ({"sites": ["z.1"], "positions": []}, ArgumentError, "names no token"),
        ({"sites": ["z.1"], "positions": [8]}, TokenError, "8"),
    ],
)
def test_refusals(more, error, said):
    with pytest.raises(error, match=said):
        patched_run(common.model("llama"), *IDS, **more)
