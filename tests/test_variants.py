"""What of an edited copy is computed again: nothing before the first value that changes."""

import pytest
import torch

from architectures.common import ids, model
from fluoroscope.interventions import add, at, replace, scale, zero
from fluoroscope.replay import Replay
from fluoroscope.rows import Patch, Span
from fluoroscope.sites import Site
from fluoroscope.variants import Plan, Planner, Variant

CHANGED = 9
"""The first token that differs between the two prompts."""


@pytest.fixture(scope="module")
def replay() -> Replay:
    one, other = ids(1)[0], [*ids(1)[0][:CHANGED], *ids(1, seed=1)[0][CHANGED:]]
    return Replay(model("llama"), [one, other], sites=["resid_post.*", "z.*"])


def planned(replay: Replay, variant: Variant, last: int = 12) -> Plan:
    return Planner(replay.model, replay.trace.tokens, replay.trace.values, [last, last]).plan(0, variant)


def donor(replay: Replay, site: str) -> torch.Tensor:
    return replay.trace[site][1:]


def test_the_first_token_that_differs_is_the_first_that_is_computed(replay: Replay) -> None:
    plan = planned(replay, Variant({"resid_post.0": replace(donor(replay, "resid_post.0"))}))
    assert plan.span == Span(0, 1, CHANGED, 12)  # of block 0 nothing is computed: its output is what is edited
    assert plan.edits[0][1] == tuple(range(CHANGED, 13))


def test_a_function_is_shown_the_tokens_before_the_first_that_it_changes(replay: Replay) -> None:
    """In the order in which they were named."""
    slots = [11, 3, 12]
    plan = planned(replay, Variant({"z.1.2": at(replace(donor(replay, "z.1")[:, slots, 2]), slots)}))
    edit, kept = plan.edits[0]
    assert kept == (11, 12)
    value = replay.trace["z.1"][:1, [11, 12], 2]
    assert torch.equal(edit.function(value), donor(replay, "z.1")[:, [11, 12], 2])


def test_what_changes_nothing_is_dropped_as_long_as_nothing_has_changed(replay: Replay) -> None:
    mine = replace(replay.trace["z.0"][:1])
    assert planned(replay, Variant({"z.0": mine})).span is None
    before = at(replace(donor(replay, "resid_post.0")[:, :CHANGED]), slice(CHANGED))
    assert planned(replay, Variant({"resid_post.0": before})).span is None
    plan = planned(replay, Variant({"z.0": mine, "z.2.1": at(zero(), 4)}))
    assert plan.span == Span(0, 2, 4, 12)
    assert len(plan.edits) == 1
    plan = planned(replay, Variant({"resid_pre.0": at(add(1.0), 5), "z.0": mine}))  # by then it is another run
    assert plan.span == Span(0, 0, 0, 12)
    assert len(plan.edits) == 2


def test_a_patch_of_a_unit_of_one_number_begins_where_it_differs() -> None:
    one, other = ids(1)[0], [*ids(1)[0][:CHANGED], *ids(1, seed=1)[0][CHANGED:]]
    neurons = Replay(model("llama"), [one, other], sites=["neurons.*"])
    value = donor(neurons, "neurons.1")[0, :, 5]
    plan = planned(neurons, Variant(patches=[Patch(Site("neurons", 1, 5), tuple(range(13)), value)]))
    assert plan.span == Span(0, 1, CHANGED, 12)
    own = neurons.trace["neurons.1"][0, :, 5]
    assert planned(neurons, Variant(patches=[Patch(Site("neurons", 1, 5), (2, 3), own[2:4])])).span is None


def test_what_is_behind_the_last_token_that_is_read_is_dropped(replay: Replay) -> None:
    assert planned(replay, Variant({"z.1": at(scale(2), 8)}), last=7).span is None
    plan = planned(replay, Variant({"z.1": at(scale(2), [6, 8])}), last=7)
    assert plan.span == Span(0, 1, 6, 8)  # the function is still shown both
    plan = planned(replay, Variant({"pattern.1": at(scale(2), 3)}), last=7)
    assert plan.span == Span(0, 1, 3, 12)  # which may look ahead


def test_the_earliest_block_and_token_of_all_edits_count(replay: Replay) -> None:
    edits = {"mlp_out.2": at(zero(), 2), "z.1.0": at(zero(), 6), "resid_post.2": at(zero(), -1)}
    plan = planned(replay, Variant(edits, prompt=1))
    assert plan.span == Span(1, 1, 2, 12)
    assert [str(edit.site) for edit, _ in plan.edits] == ["z.1.0", "mlp_out.2", "resid_pre.3"]
