"""The way of someone who opens the lab for the first time; layers are held back one by one to see them come in."""

import json

from playwright.sync_api import expect

from browser.lab import CORRUPTED, FILLED, PROMPT, plain


class Valve:
    """Between page and server: layers pass when they are let."""

    def __init__(self, page):
        self.open, self.held = False, []
        page.route_web_socket("**/api/session", self._joined)

    def _joined(self, client):
        server = client.connect_to_server()

        def passed(message):
            if self.open or (isinstance(message, str) and json.loads(message)["type"] != "done"):
                client.send(message)
            else:
                self.held.append(lambda: client.send(message))

        server.on_message(passed)

    def let(self, count):
        for send in self.held[:count]:
            send()
        del self.held[:count]


def test_layers_are_shown_as_they_arrive(open_lab):
    valves = []
    lab = open_lab(before=lambda page: valves.append(Valve(page)))
    page, valve = lab.page, valves[0]
    there = page.locator("#heads .thumbnail.there")
    page.select_option("#preset", "ioi")
    expect(page.locator(".chip")).to_have_count(14)  # tokens come before any layer
    expect(there).to_have_count(0)
    while len(valve.held) < 7:  # six layers, done
        page.wait_for_timeout(20)
    for layer in range(1, 6):
        valve.let(1)
        expect(there).to_have_count(8 * layer)
        expect(page.locator("#heads .choices")).to_contain_text(f"{layer} of 6 layers")
        expect(page.locator("#depth li[data-there]")).to_have_count(layer)
    assert page.get_attribute("#next", "data-status") != "ready"  # the rest waits for the whole
    valve.open = True
    valve.let(2)
    expect(there).to_have_count(48)
    lab.ready()


def test_from_the_preset_to_a_link_that_shows_the_same(open_lab):
    lab = open_lab(permissions=["clipboard-read", "clipboard-write"])
    page = lab.page
    lab.preset()
    assert page.input_value("#prompt-text") == PROMPT
    page.click('#circuit table.cells td[title^="L4H2:"]')  # any picture chooses the head everywhere
    lab.choose(4, 2)
    expect(page.locator("#inspector h2")).to_have_text("Head L4H2")
    expect(page.locator('#circuit td[data-chosen][title^="L4H2:"]')).to_have_count(1)
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    lab.sweep()
    expect(page.locator('#patch tr[data-chosen]:has-text("L4H2")')).to_have_count(1)
    page.click("text=Copy link")
    expect(page.locator("text=link copied")).to_be_visible()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == page.url

    other = open_lab(address.removeprefix(lab.address))
    other.ready()
    assert other.page.input_value("#prompt-text") == PROMPT
    expect(other.page.locator('#heads [data-place="4.2"][aria-selected="true"]')).to_have_count(1)
    other.sweep()
    for panel in (*FILLED, "patch"):
        expect(other.page.locator(f"#{panel} h2").first).to_have_text(page.locator(f"#{panel} h2").first.inner_text())
        assert plain(other.text(f"#{panel}")) == plain(lab.text(f"#{panel}")), panel
    assert other.page.evaluate("new URLSearchParams(location.hash.slice(1)).get('c')") == CORRUPTED
    other.page.evaluate("location.hash = location.hash.replace(/s=[^&]*/, 's=99.2..')")
    refused = other.page.locator(".notice[role=alert]")
    expect(refused).to_contain_text("This link chooses layer 99, and specimen has 6, from 0 to 5")
    expect(other.page.locator("#attention h2")).to_have_text("Attention")
    assert "s=" not in other.page.url


# What fields and choices say without being asked, and is wider than they are; names of parts on two lines.
CUT = """() => {
  const pen = document.createElement("canvas").getContext("2d");
  const needs = (box, text, more) => {
    const style = getComputedStyle(box);
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    return pen.measureText(text).width + parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) + more;
  };
  const broken = name => {
    const range = document.createRange();
    range.selectNodeContents(name);
    return !/\\s/.test(name.textContent) && range.getBoundingClientRect().height > 30;
  };
  const all = (names, wrong) => [...document.querySelectorAll(names)].filter(box => box.offsetWidth && wrong(box));
  return [
    ...all("input[placeholder]", box => needs(box, box.placeholder, 0) > box.clientWidth).map(box => box.placeholder),
    ...all(".turn select", box => needs(box, box.selectedOptions[0].text, 16) > box.clientWidth).map(box => box.value),
    ...all(".effects tbody th", broken).map(name => name.textContent),
  ];
}"""


def test_nothing_is_wider_than_the_page(open_lab):
    lab = open_lab(viewport={"width": 390, "height": 844})
    lab.preset()
    lab.choose(4, 2)
    lab.sweep()
    for panel in ("any", "neurons", "weights", "conversation", "circuits"):
        lab.see(panel)
    lab.page.select_option("#measure", "entropy")
    for switch in ("A", "A − B"):
        lab.page.click(f'.switch >> text="{switch}"')
        lab.ready("circuit") if switch == "A" else expect(lab.page.locator("#next .pair .bars")).to_have_count(2)
        for width in (1440, 390):
            lab.page.set_viewport_size({"width": width, "height": 844})
            lab.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
            assert lab.page.evaluate("document.documentElement.scrollWidth") <= width, switch
            assert switch == "A" or lab.page.evaluate(CUT) == []
