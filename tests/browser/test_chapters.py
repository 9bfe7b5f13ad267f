"""The chapters further down, whose programs come late."""

from playwright.sync_api import expect

LATE = ("neurons", "circuits", "neuron-patching", "reasoning", "conversation", "weights", "head-circuits")


def test_what_is_out_of_sight_is_neither_fetched_nor_asked(open_lab):
    fetched = []
    lab = open_lab(before=lambda page: page.on("request", lambda request: fetched.append(request.url)))
    lab.page.select_option("#preset", "ioi")
    lab.page.wait_for_selector('#next[data-status="ready"]')
    assert [lab.page.get_attribute(f"#{panel}", "data-status") for panel in ("reasoning", "weights")] == ["later"] * 2
    assert not [url for url in fetched if "reasoning" in url]
    lab.page.click("nav.chapters >> text='Steps and turns'")
    lab.see("reasoning")
    expect(lab.page.locator("nav.chapters [aria-current]")).to_have_text("Steps and turns")
    assert [url for url in fetched if "/parts/reasoning-" in url]
    for panel in LATE:
        lab.see(panel)
        assert len(lab.text(f"#{panel} .about").split()) > 10, panel
        if panel != "neurons":  # which knows the prompt
            assert len(lab.text(f"#{panel} .state").split()) > 3, panel
    lab.page.click("nav.chapters >> text='Look'")
    expect(lab.page.locator("nav.chapters [aria-current]")).to_have_text("Look")
    lab.ready("neurons")


def test_what_comes_late_is_found(open_lab):
    lab = open_lab()
    for look in (a_part_that_does_not_come_says_so_and_may_be_asked_again, g_goes_to_it, a_catalogue_can_be_searched):
        look(lab)


def g_goes_to_it(lab):
    for key, panel in {"r": "reasoning", "w": "weights", "k": "circuits", "v": "conversation", "u": "neurons"}.items():
        lab.page.keyboard.press("g")
        lab.page.keyboard.press(key)
        lab.see(panel)
        expect(lab.page.locator(f"#{panel}")).to_be_focused()


def a_part_that_does_not_come_says_so_and_may_be_asked_again(lab):
    lab.page.context.route("**/parts/weights-*", lambda route: route.abort())
    lab.page.click("nav.chapters >> text='Weights'")
    expect(lab.page.locator("#weights .state")).to_contain_text("Is fluoro lab still running?")
    lab.page.context.unroute("**/parts/weights-*")
    lab.faults.clear()  # the browser told of the request that failed
    lab.page.click("#weights button")
    lab.see("weights")


def a_catalogue_can_be_searched(lab):
    lab.see("any")
    lab.page.fill("#any input[type=search]", "edge patching")
    expect(lab.page.locator("#any .found button:text-is('edges')")).to_be_visible()
    found = lab.page.locator("#any .found button").all_inner_texts()
    assert "next-token" not in found
    lab.page.click("#any .found button:text-is('edges')")
    expect(lab.page.locator("#any-edges h2")).to_have_text("edges")
    lab.page.fill("#any input[type=search]", "zebra")
    expect(lab.page.locator("#any [role=status] >> nth=0")).to_be_attached()
    expect(lab.page.locator("#any .choices")).to_contain_text("none has these words")
