"""The last pass of each page and the one beside it, within a budget."""

from types import SimpleNamespace

import torch

from fluoroscope.server.kept import Kept


def trace(cells):
    return SimpleNamespace(values={"a": torch.zeros(cells // 2), "b": torch.zeros(cells - cells // 2)})


def test_a_page_has_its_last_pass_and_the_one_beside_it():
    kept, passes = Kept(100), [trace(10) for _ in range(5)]
    kept.put("page", "a1", passes[0])
    kept.put("page", "b1", passes[1], beside="a1")
    kept.put("other", "a1", passes[4])
    kept.put("page", "b2", passes[2], beside="a1")  # however often one of the two is run again
    assert [kept.get("page", run) for run in ("a1", "b1", "b2")] == [passes[0], None, passes[2]]
    kept.put("page", "a2", passes[3])
    assert [kept.get("page", run) for run in ("a1", "b2", "a2")] == [None, None, passes[3]]
    kept.put("page", "a2", passes[0], beside="a2")
    assert kept.get("page", "a2") is passes[0]
    kept.drop("page")
    kept.drop("page")
    assert kept.get("page", "a2") is None
    assert kept.get("other", "a1") is passes[4]


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
