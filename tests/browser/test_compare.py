"""Two prompts: one, the other, or what differs, by one switch for all panels."""

import pytest
import torch
from playwright.sync_api import expect

import fluoroscope
from browser.lab import AIMS, CORRUPTED, PROMPT
from browser.test_numbers import near, told
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.next_token import next_token


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


def switch(lab, name):
    lab.page.click(f'.switch >> text="{name}"')


def titles(lab, panel):
    return lab.page.eval_on_selector_all(f"#{panel} [role=gridcell]", "all => all.map(cell => cell.title)")


def values(lab, panel):
    """The numbers of a panel's cells."""
    numbers = [title.rpartition(": ")[2].split()[0] for title in titles(lab, panel)]
    return [None if number == "–" else told(number) for number in numbers]


def pair(lab, panel):
    lab.see(panel)
    expect(lab.page.locator(f"#{panel} .pair > [data-status=ready]")).to_have_count(2)
    return lab.page.locator(f"#{panel} .pair .summary").all_inner_texts()


def test_what_differs_between_two_prompts(open_lab, model):
    lab = open_lab()
    lab.preset()
    switch(lab, "A − B")
    for look in (results_of_both, the_head_map, attention_of_one_less_that_of_the_other):
        look(lab, model)


def attention_of_one_less_that_of_the_other(lab, model):
    one, other = (model.trace(text, sites=["pattern.5"])["pattern.5"][0].double() for text in (PROMPT, CORRUPTED))
    head = int((one - other)[:, 13].amax(-1).argmax())  # whose look from the end changes most
    one, other = one[head], other[head]
    lab.choose(5, head)
    expect(lab.page.locator("#attention h2")).to_have_text(f"Attention of L5H{head}, A − B")
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    shown = values(lab, "attention")
    for place, value in enumerate(shown):
        query, key = divmod(place, 14)
        assert value is None if key > query else value == near((one - other)[query, key].item())
    assert max(shown[13 * 14 :]) > 0.1
    colours = lab.page.eval_on_selector_all(
        "#attention td[role=gridcell]", "all => all.map(cell => [cell.title, cell.style.backgroundColor])"
    )
    for title, colour in colours:
        value = title.rpartition(": ")[2].split()[0]
        if value != "–" and abs(told(value)) > 0.1:  # blue for more in A, orange for less
            red, _, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
            assert (blue > red) == (told(value) > 0)


def the_head_map(lab, model):
    """Which has the difference of each measure."""
    expect(lab.page.locator("#heads .there")).to_have_count(48)
    lab.page.select_option("#measure", "concentration")
    expect(lab.page.locator("#heads [role=gridcell][title*=share]")).to_have_count(48)
    sites = [f"pattern.{layer}" for layer in range(model.n_layers)]
    one, other = (model.trace(text, sites=sites).stack("pattern")[:, 0].double() for text in (PROMPT, CORRUPTED))
    expected = one[:, :, 1:].amax(-1).mean(-1) - other[:, :, 1:].amax(-1).mean(-1)
    assert torch.tensor(values(lab, "heads")).double() == pytest.approx(expected.flatten(), rel=6e-3, abs=6e-4)


def results_of_both(lab, model):
    """Beside each other."""
    target = {"target": AIMS["target"]}
    for panel, (analysis, asked) in {
        "next": (next_token, {}), "lens": (logit_lens, target), "circuit": (logit_attribution, AIMS)
    }.items():  # fmt: skip
        assert pair(lab, panel) == [analysis(model, text, **asked).summary() for text in (PROMPT, CORRUPTED)]
    title = "A − B: What each head adds"
    grid = lab.page.locator(f'#circuit figure:has(b:text-is("{title}"))')
    expect(grid.locator("td[role=gridcell]")).to_have_count(48)
    assert lab.violations() == []


def test_the_other_prompt_alone_and_changed_often(open_lab, model):
    lab = open_lab()
    lab.preset()
    switch(lab, "B")
    expect(lab.page.locator("#next .summary")).to_have_text(next_token(model, CORRUPTED).summary())
    assert lab.page.input_value("#prompt-b") == CORRUPTED
    switch(lab, "A")
    expect(lab.page.locator("#next .summary")).to_have_text(next_token(model, PROMPT).summary())
    expect(lab.page.locator("#prompt-b")).to_have_count(0)
    changed_often(lab)


def test_of_prompts_of_other_lengths_the_tokens_that_both_have_are_compared(open_lab, model, monkeypatch):
    lab = open_lab(permissions=["clipboard-read", "clipboard-write"])
    page, shorter = lab.page, PROMPT.replace(" and John", "")
    lab.preset()
    switch(lab, "B")
    page.fill("#prompt-b", shorter)
    page.press("#prompt-b", "Enter")
    switch(lab, "A − B")
    kept = [place for place in range(14) if place not in (2, 3)]
    both = model.trace(PROMPT, sites=["pattern.*"]), model.trace(shorter, sites=["pattern.*"])
    one, other = (trace.stack("pattern")[:, 0].double() for trace in both)
    less = one[:, :, kept][..., kept] - other
    lab.choose(5, 1)
    cells = page.locator("#attention td[role=gridcell]")
    expect(cells).to_have_count(12 * 12)
    expect(page.locator("#attention")).to_contain_text("Left out: ·and ·John (A only).")
    for place, value in enumerate(values(lab, "attention")):
        query, key = divmod(place, 12)
        assert value is None if key > query else value == near(less[5, 1, query, key].item())
    cells.nth(11 * 12 + 7).click()  # the second John, which is token 9 of A
    expect(page.locator("#prompt .chips >> nth=0").locator(".chip").nth(13)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#heads")).to_contain_text("Left out: ·and ·John (A only).")
    monkeypatch.setattr(fluoroscope, "load", lambda name, **given: model)
    found: dict = {}
    exec(lab.taken("attention"), found)
    assert found["pattern"] == pytest.approx(less[5, 1], abs=1e-6)
    assert torch.tensor(lab.numbers("attention")["pattern"]) == pytest.approx(less[5, 1], abs=1e-6)
    exec(lab.taken("heads"), found)
    assert found["patterns"][3] == pytest.approx(less[3], abs=1e-6)
    seen, change = lab.heads()["5.1"].astype(int), less[5, 1]
    for place in (int(change.argmax()), int(change.argmin())):  # blue where A looks harder, orange where B does
        row, column = (round((index + 0.5) * len(seen) / 12) for index in divmod(place, 12))
        red, _, blue, _ = seen[row, column]
        assert (blue > red) == (change.flatten()[place] > 0)
    page.select_option("#measure", "concentration")
    expect(page.locator("#heads [role=gridcell][title*=share]")).to_have_count(48)
    expected = one[:, :, 1:].amax(-1).mean(-1) - other[:, :, 1:].amax(-1).mean(-1)
    assert torch.tensor(values(lab, "heads")).double() == pytest.approx(expected.flatten(), rel=6e-3, abs=6e-4)
    pair(lab, "next")


def changed_often(lab):
    switch(lab, "A − B")
    for name in ("Mary", "John", "Mary"):
        lab.page.fill("#prompt-b", f"When Mary and John went to the store, {name} gave a drink to")
        lab.page.press("#prompt-b", "Enter")
        pair(lab, "next")
        expect(lab.page.locator(".chips >> nth=1")).to_contain_text(f"·{name}·gave")
    lab.choose(4, 2)
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)


def test_a_link_keeps_what_is_compared(open_lab):
    lab = open_lab()
    lab.preset()
    lab.page.keyboard.press("Escape")
    lab.page.evaluate("document.activeElement.blur()")
    for _ in range(2):
        lab.page.keyboard.press("c")
    lab.choose(3, 1)
    expect(lab.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    other = open_lab(lab.page.url.removeprefix(lab.address))
    expect(other.page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    assert other.text("#attention h2") == lab.text("#attention h2")
    one, same = values(lab, "attention"), values(other, "attention")  # equal streams differ by 0 or by rounding
    assert same == [value if value is None else pytest.approx(value, abs=1e-5) for value in one]
