import base64
import hashlib
import re

from fluoroscope.render import document
from fluoroscope.render.text import prose, visible
from render.samples import HOSTILE, every_view
from render.test_html import OURS, Page


def page():
    return document.page(HOSTILE, HOSTILE, every_view(), {"model": HOSTILE, "tokens": ((1, 2),)})


def test_hostile_text_makes_no_element_and_no_attribute():
    parsed = Page(page())
    assert {tag for tag, _ in parsed.tags} <= OURS
    names = {name for _, attributes in parsed.tags for name in attributes}
    assert not any(name.startswith("on") for name in names)
    assert not names & {"href", "src", "style", "srcdoc", "action"}
    assert prose(HOSTILE) in parsed.texts
    assert visible(HOSTILE) in parsed.texts
    assert not set("\x1b\x07\u202e\u2028") & set(page())


def test_the_policy_allows_this_style_sheet_and_nothing_else():
    source = page()
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    parsed = Page(source)
    policy = next(a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert source.index("Content-Security-Policy") < source.index("<style>")
    assert not re.search(r"url\(|@import|https?:", style.group(1))


def test_a_page_is_for_light_and_dark():
    source = page()
    assert "prefers-color-scheme: dark" in source
    assert '<meta name="color-scheme" content="light dark">' in source


def test_a_fragment_styles_nothing_but_itself():
    source = document.fragment("t", "s", every_view(), {})
    style = re.search(r"<style>(.*?)</style>", source, re.DOTALL)
    assert style
    flat = re.sub(r"@media[^{]*\{", "", style.group(1))
    for selector in re.findall(r"([^{}]+)\{", flat):
        assert all(part.strip().startswith(".fluoroscope") for part in selector.split(",")), selector
    assert not re.search(r"<(html|head|body|meta)\b", source)
