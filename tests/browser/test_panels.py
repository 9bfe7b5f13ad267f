"""Reasoning, conversation, neurons, weights and circuits: the library's numbers, one selection, the keyboard."""

import json
import re
from xml.etree import ElementTree

import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import CORRUPTED, PROMPT
from browser.test_numbers import near, told
from fluoroscope import registry
from fluoroscope.server.circuit_trace import PRESETS

WORDS = next(preset for preset in PRESETS if preset.id == "specimen-word-problem").prompt


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


def test_the_steps_of_a_reasoning(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.see("reasoning")
    page.click("#reasoning button:has-text('word problem')")
    lab.ready("next")
    lab.ask("reasoning")
    result = registry.run("reasoning_steps", model, prompt=WORDS)
    assert lab.text("#reasoning .summary") == result.summary()
    shown = page.locator("#reasoning .steps .number").all_inner_texts()
    lost = [None if step.knockout is None else -step.knockout.effect for step in result.steps]
    assert [None if text == "–" else told(text) for text in shown] == [x if x is None else near(x) for x in lost]
    heights = page.eval_on_selector_all(
        "#reasoning .timeline .step rect:last-child", "all => all.map(bar => bar.height.baseVal.value)"
    )
    assert max(heights) == heights[5] > 20 * heights[0]
    page.wait_for_selector("#reasoning .timeline .arc")
    page.click("#reasoning .steps button >> nth=4")
    page.keyboard.press("j")
    expect(page.locator("#reasoning .steps button >> nth=5")).to_have_attribute("aria-current", "step")
    step = result.steps[5]
    expect(page.locator("#prompt .chip[data-chosen]")).to_have_count(step.last - step.first)  # its tokens, above
    looks = model.trace(WORDS, sites=["pattern.*"])
    title = page.get_attribute("#reasoning td[role=gridcell][title^='L4H3:']", "title")
    share = looks["pattern.4.3"][0, -1, step.first : step.last].sum().item()
    assert told(title.split(": ")[1].split()[0]) == pytest.approx(share, abs=0.03)
    page.click("#reasoning td[role=gridcell][title^='L4H3:']")
    expect(page.locator("#attention h2")).to_contain_text("L4H3")
    page.keyboard.press("z")
    page.keyboard.press("z")
    expect(page.locator("#reasoning .steps button >> nth=4")).to_have_attribute("aria-current", "step")
    assert lab.violations("#reasoning") == []


def test_a_conversation(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.see("conversation")
    page.click("#conversation button:has-text('Add a turn')")
    page.click("#conversation button[aria-label='remove turn 4']")
    lab.ask("conversation")
    turns = page.locator("#conversation .turn")
    chat = [
        {"role": turn.locator("select").input_value(), "content": turn.locator("textarea").input_value()}
        for turn in turns.all()
    ]
    result = registry.run("conversation", model, chat=json.dumps(chat))
    assert lab.text("#conversation .summary") == result.summary()
    rows = page.locator("#conversation .turns tbody td.number:nth-child(2)").all_inner_texts()
    assert [told(text) for text in rows] == [near(turn.attribution) for turn in result.turns]
    expect(page.locator("#conversation")).to_contain_text("--chat-template")
    page.click("#conversation .turns button >> nth=0")
    title = page.get_attribute("#conversation td[role=gridcell][title^='L4H3:']", "title")
    assert told(title.split(": ")[1].split()[0]) == near(result.cross_turn_attention[4][3][-1][0])
    page.click("#conversation td[role=gridcell][title^='L4H3:']")
    expect(page.locator("#conversation b:text-is('Where turns look, L4H3')")).to_be_visible()
    page.fill("#conversation textarea >> nth=0", "<img src=x onerror=document.title='owned'>")
    lab.ask("conversation")
    assert page.title() == "Fluoroscope"


def test_neurons_and_the_weights_of_what_is_chosen(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.preset()
    lab.ready("neurons")
    result = registry.run("neurons", model, prompt=PROMPT)
    assert lab.text("#neurons .summary") == result.summary()
    first = result.raising[0]
    page.click(f"#neurons .bars li:has-text('{first.label}')")
    expect(page.locator("#neurons .one")).to_contain_text(f"{first.label} adds")
    expect(page.locator("#neurons .one")).to_contain_text("fluoro max-activating")
    page.select_option("#neurons select >> nth=0", "1")
    expect(page.locator("#neurons .summary")).to_have_text(
        registry.run("neurons", model, prompt=PROMPT, layer=1).summary()
    )
    lab.choose(4, 2)
    lab.see("weights")
    page.click("#weights button:text-is('W_O.4.2')")
    page.wait_for_selector("#weights .summary")
    assert lab.text("#weights .summary") == registry.run("weight_heatmap", model, weight="W_O.4.2").summary()
    layer = first.site.split(".")[1]
    expect(page.locator(f"#weights button:text-is('W_in.{layer}')")).to_be_visible()
    page.fill("#weights input", "W_nothing")
    page.press("#weights input", "Enter")
    expect(page.locator("#weights [role=alert]")).to_contain_text("W_nothing")
    assert lab.violations("#weights") == []


def test_a_circuit_with_its_worth(open_lab, model):
    lab = open_lab()
    page = lab.page
    lab.preset()
    lab.ask("circuits")
    result = registry.run("circuit", model, clean=PROMPT, corrupted=CORRUPTED, method="eap-ig")
    assert lab.text("#circuits .summary") == result.summary()
    expect(page.locator("#circuits .worth")).to_contain_text(f"{result.faithfulness.mean * 100:.1f} %")
    edges = page.locator("#circuits .graph .edge")
    whole = len(result.network().edges)
    expect(edges).to_have_count(whole)
    before = places(page)
    page.locator("#circuits input[type=range]").fill("0.2")
    strong = [
        edge for edge in result.network().edges if abs(edge.value) >= 0.2 * max(abs(e.value) for e in result.edges)
    ]
    expect(edges).to_have_count(len(strong))
    assert places(page).items() <= before.items()  # none has moved
    expect(page.locator("#circuits .worth")).to_contain_text("faithfulness")
    page.locator("#circuits input[type=range]").fill("0")
    page.fill("#circuits input[type=search]", "l4h2")
    expect(page.locator("#circuits .network [role=status]")).to_contain_text("1 of")
    page.click("#circuits .network button:text-is('list')")
    page.click("#circuits .edges button:text-is('L4H2') >> nth=0")
    expect(page.locator("#attention h2")).to_contain_text("L4H2")
    page.click("#circuits .network button:text-is('list')")
    page.fill("#circuits input[type=search]", "")
    page.check("#circuits input[type=checkbox]")
    assert edges.count() < whole
    with page.expect_download() as saved:
        page.click("#circuits button:text-is('DOT')")
    text = saved.value.path().read_text(encoding="utf8")
    assert re.findall(r"->", text) == ["->"] * whole
    assert {f'label="{node.label}"' for node in result.network().nodes} <= set(re.findall(r'label="[^"]*"', text))
    assert lab.violations("#circuits") == []


def places(page):
    """Node -> where it is drawn."""
    return dict(
        page.eval_on_selector_all(
            "#circuits .graph .node",
            "all => all.map(node => [node.textContent, node.querySelector('rect').getAttribute('x')])",
        )
    )


def test_a_panel_saved_as_a_picture_names_its_rows_and_leaves_out_what_is_closed(open_lab):
    lab = open_lab()
    lab.preset()
    with lab.page.expect_download() as saved:
        lab.page.click("#circuit .menu >> text=SVG")
    texts = [part.text for part in ElementTree.parse(saved.value.path()).iter() if part.tag.endswith("}text")]
    assert set(lab.page.locator("#circuit tbody th button").all_inner_texts()) <= set(texts)
    assert lab.page.locator("#circuit details:not([open]) summary").count() == 1
    assert not [text for text in texts if "after each block" in text]
