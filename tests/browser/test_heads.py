"""The head map: its dots are the patterns, however they are drawn; in space, and where not all layers have heads."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import AIMS, PROMPT, colours
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.render import palette

NO_WEBGL = """const own = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
    return kind === "webgl2" ? null : own.call(this, kind, ...rest); };"""
LOSE = (
    """document.querySelector("#heads canvas").getContext("webgl2").getExtension("WEBGL_lose_context").loseContext()"""
)


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


def expected(shares):
    """The colour that a share has in a picture, as dots show it: by the square root, in 256 steps."""
    steps = np.round(255 * np.sqrt(shares)) / 255
    texts = [palette.shade(palette.LIGHT, step, 1.0, signed=False) for step in steps.flatten()]
    return np.array([[int(text[at : at + 2], 16) for at in (1, 3, 5)] for text in texts]).reshape(*shares.shape, 3)


@pytest.mark.parametrize("webgl", [True, False])
def test_dots_are_the_patterns(open_lab, model, webgl):
    lab = open_lab(color_scheme="light", before=lambda page: None if webgl else page.add_init_script(NO_WEBGL))
    page = lab.page
    lab.preset()
    assert page.evaluate("!!document.querySelector('#heads canvas').getContext('webgl2')") == webgl
    dots_are_the_patterns(lab, model)
    if webgl:
        page.evaluate(f"window.former = document.querySelector('#heads canvas'); {LOSE}")
        page.wait_for_function("document.querySelector('#heads canvas') !== window.former")
        page.wait_for_timeout(100)
        dots_are_the_patterns(lab, model)
        numbers_marks_and_the_table(lab, model)
    else:
        page.click("#heads .switch >> text=3D")
        expect(page.locator("#heads .state")).to_contain_text("2D shows the same")


def dots_are_the_patterns(lab, model):
    heads = lab.heads()
    assert len(heads) == 48
    assert min(colours(dots) for dots in heads.values()) > 3  # none is blank
    pattern = model.trace(PROMPT, sites=["pattern.5"])["pattern.5"][0].numpy()
    for head in range(model.n_heads):
        dots = heads[f"5.{head}"]
        centres = ((np.arange(14) + 0.5) * len(dots) / 14).astype(int)
        seen = dots[np.ix_(centres, centres)]
        below = np.tril(np.ones((14, 14), bool))
        assert (seen[..., 3] == 255 * below).all()  # what a token cannot see stays clear
        assert np.abs(seen[..., :3].astype(int) - expected(pattern[head]))[below].max() <= 6


def numbers_marks_and_the_table(lab, model):
    page = lab.page
    (grid,) = [view for view in logit_attribution(model, PROMPT, **AIMS).views() if view.kind == "head_grid"]
    sizes = {f"{i}.{j}": abs(value) for i, row in enumerate(grid.values) for j, value in enumerate(row)}
    largest = sorted(sizes, key=sizes.get, reverse=True)
    marked = page.locator("#heads .thumbnail.top")
    expect(marked).to_have_count(5)
    assert set(marked.evaluate_all("all => all.map(cell => cell.dataset.place)")) == set(largest[:5])
    assert (
        lab.page.locator("#heads button.quiet.top")
        .first.inner_text()
        .startswith("L{}H{}".format(*largest[0].split(".")))
    )
    page.select_option("#top-count", "3")
    page.select_option("#top-by", "entropy")
    expect(marked).to_have_count(3)
    page.locator("#heads button.quiet.top").first.click()
    expect(page.locator("#heads [aria-selected=true]")).to_have_attribute("aria-label", re.compile("number 1 of those"))
    page.select_option("#measure", "what it adds to the answer")
    best = page.locator(f'#heads [data-place="{largest[0]}"]')
    expect(best).to_have_attribute("title", re.compile("logits"))
    middles = best.evaluate(
        """cell => { const range = document.createRange(); range.selectNode(cell.firstChild);
             const [text, own] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
             return [text.left + text.right - own.left - own.right, text.top + text.bottom - own.top - own.bottom]; }"""
    )
    assert max(map(abs, middles)) < 4, "the mark pushes the number"
    red, _, blue, _ = lab.heads()[largest[0]][3, 3]
    assert blue > red  # for the answer
    page.click("#heads .switch >> text=table")
    expect(page.locator("#heads table tbody tr")).to_have_count(48)


def ring(lab):
    """The middle of the ring around the chosen ball."""
    dots = lab.dots("#heads canvas").astype(int)
    rows, columns = np.where(np.abs(dots - np.array([11, 95, 215, 255])).max(-1) <= 3)
    assert len(rows) > 10, "no ball is marked"
    return (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2


def test_in_space_what_is_pointed_at_is_what_is_drawn(open_lab):
    lab = open_lab(color_scheme="light")
    lab.preset()
    page = lab.page
    page.click("#heads .switch >> text=3D")
    canvas = page.locator("#heads canvas")
    expect(canvas).to_be_visible()
    assert colours(lab.dots("#heads canvas")) > 200
    lab.page.locator("#heads canvas").focus()
    for keys, name in ((("ArrowUp", "ArrowDown", "ArrowRight"), "L1H1"), (("0", "ArrowDown", "ArrowRight"), "L2H2")):
        for key in keys:
            page.keyboard.press(key)
        expect(page.locator("#attention h2")).to_contain_text(name)
        page.wait_for_timeout(60)
        x, y = ring(lab)
        page.keyboard.press("Escape")
        expect(page.locator("#attention h2")).to_have_text("Attention")
        canvas.click(position={"x": x, "y": y})
        expect(page.locator("#attention h2")).to_contain_text(name)
        page.mouse.move(0, 0)
    before = lab.dots("#heads canvas")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(60)
    assert (lab.dots("#heads canvas") != before).any()
    page.evaluate(f"window.former = document.querySelector('#heads canvas'); {LOSE}")
    page.wait_for_function("document.querySelector('#heads canvas') !== window.former")
    page.wait_for_timeout(100)
    assert colours(lab.dots("#heads canvas")) > 200
    assert lab.violations("#heads") == []


def test_layers_without_heads_and_heads_that_share(open_lab, hybrid):
    lab = open_lab(at=hybrid.address)
    page = lab.page
    page.fill("#prompt-text", "Why not see for yourself")
    page.press("#prompt-text", "Enter")
    expect(page.locator("#heads .headless")).to_have_text(["no attention heads here"] * 2)
    expect(page.locator("#heads .there")).to_have_count(4)
    expect(page.locator("#heads")).to_contain_text("2 heads that stand together share one key and value head")
    left = page.eval_on_selector_all("#heads .there", "all => all.map(cell => cell.getBoundingClientRect().left)")
    steps = np.diff(left)
    assert steps[1] > steps[0] + 3
    assert steps[2] == pytest.approx(steps[0], abs=0.5)
    page.focus('#heads [data-place="1.0"]')
    page.keyboard.press("ArrowDown")  # there is no head below
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.place") == "1.3"
    page.check("#heads >> text=without heads")
    expect(page.locator("#heads .headless")).to_have_count(0)
    assert min(colours(dots) for dots in lab.heads().values()) > 3
    assert lab.violations("#heads") == []
