"""Text of strangers is shown as text, wherever it comes from."""

import json
import re
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import expect

from fluoroscope.render import document
from fluoroscope.render.section import Section
from fluoroscope.server import frames
from hostile import CORPUS, MARK, RUN, SHORT, every_view

OWN = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "link",
        "script",
        "body",
        "div",
        "header",
        "h1",
        "h2",
        "h3",
        "main",
        "section",
        "p",
    ),
    *(
        "form",
        "label",
        "select",
        "optgroup",
        "option",
        "textarea",
        "input",
        "button",
        "details",
        "summary",
        "dialog",
        "kbd",
    ),
    *("figure", "figcaption", "table", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li", "small", "progress"),
    *("nav", "fieldset", "legend", "dl", "dt", "dd", "code", "datalist"),
    *("span", "b", "i", "canvas", "svg", "path", "g", "rect", "text", "circle", "line"),
}
LOOK = """() => {
  const found = { kinds: [], attributes: [], owned: [], canary: window.owned ?? null,
    scripts: document.scripts.length };
  for (const element of document.querySelectorAll("*")) {
    found.kinds.push(element.localName);
    for (const { name, value } of element.attributes) {
      if (name === "data-owned" || name.startsWith("on")) found.owned.push(element.outerHTML.slice(0, 200));
      if (/^(href|src|srcdoc|action|xlink:href)$/.test(name)) found.attributes.push(value);
    }
  }
  found.kinds = [...new Set(found.kinds)];
  return found;
}"""
HIDDEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


def check(page, own, scripts, addresses=("lab.css", "lab.js", "data:,")):
    """Nothing that a string says has become an element, an attribute or a deed."""
    found = page.evaluate(LOOK)
    assert found["owned"] == []
    assert found["canary"] is None
    assert page.title() != "owned"
    assert set(found["kinds"]) <= own
    assert found["scripts"] == scripts
    assert [each for each in found["attributes"] if each not in addresses and not each.startswith("#")] == []


PART = {"site": None, "layer": 0, "value": 1.0, "share": 0.01}
RESULTS = {
    "logit_attribution": {
        "parts": [{**PART, "name": text, "label": text} for text in SHORT[:60]], "logit": 1.0, "total": 1.0,
        "error": 0.0, "target": SHORT[10], "foil": SHORT[11],
    },
    "neurons": {"tokens": SHORT[12:14], "position": 1, "raising": [], "lowering": []},
}  # fmt: skip
"""Of analyses whose panels read more of a result than its pictures."""


class Forger:
    """A server all of whose words are hostile."""

    def __init__(self, page):
        self.views = [view.model_dump(mode="json") for view in every_view()]
        page.route_web_socket("**/api/session", self._joined)
        model = {"name": SHORT[3], "choices": [SHORT[3], *SHORT[:20]], "about": {"n_layers": 2, "n_heads": 1}}
        page.route("**/api/model", lambda route: route.fulfill(json=model))

    def _joined(self, client):
        self._say(client, {"type": "hello", "protocol": 1, "version": SHORT[4]})
        client.on_message(lambda text: self._answer(client, json.loads(text)))

    def _say(self, client, message):
        client.send(json.dumps(message).replace("SURROGATE", "\\ud800"))

    def _answer(self, client, asked):
        run, kind = asked["run"], asked["type"]
        if kind == "live":
            self._say(client, {"type": "tokens", "run": run, "ids": [7] * len(CORPUS), "labels": CORPUS})
            for layer in range(20):
                said = [{"id": 1, "label": text, "probability": 0.1} for text in SHORT[layer * 3 : layer * 3 + 3]]
                header = {"v": 1, "type": "layer", "run": run, "layer": layer, "of": 20, "says": said}
                client.send(frames.frame(header, pattern=np.zeros((1, 64, 64), "u1")))
            self._say(client, {"type": "done", "run": run})
        elif asked.get("analysis") == "head_patching":
            self._say(
                client, {"type": "error", "run": run, "error": SHORT[5], "message": "\n".join(SHORT), "hint": SHORT[6]}
            )
        elif kind == "run":
            self._say(client, {"type": "progress", "run": run, "label": SHORT[7], "done": 0, "total": None})
            name = asked["analysis"]
            few = [view for view in self.views[-12:] if view["kind"] != "heatmap"]
            told = {
                "title": SHORT[8],
                "summary": " SURROGATE ".join(SHORT),
                "views": self.views if name == "explain" else few,
            }
            told["result"] = RESULTS.get(name, {"a": SHORT[9]})
            self._say(client, {"type": "result", "run": run, **told})


def test_every_string_in_every_picture_message_and_token_is_text(open_lab):
    lab = open_lab("#p=" + quote(SHORT[0]) + "&m=" + quote(SHORT[1]) + "&h=" + quote(SHORT[2]), before=Forger)
    page = lab.page
    page.wait_for_selector('#lens[data-status="ready"]')
    page.click("#any button[type=submit]")
    page.wait_for_selector("#any table")
    page.click("#patch button[type=submit]")
    expect(page.locator("#patch [role=alert]")).to_contain_text("<img src=x")
    every = set(MARK.findall(" ".join(CORPUS)))
    short = set(MARK.findall(" ".join(SHORT)))
    for panel, least in (("#any", every), ("#prompt", every), ("#patch", short)):
        assert set(MARK.findall(page.text_content(panel))) >= least, panel
    check(page, OWN, 1)
    assert not HIDDEN.search(page.text_content("main"))
    page.evaluate("document.querySelectorAll('#any figcaption button').forEach((button) => button.click())")
    expect(page.locator("#any figcaption button").first).to_have_text("picture")
    check(page, OWN, 1)
    assert not HIDDEN.search(page.text_content("main"))
    with page.expect_download() as saved:
        page.click("#depth .menu >> text=SVG")
    root = ElementTree.parse(saved.value.path()).getroot()
    assert {part.tag.rpartition("}")[2] for part in root.iter()} <= {
        "svg",
        "g",
        "rect",
        "text",
        "path",
        "image",
        "title",
        "circle",
        "line",
    }
    assert not [name for part in root.iter() for name in part.attrib if name.startswith("on") or name == "data-owned"]


def test_a_saved_result_is_text_in_a_browser_too(browser, browser_context_args, tmp_path):
    section = Section("n", SHORT[0], " ".join(SHORT), every_view(), {"model": SHORT[1]}, {SHORT[2]: "\n".join(SHORT)})
    (tmp_path / "result.html").write_text(document.page(section), encoding="utf8")
    page = browser.new_context(**browser_context_args).new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "result.html").as_uri())
    check(page, OWN | {"style", "pre", "br"}, 0)
    assert set(MARK.findall(page.text_content("main"))) == set(MARK.findall(" ".join(CORPUS)))
    assert not HIDDEN.search(page.text_content("main"))
    assert len(asked) == 1
    page.context.close()


PROMPTS = [
    f"</textarea></title><script data-owned>{RUN}</script>",
    "abc \u202egnirts\u202c \x07 \x1b[31m 👩\u200d👩\u200d👧 line\r\n\ttab",
    "x" * 10_000,
]


@pytest.mark.parametrize("text", PROMPTS, ids=range(len(PROMPTS)))
def test_a_prompt_that_the_server_reads_is_text(open_lab, text):
    lab = open_lab("#p=" + quote(text) + "&c=" + quote(text[::-1]) + "&s=4.2.1.0")
    page = lab.page
    page.wait_for_selector('#next[data-status="ready"], #prompt [role=alert]')
    assert page.input_value("#prompt-text") == text.replace("\r\n", "\n")
    check(page, OWN, 1)
    assert not HIDDEN.search(page.text_content("main"))


def test_an_error_that_quotes_is_text(open_lab):
    lab = open_lab()
    lab.page.select_option("#analysis", "head_patching")
    lab.page.fill("#field-clean", "Once upon")
    lab.page.fill("#field-corrupted", "Once more")
    lab.page.click("#any summary")
    lab.page.fill("#field-answer", "<img src=x data-owned onerror=document.title='owned'>")
    lab.page.click("#any button[type=submit]")
    expect(lab.page.locator("#any [role=alert]")).to_contain_text("<img")
    check(lab.page, OWN, 1)
