"""The last passes of each page and the one beside them, within a budget."""

from types import SimpleNamespace

import torch

from fluoroscope.server.kept import PASSES, Kept


def trace(cells):
    return SimpleNamespace(values={"a": torch.zeros(cells // 2), "b": torch.zeros(cells - cells // 2)})


def test_a_page_has_its_last_passes_and_the_one_beside_them():
    kept, passes = Kept(10_000), [trace(10) for _ in range(PASSES + 2)]
    kept.put("other", "r0", passes[0])
    for number, each in enumerate(passes[:PASSES]):
        kept.put("page", f"r{number}", each)
    assert all(kept.get("page", f"r{number}") is each for number, each in enumerate(passes[:PASSES]))
    kept.put("page", "new", passes[-1], beside="r0")  # r0 is looked at: the next one goes
    assert [kept.get("page", run) is not None for run in ("r0", "r1", "r2", "new")] == [True, False, True, True]
    kept.put("page", "new", passes[-2])  # the same run again takes no other's place
    assert kept.get("page", "new") is passes[-2]
    assert kept.get("page", "r2") is not None
    kept.drop("page")
    kept.drop("page")
    assert kept.get("page", "new") is None
    assert kept.get("other", "r0") is passes[0]


def test_the_oldest_is_given_up_first_and_the_newest_never():
    kept = Kept(100)
    for number in range(4):
        kept.put(number, "r", trace(40))
    assert [kept.get(number, "r") is not None for number in range(4)] == [False, False, True, True]
    kept.put(2, "r", trace(40))  # looked at again
    kept.put(5, "r", trace(40))
    assert [kept.get(number, "r") is not None for number in (3, 2, 5)] == [False, True, True]
    kept.put(6, "r", trace(1000))
    assert kept.get(6, "r") is not None
    assert len(kept._passes) == 1
    kept.clear()
    assert kept.get(6, "r") is None
