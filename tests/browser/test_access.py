"""For everyone: axe finds nothing in any state and theme, the keyboard is enough, colours and motion may be refused."""

import pytest
from playwright.sync_api import expect


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(open_lab, theme):
    lab = open_lab(color_scheme=theme)
    rules = None if theme == "light" else ("color-contrast",)  # which alone hangs on the theme
    assert lab.page.get_attribute("html", "data-theme") == theme
    assert lab.violations(rules=rules) == [], "empty"
    lab.preset()
    lab.choose(4, 2)
    lab.sweep()
    assert lab.violations(rules=rules) == [], "ready"
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("?")
    assert lab.violations("#help", rules) == [], "help"
    lab.page.keyboard.press("Escape")
    lab.page.fill("#patch label:has-text('Corrupted') textarea", "Too short")
    lab.page.click("#patch button[type=submit]")
    lab.page.wait_for_selector("#patch [role=alert]")
    lab.page.fill("#prompt-text", "a " * 2000)
    lab.page.press("#prompt-text", "Enter")
    lab.page.wait_for_selector("#prompt [role=alert]")
    for panel in ("#patch", "#prompt"):
        assert lab.violations(panel, rules) == [], "error"


def test_keys_without_a_prompt(open_lab):
    lab = open_lab(color_scheme="light")
    for look in (g_goes_to_a_panel, typing_is_no_command, the_theme_is_kept, axe_would_find_something):
        look(lab)


def axe_would_find_something(lab):
    lab.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    for rules in (None, ("button-name",)):
        assert any(found.startswith("button-name") for found in lab.violations(rules=rules))


def focus(page):
    """The element that has the focus, as the place of a head or its id."""
    return page.evaluate("document.activeElement.dataset.place ?? document.activeElement.id")


def test_the_keyboard_is_enough(open_lab):
    lab = open_lab()
    page, press = lab.page, lab.page.keyboard.press
    for _ in range(30):
        press("Tab")
        if focus(page) == "preset":
            break
    assert focus(page) == "preset"
    press("ArrowDown")  # the first preset, Indirect object
    lab.ready()
    press("Escape")
    page.evaluate("document.activeElement.blur()")
    press("g")
    press("h")
    assert focus(page) == "heads"
    for _ in range(20):
        press("Tab")
        if "." in focus(page):
            break
    assert focus(page) == "0.0"
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
        press(key)
    assert focus(page) == "4.2"
    press("Enter")
    heading = page.locator("#attention h2")
    expect(heading).to_contain_text("L4H2")
    for key, head in {"]": "L5H2", "}": "L5H3", "[": "L4H3", "{": "L4H2"}.items():
        press(key)
        expect(heading).to_contain_text(head)
    press("z")
    expect(heading).to_contain_text("L4H3")
    press("Z")
    expect(heading).to_contain_text("L4H2")
    press("Escape")
    expect(heading).to_have_text("Attention")
    press("z")
    expect(heading).to_contain_text("L4H2")
    press("?")
    expect(page.locator("#help")).to_be_visible()
    press("Escape")
    expect(page.locator("#help")).to_be_hidden()
    expect(heading).to_contain_text("L4H2")  # that Escape was the dialog's
    cells_are_walked_with_arrows(lab)


def g_goes_to_a_panel(lab):
    panels = {"a": "attention", "s": "patch", "l": "lens", "c": "circuit", "f": "flow", "e": "any", "p": "prompt-text"}
    for key, panel in panels.items():
        lab.page.keyboard.press("g")
        lab.page.keyboard.press(key)
        assert focus(lab.page) == panel


def cells_are_walked_with_arrows(lab):
    lab.page.focus("#circuit td[role=gridcell][tabindex='0']")
    for key in ("ArrowDown", "ArrowRight", "End", "ArrowLeft", "Home", "ArrowRight"):
        lab.page.keyboard.press(key)
    assert lab.page.evaluate("document.activeElement.title").startswith("L1H1:")
    lab.page.keyboard.press("Enter")
    expect(lab.page.locator("#attention h2")).to_contain_text("L1H1")
    assert lab.page.locator("#circuit td[role=gridcell][tabindex='0']").count() == 1


def typing_is_no_command(lab):
    theme = lab.page.get_attribute("html", "data-theme")
    lab.page.fill("#prompt-text", "")
    lab.page.type("#prompt-text", "d g ? z [ {")
    assert lab.page.input_value("#prompt-text") == "d g ? z [ {"
    assert lab.page.get_attribute("html", "data-theme") == theme
    expect(lab.page.locator("#help")).to_be_hidden()


def the_theme_is_kept(lab):
    lab.page.evaluate("document.activeElement.blur()")
    lab.page.keyboard.press("d")
    assert lab.page.get_attribute("html", "data-theme") == "dark"
    lab.page.reload()
    assert lab.page.get_attribute("html", "data-theme") == "dark"


def test_forced_colours_leave_bars_and_cells(open_lab):
    lab = open_lab(forced_colors="active")
    lab.preset()
    lab.choose(4, 2)
    bars = lab.page.eval_on_selector_all(
        "#circuit .effects .track i", "all => all.map(bar => getComputedStyle(bar).backgroundColor)"
    )
    page = lab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert bars
    assert all(bar not in (page, "rgba(0, 0, 0, 0)") for bar in bars)
    shades = lab.page.eval_on_selector_all(
        "#circuit td[role=gridcell]", "all => all.map(cell => getComputedStyle(cell).backgroundColor)"
    )
    assert len(set(shades)) > 5
    outline = lab.page.eval_on_selector("#heads [aria-selected=true]", "cell => getComputedStyle(cell).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize(("motion", "moving"), [("reduce", 0), ("no-preference", 48)])
def test_layers_move_in_only_where_motion_is_wanted(open_lab, motion, moving):
    lab = open_lab(reduced_motion=motion)
    lab.page.evaluate(
        "window.moved = 0; addEventListener('animationstart', event => { moved += event.animationName === 'arrive' })"
    )
    lab.preset()
    lab.page.wait_for_timeout(500)
    assert lab.page.evaluate("moved") == moving
    assert lab.page.evaluate("document.getAnimations().length") == 0  # an idle page rests
