"""The last pass of each page, within a budget."""

from types import SimpleNamespace

import torch

from fluoroscope.server.kept import Kept


def trace(cells):
    return SimpleNamespace(values={"a": torch.zeros(cells // 2), "b": torch.zeros(cells - cells // 2)})


def test_a_page_has_its_last_pass_alone():
    kept, first, second = Kept(100), trace(10), trace(10)
    kept.put("page", "r1", first)
    kept.put("page", "r2", second)
    assert kept.get("page", "r1") is None
    assert kept.get("page", "r2") is second
    assert kept.get("other", "r2") is None
    kept.drop("page")
    kept.drop("page")
    assert kept.get("page", "r2") is None


def test_the_oldest_is_given_up_first_and_the_newest_never():
    kept = Kept(100)
    for number in range(4):
        kept.put(number, "r", trace(40))
    assert [kept.get(number, "r") is not None for number in range(4)] == [False, False, True, True]
    kept.put(2, "s", trace(40))  # looked at again
    kept.put(5, "r", trace(40))
    assert [kept.get(*key) is not None for key in ((3, "r"), (2, "s"), (5, "r"))] == [False, True, True]
    kept.put(6, "r", trace(1000))
    assert kept.get(6, "r") is not None
    assert len(kept._passes) == 1
    kept.clear()
    assert kept.get(6, "r") is None
