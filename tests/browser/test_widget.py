"""The widget of notebooks in a page, by its contract: linked through its model, quiet on echoes, gone when ended."""

import json

import pytest
from playwright.sync_api import expect

from browser.lab import Lab
from fluoroscope.views import Bar, Bars, HeadGrid
from render.samples import every_view

# What anywidget gives a widget: a model that speaks with Python. This one keeps count, and lets the test be Python.
HOST = """
  window.made = [];
  window.model = (given, group) => {
    const values = {given, group, selection: {layer: null, head: null, query: null, key: null}};
    const heard = new Map();
    const one = {
      saved: [], get: name => values[name], set: (name, value) => { values[name] = value; },
      save_changes: () => one.saved.push(values.selection),
      on: (name, f) => heard.set(name, [...(heard.get(name) ?? []), f]),
      off: (name, f) => heard.set(name, (heard.get(name) ?? []).filter(other => other !== f)),
      told: selection => { values.selection = selection; for (const f of heard.get("change:selection") ?? []) f(); },
      listeners: () => [...heard.values()].flat().length,
    };
    made.push(one);
    return one;
  };
  null
"""
PAGE = "<!doctype html><html lang=en><title>A notebook</title><body><main><h1>above</h1></main></body></html>"


@pytest.fixture
def notebook(bundle, browser, browser_context_args):
    """A page as bare as a notebook's, with a module of the widget for each that is shown, as anywidget loads it."""
    page = browser.new_context(**browser_context_args).new_page()
    lab = Lab(page, "http://notebook/")
    page.route("http://notebook/", lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    script = (bundle / "widget.js").read_text("utf8")
    page.route("http://notebook/widget.js*", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.goto("http://notebook/")
    page.evaluate(HOST)

    def show(views, group="w"):
        given = json.dumps(
            {"title": "Title", "summary": "One sentence.", "views": [view.model_dump(mode="json") for view in views]}
        )
        page.evaluate(
            """async ([given, group]) => {
              const {default: widget} = await import(`./widget.js?${made.length}`);
              const el = document.querySelector("main").appendChild(document.createElement("div"));
              const one = model(given, group);
              one.end = widget.render({model: one, el});
            }""",
            [given, group],
        )

    lab.show = show
    yield lab
    page.context.close()
    assert lab.faults == []


GRID = HeadGrid(title="Heads", unit="u", values=((0.5, -1.0), (0.25, 2.0)))
BARS = Bars(title="Bars", unit="u", items=(Bar(label="L1H1", value=1.0, site="z.1.1"), Bar(label="b", value=2.0)))
HEAD = {"layer": 1, "head": 1, "query": None, "key": None}


def cell(lab, number, head):
    return lab.page.locator("main > div").nth(number).locator(f'td[title^="{head}:"]')


def test_a_click_reaches_python_once_and_what_comes_back_is_not_sent_again(notebook):
    notebook.show([GRID])
    cell(notebook, 0, "L1H1").click()
    expect(cell(notebook, 0, "L1H1")).to_have_attribute("data-chosen", "")
    page = notebook.page
    assert page.evaluate("made[0].saved") == [HEAD]
    page.evaluate("selection => made[0].told({...selection})", HEAD)  # the echo
    page.evaluate("made[0].told({layer: 0, head: 1})")  # Python chooses
    expect(cell(notebook, 0, "L0H1")).to_have_attribute("data-chosen", "")
    expect(cell(notebook, 0, "L1H1")).not_to_have_attribute("data-chosen", "")
    assert page.evaluate("made[0].saved.length") == 1


def test_the_pointer_is_shared_by_widgets_of_one_model_only(notebook):
    arcs = [view for view in every_view("t") if view.kind in ("tokens", "arcs")]
    for group in ("w", "w", "another"):
        notebook.show(arcs, group)
    widgets = notebook.page.locator("main > div")
    before = [widget.locator("svg path").count() for widget in widgets.all()]
    widgets.nth(0).locator(".chips .token").nth(1).hover()
    expect(widgets.nth(1).locator("rect.chosen")).to_have_count(1)
    assert widgets.nth(1).locator("svg path").count() < before[1]
    assert widgets.nth(2).locator("rect.chosen").count() == 0
    assert notebook.page.evaluate("made.map(one => one.saved.length)") == [0, 0, 0]


def test_what_ends_leaves_nothing_behind(notebook):
    notebook.show([GRID, BARS])
    notebook.show([GRID, BARS])
    page = notebook.page
    page.evaluate("made[0].end()")
    assert page.evaluate("made.map(one => one.listeners())") == [0, 1]
    expect(page.locator("main > div").nth(0)).to_be_empty()
    page.evaluate("made[0].told({layer: 1, head: 1})")
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    cell(notebook, 1, "L0H0").click()
    assert page.evaluate("made.map(one => one.saved.length)") == [0, 1]


THEMES = {
    "document.body.dataset.jpThemeLight = 'false'": "dark",
    "document.body.dataset.jpThemeLight = 'true'": "light",
    "document.body.className = 'vscode-dark'": "dark",
    "document.body.className = 'vscode-high-contrast-light'": "light",
    "document.body.dataset.vscodeThemeKind = 'vscode-high-contrast'": "dark",
}


def test_the_theme_is_the_notebooks(notebook):
    for number, (change, theme) in enumerate(THEMES.items()):
        other = "light" if theme == "dark" else "dark"
        notebook.page.goto(notebook.address)
        notebook.page.evaluate(HOST)
        notebook.page.emulate_media(color_scheme=other)
        notebook.show([GRID])
        place = notebook.page.locator(".cell")
        expect(place).to_have_attribute("data-theme", other)
        notebook.page.evaluate(change)
        expect(place).to_have_attribute("data-theme", theme)
        assert notebook.violations(rules=None if number < 2 else ("color-contrast",)) == []


def test_styles_stay_within_the_widget_and_keys_with_it(notebook):
    above = "getComputedStyle(document.querySelector('h1')).cssText"
    page = notebook.page
    look = page.evaluate(above)
    page.add_style_tag(content="td, th, li, figure { display: none !important } * { color: lime !important }")
    hidden = page.evaluate("document.styleSheets.length")
    notebook.show([GRID, BARS])
    assert cell(notebook, 0, "L0H0").is_visible()
    assert page.evaluate("document.styleSheets.length") == hidden
    assert page.evaluate("document.adoptedStyleSheets.length") == 0
    assert page.evaluate(above).replace("rgb(0, 255, 0)", "rgb(0, 0, 0)") == look.replace(
        "rgb(0, 255, 0)", "rgb(0, 0, 0)"
    )
    assert page.get_attribute(".cell", "data-lm-suppress-shortcuts") == "true"
    cell(notebook, 0, "L0H0").focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.evaluate("made[0].saved") == [HEAD]
    expect(page.locator("li[data-chosen]")).to_contain_text("L1H1")
    page.keyboard.press("Escape")
    expect(page.locator("[data-chosen]")).to_have_count(0)
