"""Hooks that a generation takes away: back behind it and for whoever runs meanwhile, and no value depends on them."""

import threading

import pytest
import torch

from architectures.common import model
from architectures.zoo import CASES
from fluoroscope.interventions import scale

IDS = [5, 3, 9, 7, 5, 3, 22, 41]


def hooked(found):
    """How many hooks each block has."""
    return [
        sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in block.modules())
        for block in found.blocks
    ]


@pytest.mark.parametrize("case", CASES)
def test_a_generation_says_the_same_with_fewer_hooks(case):
    """Watched by a run of its own at every step, which puts all hooks back, it says what it says unwatched."""
    found = model(case)
    edits = {"resid_post.1": scale(0.9)} if ("resid_post", 1) not in found.unavailable else {}
    before = hooked(found)
    seen: list[list[int]] = []
    options = {"max_new_tokens": 5, "stop_tokens": [], "edits": edits}
    alone = found.generate(IDS, **options, callback=lambda *_: seen.append(hooked(found)))
    assert hooked(found) == before
    assert seen[0] == before  # the pass over the prompt
    # Of one OPT the final norm is its last block's.
    norm = found.hf.get_submodule(found.architecture.final_norm or "")
    last = [norm in block.modules() for block in found.blocks]
    assert [bool(count) for count in seen[-1]] == [
        (bool(edits) and layer == 1) or own for layer, own in enumerate(last)
    ]

    def look(*_: object) -> None:
        assert len(found.trace(IDS, sites=["resid_pre.0"]).sites) == 1

    watched = found.generate(IDS, **options, callback=look)
    assert watched.ids == alone.ids
    assert watched.log_probs == alone.log_probs


@pytest.mark.parametrize("site", [None, "final_norm", "pos_embed", "logits"])
def test_what_lies_before_and_behind_the_blocks_is_left_alone_too_unless_it_is_looked_into(site):
    found = model("gpt2")
    outside = [found.hf.get_submodule(name) for name in ("transformer.wte", "transformer.wpe", "transformer.ln_f")]
    counts: list[int] = []

    def look(*_: object) -> None:
        counts.append(sum(len(module._forward_hooks) for module in outside))

    edits = {} if site is None else {site: scale(1.5)}
    options = {"max_new_tokens": 4, "stop_tokens": [], "edits": edits}
    alone = found.generate(IDS, **options, callback=look)
    assert counts == [3, *([3] * 3 if site else [0] * 3)]
    assert alone.ids == found.generate(IDS, **options, cache=False).ids
    look()
    assert counts[-1] == 3


@pytest.mark.parametrize(("site", "hooks"), [("resid_pre.2", 1), ("resid_post.2", 1), ("mlp_out.2", None)])
def test_of_a_block_only_the_part_that_is_looked_into_keeps_its_hooks(site, hooks):
    found = model("llama")
    counts: list[list[int]] = []
    options = {"max_new_tokens": 3, "stop_tokens": [], "edits": {site: scale(0.5)}}
    alone = found.generate(IDS, **options, callback=lambda *_: counts.append(hooked(found)))
    whole = counts[0]
    assert counts[-1] == [0, 0, hooks or whole[2], *[0] * (len(whole) - 3)]
    assert alone.ids == found.generate(IDS, **options, cache=False).ids
    assert hooked(found) == whole


def test_other_threads_see_all_that_they_ask_for():
    found = model("llama")
    expected = found.trace(IDS, sites=["resid_post.*"]).stack("resid_post")
    wrong: list[object] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            try:
                if not torch.equal(found.trace(IDS, sites=["resid_post.*"]).stack("resid_post"), expected):
                    wrong.append("values")
            except Exception as error:
                wrong.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    said = [found.generate(IDS, max_new_tokens=12, stop_tokens=[]).ids for _ in range(8)]
    stop.set()
    thread.join()
    assert wrong == []
    assert all(ids == said[0] for ids in said)


def test_hooks_of_others_keep_their_place():
    """A block with somebody else's hook keeps ours, which came first, so both see what they saw."""
    found = model("gpt2")
    seen: list[int] = []
    handle = found.blocks[2].register_forward_hook(lambda _m, _a, _o: seen.append(1))
    kept: list[list[int]] = []
    try:
        found.generate(IDS, max_new_tokens=3, stop_tokens=[], callback=lambda *_: kept.append(hooked(found)))
    finally:
        handle.remove()
    assert len(seen) == 3
    assert kept[-1][:2] == [0, 0]
    assert kept[-1][2] == hooked(found)[2] + 1


def test_an_error_and_an_end_leave_all_hooks(monkeypatch):
    found = model("gpt2")
    before = hooked(found)

    def breaks(step, *_):
        if step == 2:
            raise RuntimeError("own")

    with pytest.raises(RuntimeError, match="own"):
        found.generate(IDS, max_new_tokens=6, stop_tokens=[], callback=breaks)
    assert hooked(found) == before
    assert len(found.plugs.handles) >= sum(before)
