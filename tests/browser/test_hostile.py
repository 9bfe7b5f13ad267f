"""Text of strangers is shown as text, wherever it comes from."""

from urllib.parse import quote

import pytest
from playwright.sync_api import expect

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
HOSTILE = [
    "<img src=x onerror=document.title='owned'><b>bold</b>",
    "</textarea></title><script>document.title='owned'</script>",
    '"><svg onload="document.title=\'owned\'">',
    "javascript:document.title='owned'//&lt;i&gt; {{7*7}} ${7*7}",
    "abc \u202egnirts\u202c \u2066isolated\u2069 \u200bzero\ufeff",
    "line\r\n\ttab \x07bell \x1b[31mred",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 👩‍👩‍👧‍👦 e\u0301\u0301\u0301\u0301 𝔘",
    "x" * 10_000,
    "__proto__ constructor toString",
]


def strange(page):
    """Kinds of elements that are on the page and not of its making; and scripts, of which it has one."""
    kinds = page.evaluate("[...document.querySelectorAll('*')].map(element => element.localName)")
    return set(kinds) - OWN, kinds.count("script")


NOTHING = set(), 1


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_prompt_and_its_tokens_are_text(open_lab, text):
    lab = open_lab("#p=" + quote(text) + "&c=" + quote(text[::-1]) + "&s=4.2.1.0")
    page = lab.page
    page.wait_for_selector('#next[data-status="ready"], #prompt [role=alert]')
    assert page.input_value("#prompt-text") == text.replace("\r\n", "\n")
    assert page.title() == "Fluoroscope"
    assert strange(page) == NOTHING
    shown = page.evaluate("document.querySelector('main').innerText")
    assert not [mark for mark in "\u202e\u202c\u2066\u2069\u200b\ufeff\x07\x1b" if mark in shown]
    if len(text) < 500:
        lab.sweep_or_refusal()
        assert strange(page) == NOTHING
        page.keyboard.press("Escape")


def test_an_error_that_quotes_is_text(open_lab):
    lab = open_lab()
    lab.page.select_option("#analysis", "head_patching")
    lab.page.fill("#field-clean", "Once upon")
    lab.page.fill("#field-corrupted", "Once more")
    lab.page.click("#any summary")
    lab.page.fill("#field-answer", "<img src=x onerror=document.title='owned'>")
    lab.page.click("#any button[type=submit]")
    expect(lab.page.locator("#any [role=alert]")).to_contain_text("<img")
    assert strange(lab.page) == NOTHING
    assert lab.page.title() == "Fluoroscope"
