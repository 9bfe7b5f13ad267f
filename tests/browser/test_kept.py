"""Kept runs: what the command line and Python kept is shown without computing, what the page keeps is theirs too."""

import re

from playwright.sync_api import expect

import tiny
from browser.lab import plain
from browser.test_hostile import OWN, check
from fluoroscope import registry
from fluoroscope.render.text import prose
from hostile import SHORT


def test_kept_runs_are_listed_linked_shown_and_added_to(open_lab, store, tiny_model):
    result = registry.run("next_token", tiny_model, prompt=tiny.PROMPT)
    pieces = [each.model_copy(update={"piece": text}) for each, text in zip(result.predictions, SHORT, strict=False)]
    evil = '<img src=x onerror="window.owned=1">'
    recipe = result.recipe.model_copy(update={"model": evil})
    hostile = store.keep(result.model_copy(update={"predictions": tuple(pieces), "recipe": recipe}))
    plainly = store.keep(result)
    lens = store.keep(registry.run("logit_lens", tiny_model, prompt=tiny.PROMPT))

    lab = open_lab(f"#r={plainly.short}")  # a permalink alone: nothing is asked of the model
    page, panel = lab.page, lab.page.locator("#kept")
    expect(panel.locator(".summary")).to_be_in_viewport()
    assert plain(panel.locator(".summary").inner_text()) == prose(result.summary())
    assert page.locator("#next").get_attribute("data-status") == "empty"
    chosen = panel.locator("tbody button[aria-pressed=true]")
    assert chosen.inner_text() == plainly.short
    assert lab.numbers("kept")["position"] == result.position
    panel.locator("[type=search]").fill(f"lens {lens.id[:5]}")
    expect(panel.locator("tbody tr")).to_have_count(1)
    panel.locator("[type=search]").fill("")

    panel.get_by_role("button", name=hostile.short).click()
    expect(chosen).to_have_text(hostile.short)
    check(page, OWN, page.evaluate("document.scripts.length"))
    expect(panel.locator("tbody")).to_contain_text(evil)
    assert lab.violations("#kept") == []

    lab.preset()
    assert f"r={hostile.short}" in page.evaluate("location.hash")  # the link keeps both
    page.click("#next .menu button:text-is('Keep')")
    told = page.locator("#next .menu [role=status]")
    expect(told).to_contain_text("kept as")
    kept = store.open(re.search("[0-9a-f]{12}", told.inner_text())[0])
    assert kept.summary() == store.runs(limit=1)[0].summary
    assert prose(kept.summary()) == plain(page.locator("#next .summary").inner_text())
    expect(panel.locator("tbody tr").first).to_contain_text(store.runs()[0].short)

    page.evaluate("location.hash = 'r=00ff'")
    expect(panel.locator("[role=alert]")).to_contain_text("no kept run begins with '00ff'")
    assert lab.violations("#kept") == []
    lab.faults = [fault for fault in lab.faults if "404" not in fault]  # Chromium tells every refused address
