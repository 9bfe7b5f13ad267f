"""Copies made in the pass of their base run against the same copies made of a run that is there."""

from collections.abc import Sequence

import pytest
import torch

from architectures.common import model, relative
from architectures.zoo import CASES, build
from fluoroscope import replay, together
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.errors import ArgumentError, Cancelled
from fluoroscope.interventions import scale
from fluoroscope.loading import load
from fluoroscope.model import Model
from fluoroscope.progress import listening
from fluoroscope.replay import Replay, why_whole
from fluoroscope.sites import Site
from fluoroscope.together import LENT, Loan

ROWS = [[5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60], [8, 1, 2, 4, 90], [8, 1, 3, 4, 91]]
"""Two pairs of prompts; the second is padded."""


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zoo's models are narrower than those for which one pass is quicker."""
    monkeypatch.setattr(together, "NARROWEST", 1)


def lent(found: Model) -> list[Site]:
    """Whole sites and units of the first and the last block, at every site that can be lent."""
    sites: list[Site] = []
    for offered in filter(None, (found.sites(name) for name in LENT)):
        for site in (offered[0], offered[-1]):
            sites += [site, *([Site(site.name, site.layer, 1)] if site.kind.unit else [])]
    return sites


def loans(found: Model, sites: Sequence[Site]) -> list[Loan]:
    """At the end, in the middle and at several tokens of either pair."""
    tokens = found.tokens(ROWS)
    places = [(0, [-1]), (1, [3, 4]), (2, [2, -1]), (3, [3])]
    return [Loan(row, row ^ 1, (site,), tuple(tokens.slots(row, where))) for site in sites for row, where in places]


def apart(found: Model, wanted: Sequence[Loan], sites: Sequence[Site]) -> tuple[Replay, torch.Tensor]:
    """The base run, and the logits of the copies one by one."""
    two = Replay(found, ROWS, sites)
    rows = [next(two.logits([two.variant(loan)]))[1][0] for loan in wanted]
    return two, torch.stack(rows)


@pytest.mark.parametrize("case", sorted(CASES))
def test_every_loan_is_the_patch_that_it_stands_for(case: str) -> None:
    found = model(case)
    sites = lent(found)
    wanted = loans(found, sites)
    wanted.append(Loan(0, 1, (Site("mlp_out", 0), *sites[-1:]), (4, 7)))  # in two blocks at once
    one = Replay(found, ROWS, sites, loans=wanted)
    if why_whole(found):
        assert one.lent is None
        return
    two, expected = apart(found, wanted, sites)
    mine = one.lent_logits()
    assert mine is not None
    assert relative(mine, expected) < 1e-5
    assert one.trace.values.keys() == two.trace.values.keys()
    for site, value in two.trace.values.items():
        kept, mask = one.trace.values[site], two.trace.tokens.mask
        real = [each.movedim(site.kind.position_axis, 1)[mask] for each in (kept, value)]
        assert relative(*real) < 1e-5, site
    assert relative(one.base_logits(), two.base_logits()) < 1e-5
    again = torch.stack([next(one.logits([one.variant(loan)]))[1][0] for loan in wanted[::5]])
    assert relative(again, expected[::5]) < 1e-5  # the run that is kept can be copied on


@torch.no_grad()
def test_what_changes_nothing_is_the_run_itself_to_the_last_bit() -> None:
    found = load(build("llama"))
    for name, parameter in found.hf.named_parameters():
        if ".1.self_attn.v_proj" in name:
            parameter.zero_()  # no head of this block says anything
    sites = [Site("z", layer, head) for layer in (0, 1, 2) for head in (0, 3)]
    wanted = [Loan(0, 1, (site,), (7,)) for site in sites]
    wanted += [Loan(0, 1, (sites[0],), ()), Loan(1, 0, (Site("mlp_out", 0),), (2,))]  # at no token, and at one alike
    one = Replay(found, ROWS, ["z.*", "mlp_out.*"], loans=wanted)
    assert one.lent is not None
    ends = one.trace.values[Site("resid_post", found.n_layers - 1)][:, -1]
    same = [torch.equal(row[0], ends[loan.prompt]) for row, loan in zip(one.lent, wanted, strict=True)]
    assert same == [False, False, True, True, False, False, True, True]


def test_only_where_it_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    found = model("gpt2")
    wanted = [Loan(0, 1, (Site("z", 0, 1),), (7,))]

    def made(chosen: Sequence[Loan] = wanted, **settings: object) -> bool:
        return Replay(found, ROWS, ["z.*", "k.*"], loans=chosen, **settings).lent is not None  # type: ignore[arg-type]

    assert made()
    assert not made([])
    assert not made([Loan(0, 1, (Site("k", 0, 1),), (7,))])
    assert not made(precision="bfloat16")
    assert not made(budget=4096)
    assert not made(edits=[{"z.0": scale(2)}, {}, {}, {}])
    assert not made(wanted * (together.MOST - 31))
    monkeypatch.setattr(together, "NARROWEST", found.d_model + 1)
    assert not made()


def test_a_model_whose_pass_takes_no_copies_is_swept_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found = model("gpt2-untied")
    clean, corrupted = ROWS[:2]
    asked = {"answer": "#7", "foil": "#11", "positions": [-1]}
    joined = head_patching(found, clean, corrupted, **asked)
    assert replay._JOINS[found]
    del replay._JOINS[found]

    def fails(*_: object) -> None:
        raise RuntimeError("this block takes no rows")

    monkeypatch.setattr(together.Together, "_join", fails)
    swept = head_patching(found, clean, corrupted, **asked)
    assert not replay._JOINS[found]
    del replay._JOINS[found]
    one, two = (torch.tensor(result.scores) for result in (joined, swept))
    assert relative(one, two) < 1e-5
    assert not torch.equal(one, two)  # it was one pass, which sums in another order


def test_a_budget_too_small_is_refused_before_anything_runs() -> None:
    with pytest.raises(ArgumentError, match="budget"):
        head_patching(model("gpt2"), *ROWS[:2], answer="#7", foil="#11", positions=[-1], budget=0)


@pytest.mark.parametrize("blocks", range(1, 20, 3))
def test_a_cancelled_pass_leaves_the_model_as_it_was(blocks: int) -> None:
    """Wherever it is cancelled: in one of the trials, in the base run, or behind it."""
    found = load(build("llama"))
    before = found.trace([ROWS[0]]).logits
    wanted = loans(found, lent(found))
    seen: list[str] = []
    with listening(lambda label, *_: len(seen) < blocks and seen.append(label) is None), pytest.raises(Cancelled):
        Replay(found, ROWS, lent(found), loans=wanted)
    assert torch.equal(found.trace([ROWS[0]]).logits, before)
    again = Replay(found, ROWS, lent(found), loans=wanted)
    assert again.why_whole is None
    assert again.lent is not None
