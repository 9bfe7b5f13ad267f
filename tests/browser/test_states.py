"""What a panel says while it waits, when it fails and when the server is away."""

import json

from playwright.sync_api import expect

import fluoroscope
from browser.lab import FILLED
from fluoroscope.render.text import visible


def test_an_empty_page_says_what_to_do_and_errors_what_instead(open_lab):
    lab = open_lab()
    for panel in FILLED:
        assert len(lab.text(f"#{panel} .state").split()) > 3, panel
    an_error_of_the_server_is_shown_with_its_hint(lab)
    prompts_of_other_lengths_are_refused_in_the_panel(lab)


def an_error_of_the_server_is_shown_with_its_hint(lab):
    lab.page.fill("#prompt-text", "a " * 2000)
    lab.page.press("#prompt-text", "Enter")
    alert = lab.page.locator("#prompt [role=alert]")
    expect(alert).to_contain_text("the prompt has 2001 tokens")
    expect(alert).to_contain_text("shorten it")
    assert lab.page.locator("[role=alert]").count() == 1  # said once
    lab.preset()
    expect(alert).to_have_count(0)
    lab.page.fill("#prompt-text", "\u200b\n  When\x07\U000e0041")
    lab.page.press("#prompt-text", "Enter")
    labels = fluoroscope.load().tokens("\u200b\n  When\x07\U000e0041").labels[0]
    expect(lab.page.locator(".chip")).to_have_text([visible(label) for label in labels])  # as README has it: ⏎, \u200b
    lab.page.fill("#prompt-text", "When")
    lab.page.press("#prompt-text", "Enter")
    expect(lab.page.locator("#prompt .chips [role=status]")).to_have_text("1 token")


def prompts_of_other_lengths_are_refused_in_the_panel(lab):
    lab.preset()
    lab.see("patch")
    lab.page.fill("#patch label:has-text('Corrupted') textarea", "Too short")
    lab.page.click("#patch button[type=submit]")
    alert = lab.page.locator("#patch [role=alert]")
    expect(alert).to_contain_text("14")
    lab.page.fill("#patch label:has-text('Corrupted') textarea", lab.page.input_value("#prompt-text"))
    alert.locator("button").click()
    expect(alert).not_to_contain_text("14")


class Line:
    """The line to the server, which can be cut."""

    def __init__(self, page):
        self.sockets, self.held, self.cut_off, self.slow, self.silent = [], [], False, False, set()
        page.route_web_socket("**/api/session", self._joined)

    def _joined(self, client):
        if self.cut_off:
            client.close()
            return
        server = client.connect_to_server()
        client.on_message(lambda text: self._passed(server, text))
        self.sockets.append(client)

    def _passed(self, server, text):
        if json.loads(text)["type"] not in self.silent:
            (self.held.append if self.slow else lambda send: send())(lambda: server.send(text))

    def let(self):
        self.slow = False
        while self.held:
            self.held.pop(0)()

    def cut(self):
        self.cut_off = True
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()


def test_a_lost_connection_comes_back(open_lab):
    lines = []
    lab = open_lab(before=lambda page: lines.append(Line(page)))
    page, line = lab.page, lines[0]
    lab.preset()
    lab.choose(4, 2)
    before = lab.text("#circuit")
    line.cut()
    status = page.locator("header .status")
    expect(status).to_contain_text("connection lost")
    assert lab.text("#circuit") == before  # what was found stays
    page.click("#patch button[type=submit]")
    expect(page.locator("#patch .state")).to_contain_text("connection")
    line.cut_off = False
    expect(status).to_contain_text("ready", timeout=15_000)
    page.wait_for_selector("#patch .summary")  # what was asked meanwhile is answered
    lab.ready()
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)
    page.hover('#heads [data-place="5.1"]')
    expect(page.locator("#attention td[role=gridcell]")).to_have_count(14 * 14)


def test_a_run_that_was_under_way_says_that_it_is_lost(open_lab):
    lines = []
    lab = open_lab(before=lambda page: lines.append(Line(page)))
    lines[0].silent = {"run"}
    lab.page.click("#patch button[type=submit]")
    expect(lab.page.locator("#patch .state")).to_be_visible()
    lines[0].cut()
    expect(lab.page.locator("#patch [role=alert]")).to_contain_text("lost")
    lines[0].cut_off, lines[0].silent = False, set()
    expect(lab.page.locator("header .status")).to_contain_text("ready", timeout=15_000)
    lab.page.click("#patch [role=alert] button")
    lab.answered("patch")


def test_a_sweep_can_be_called_off(open_lab):
    lines = []
    lab = open_lab(before=lambda page: lines.append(Line(page)))
    lines[0].slow = True
    lab.page.click("#patch button[type=submit]")
    lab.page.click("#patch .state >> text=Cancel")
    lines[0].let()
    expect(lab.page.locator("#patch .state")).to_contain_text("Called off")
    lab.page.click("#patch .state >> text=Run again")
    lab.answered("patch")
