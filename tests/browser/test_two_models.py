"""The same prompt in two models: what has a counterpart is subtracted, what has none is said to have none."""

import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import AIMS, PROMPT
from browser.test_compare import pair, switch, values
from browser.test_numbers import near
from fluoroscope import registry

OTHER = "specimen-llama"


@pytest.fixture(scope="module")
def models():
    return fluoroscope.load(), fluoroscope.load(OTHER)


def test_two_models_beside_each_other(open_lab, models):
    lab = open_lab()
    page = lab.page
    lab.preset()
    switch(lab, "A − B")
    page.select_option("#other", OTHER)
    target = {"target": AIMS["target"]}
    for panel, analysis, asked in (
        ("next", "next_token", {}), ("circuit", "logit_attribution", AIMS), ("lens", "logit_lens", target)
    ):  # fmt: skip
        lab.see(panel)
        assert pair(lab, panel) == [registry.run(analysis, model, prompt=PROMPT, **asked).summary() for model in models]
    expect(page.locator("#circuit .differences")).to_contain_text("no counterparts")
    assert page.locator("#circuit .differences figure").count() == 0
    expect(page.locator("#heads .state")).to_contain_text("no counterparts")
    depths = page.locator("#depth .aligned tbody th").all_inner_texts()
    assert [depth.split()[0] for depth in depths] == ["100", "83", "75", "67", "50", "33", "25", "17"]
    lenses = [
        next(v for v in registry.run("logit_lens", m, prompt=PROMPT).views() if v.kind == "heatmap") for m in models
    ]
    rows = page.locator("#lens .differences tbody th").all_inner_texts()
    assert rows == ["embedding", "block 0", "block 1/block 0", "block 2/block 1", "block 3/block 2", "block 4/block 2",
                    "block 5/block 3"]  # fmt: skip
    shown = values(lab, "lens .differences")
    one, two = lenses
    matched = [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (6, 4)]
    for row, (i, j) in enumerate(matched):
        for column in range(14):
            same = one.tokens[i][column] == two.tokens[j][column]
            value = shown[row * 14 + column]
            assert value == near(one.values[i][column] - two.values[j][column]) if same else value is None
    assert lab.violations("#lens") == []

    link = page.url.removeprefix(lab.address)
    fresh = open_lab(link)
    assert pair(fresh, "next") == pair(lab, "next")
    switch(lab, "B")
    expect(page.locator("#heads [data-place='3.5']")).to_have_count(1)
    expect(page.locator("#heads [data-place='4.0']")).to_have_count(0)
    lab.choose(3, 1)
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)


def test_a_question_about_two_prompts_is_asked_both_ways_or_of_both_models(open_lab, models):
    lab = open_lab()
    page = lab.page
    lab.preset()
    switch(lab, "A − B")
    lab.ask("paths")
    both = [{"clean": page.input_value("#prompt-text"), "corrupted": page.input_value("#prompt-b")}]
    both.append({"clean": both[0]["corrupted"], "corrupted": both[0]["clean"]})
    assert pair(lab, "paths") == [registry.run("path_tree", models[0], **each).summary() for each in both]
    expect(page.locator("#paths .differences .graph")).to_have_count(1)
    page.select_option("#analysis", "next_token")
    expect(page.locator("#any")).to_contain_text("B asks the same of prompt B.")
    page.click("#any button[type=submit]")
    prompts = [each["clean"] for each in both]
    assert pair(lab, "any") == [registry.run("next_token", models[0], prompt=text).summary() for text in prompts]
    page.select_option("#other", OTHER)
    expect(page.locator("#any")).to_contain_text(f"B asks the same of {OTHER}.")
    page.click("#any button[type=submit]")
    told = page.locator("#any .pair .summary >> nth=1")
    expect(told).to_have_text(registry.run("next_token", models[1], prompt=PROMPT).summary())
