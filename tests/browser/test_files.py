"""A result as a file that is opened by itself: no server, no network, live pictures, and still ones without scripts."""

import pytest
from playwright.sync_api import expect

import fluoroscope
from browser.lab import PROMPT, Lab
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.result import Recipe, Result
from fluoroscope.views import HeadGrid
from render.samples import HOSTILE, every_view, square

RECIPE = Recipe(model="m", weights="w", tokenizer=None, dtype="float32", device="cpu", attention="sdpa", versions={})


class Strange(Result):
    """Every kind of view, with hostile text wherever text can be, and a heatmap of too many cells for a table."""

    def summary(self):
        return HOSTILE

    def views(self):
        ending = "</script><img src=x onerror=document.title='owned'><!--<script>"
        return [*every_view(), *every_view(ending), square(60)]


@pytest.fixture
def open_file(bundle, browser, browser_context_args, tmp_path):
    """Saves a result and opens the file; at the end nothing may have been asked for but the file."""
    opened = []

    def open_it(result, **context):
        address = result.save(tmp_path / "result.html").as_uri()
        page = browser.new_context(**{**browser_context_args, **context}).new_page()
        lab = Lab(page, address)
        lab.asked = []
        page.on("request", lambda request: lab.asked.append(request.url))
        opened.append(lab)
        page.goto(address)
        return lab

    yield open_it
    for lab in opened:
        lab.page.context.close()
        assert lab.faults == []
        assert lab.asked == [lab.address]


@pytest.fixture(scope="module")
def attribution(bundle):
    return logit_attribution(fluoroscope.load(), PROMPT)


def test_a_saved_result_is_live_and_linked_without_a_server(open_file, attribution):
    lab = open_file(attribution)
    page = lab.page
    assert page.locator("h1").inner_text() == "Logit attribution"
    bar, cell = page.locator(".live li", has_text="L5H2"), page.locator('.live td[role=gridcell][title^="L5H2:"]')
    grid = next(view for view in attribution.views() if isinstance(view, HeadGrid))
    assert float(cell.get_attribute("title").split()[1].replace("−", "-")) == pytest.approx(grid.values[5][2], rel=5e-3)
    assert page.locator(".pictures").is_hidden()
    bar.click()
    expect(cell).to_have_attribute("data-chosen", "")
    other = page.locator('.live td[role=gridcell][title^="L4H3:"]')
    other.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".live li[data-chosen]")).to_contain_text("L4H3")
    cell.click()
    page.keyboard.press("ArrowRight")  # from where the click was
    page.keyboard.press("Enter")
    expect(page.locator(".live li[data-chosen]")).to_contain_text("L5H3")
    page.keyboard.press("Escape")
    expect(page.locator(".live [data-chosen]")).to_have_count(0)
    page.click(f'.live button[aria-label="{grid.title}: table"]')
    table = page.locator(".live figure", has_text=grid.title).locator("table:not([role=grid])")
    assert table.locator("tbody tr").count() == len(grid.values)
    assert lab.violations() == []


def test_hostile_text_stays_text_in_a_live_file(open_file):
    lab = open_file(Strange(recipe=RECIPE))
    page = lab.page
    drawn = len(Strange(recipe=RECIPE).views())
    expect(page.locator(".live figure")).to_have_count(drawn)
    told = page.eval_on_selector(".live", "place => place.shadowRoot.textContent")
    # and every table twin
    page.eval_on_selector(
        ".live", "place => place.shadowRoot.querySelectorAll('figcaption button').forEach(button => button.click())"
    )
    expect(page.locator(".live figcaption button >> text=table")).to_have_count(0)
    told += page.eval_on_selector(".live", "place => place.shadowRoot.textContent")
    assert page.locator("img, iframe, object, a").count() == 0
    assert page.locator("script").count() == 2
    assert "owned" not in page.title()
    assert "<img src=x onerror=document.title='owned'>" in told
    assert not [mark for mark in "\u202e\u2028\x07\x1b" if mark in told]


def test_the_canvas_of_many_cells_is_not_blank(open_file):
    page = open_file(Strange(recipe=RECIPE), color_scheme="dark").page
    colours = page.eval_on_selector(
        ".live canvas",
        """canvas => {
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          return new Set(Array.from({length: data.length / 4}, (_, i) => data.slice(4 * i, 4 * i + 4).join())).size;
        }""",
    )
    assert colours > 50
    assert page.get_attribute(".live", "data-theme") == "dark"


@pytest.mark.parametrize("kind", ["no script", "paper"])
def test_without_its_script_and_on_paper_the_pictures_stand_still(open_file, attribution, kind):
    lab = open_file(attribution, java_script_enabled=kind == "paper")
    if kind == "paper":
        lab.page.emulate_media(media="print")
    expect(lab.page.locator(".pictures > figure").first).to_be_visible()
    assert lab.page.locator(".pictures > figure").count() == len(attribution.views())
    assert not lab.page.locator(".live").is_visible()
